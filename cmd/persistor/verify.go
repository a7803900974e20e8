package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"time"

	"github.com/thaliumx/persistor/internal/config"
	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/verify"
)

// verifyFlags are the command's own.
type verifyFlags struct {
	format      outputFormat
	since       string
	connections int
	checkpoint  string
}

func verifyCommand() command {
	return command{
		name:    "verify",
		summary: "audit what is stored: positions, tables against the event log, state, money",
		detail: "Each position of each topic has to be accounted for exactly once, and the tables\n" +
			"have to hold what the event log says. The daemon may go on meanwhile. Ends with\n" +
			"exit code 3 where something differs, and lists it. Kafka is asked only where a\n" +
			"row looks altered, for the row's own record.\n" +
			"\n" +
			"A nightly audit of the last day: --since 26h. A long one that may be interrupted:\n" +
			"--checkpoint FILE, and the same command again goes on where it was.",
		needs: config.NeedKafka | config.NeedDatabase,
		prepare: func(fs *flag.FlagSet) func(context.Context, *call) error {
			f := verifyFlags{format: formatFlag(fs)}
			fs.StringVar(&f.since, "since", "", "leave out what is older: a time like 2026-01-31T00:00:00Z, or a duration like 26h")
			fs.IntVar(&f.connections, "connections", 2, "so many connections to the database work side by side")
			fs.StringVar(&f.checkpoint, "checkpoint", "", "keep in this file what is done, and go on from there; it is removed at the end")
			return func(ctx context.Context, c *call) error { return verifyAll(ctx, c, f) }
		},
	}
}

// options checks the flags.
func (f verifyFlags) options(c *call, now time.Time) (verify.Options, error) {
	o := verify.Options{Database: databaseOptions(c), Connections: f.connections, Checkpoint: f.checkpoint}
	if err := f.format.check(); err != nil {
		return o, err
	}
	if f.connections < 1 || f.connections > 100 {
		return o, usageError("--connections: %d is not from 1 to 100", f.connections)
	}
	if f.since == "" {
		return o, nil
	}
	var err error
	if ago, e := time.ParseDuration(f.since); e == nil && ago > 0 {
		o.Since, o.SinceAbout = now.Add(-ago).UTC().Truncate(time.Second), true
		return o, nil
	}
	if o.Since, err = parseTime(f.since); err != nil {
		return o, usageError("--since: %q is neither a time like 2026-01-31T00:00:00Z nor a duration like 26h", f.since)
	}
	return o, nil
}

func verifyAll(ctx context.Context, c *call, f verifyFlags) error {
	options, err := f.options(c, time.Now())
	if err != nil {
		return err
	}
	if err := store.CheckSchema(ctx, options.Database); err != nil {
		return withDatabaseHint(c, err)
	}
	client, hangUp, err := fetchClient(c, c.config.Kafka.Consumed())
	if err != nil {
		return err
	}
	defer hangUp()
	options.Kafka = client
	options.Progress = progressLog(c)
	report, err := verify.Verify(ctx, options)
	if err != nil {
		return err
	}
	if f.format.json() {
		err = writeJSON(c, report)
	} else {
		err = report.Write(plain{c.stdout})
	}
	if err != nil {
		return err
	}
	if report.Total > 0 {
		return foundDifferences("differences between what is stored and the ledger or the event log: %d; docs/operations.md, Audit, says what they mean, `persistor replay --from-earliest` mostly repairs them", report.Total)
	}
	return nil
}

// progressEvery is how often a long audit says how far it is.
const progressEvery = 10 * time.Second

func progressLog(c *call) func(verify.Progress) {
	told := time.Duration(0)
	return func(p verify.Progress) {
		if p.Elapsed-told < progressEvery {
			return
		}
		told = p.Elapsed
		done := p.Units - p.Resumed
		left := time.Duration(float64(p.Elapsed) / float64(done) * float64(p.Of-p.Units))
		c.log.Info("verifying", "parts", p.Units, "of", p.Of, "rows", p.Rows,
			"rows_per_second", int64(float64(p.Rows)/p.Elapsed.Seconds()), "left", left.Round(time.Second).String())
	}
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
