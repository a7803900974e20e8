package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"

	"github.com/thaliumx/persistor/internal/config"
	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/verify"
)

func verifyCommand() command {
	return command{
		name:    "verify",
		summary: "audit what is stored: each position of each topic is accounted for exactly once",
		detail: "Looks at one snapshot of the database, so the daemon may go on meanwhile. Ends\n" +
			"with exit code 3 where something differs, and lists it.",
		needs: config.NeedDatabase,
		prepare: func(fs *flag.FlagSet) func(context.Context, *call) error {
			format := formatFlag(fs)
			return func(ctx context.Context, c *call) error {
				if err := format.check(); err != nil {
					return err
				}
				return verifyAll(ctx, c, format.json())
			}
		},
	}
}

func verifyAll(ctx context.Context, c *call, asJSON bool) error {
	options := databaseOptions(c)
	if err := store.CheckSchema(ctx, options); err != nil {
		return withDatabaseHint(c, err)
	}
	report, err := verify.Verify(ctx, verify.Options{Database: options})
	if err != nil {
		return err
	}
	if asJSON {
		err = writeJSON(c, report)
	} else {
		err = report.Write(c.stdout)
	}
	if err != nil {
		return err
	}
	if report.Total > 0 {
		return foundDifferences("what is stored differs from the ledger in %d places", report.Total)
	}
	return nil
}

// outputFormat is the value of --format.
type outputFormat struct{ name *string }

func formatFlag(fs *flag.FlagSet) outputFormat {
	return outputFormat{fs.String("format", "text", "text, or json for programs")}
}

func (f outputFormat) check() error {
	if *f.name != "text" && *f.name != "json" {
		return usageError("--format: %q is neither text nor json", *f.name)
	}
	return nil
}

func (f outputFormat) json() bool { return *f.name == "json" }

func writeJSON(c *call, v any) error {
	out := json.NewEncoder(c.stdout)
	out.SetIndent("", "  ")
	if err := out.Encode(v); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return nil
}
