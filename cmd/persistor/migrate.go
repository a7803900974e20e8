package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/thaliumx/persistor/internal/config"
	"github.com/thaliumx/persistor/internal/store"
)

func migrateCommand() command {
	return command{
		name:    "migrate",
		summary: "bring the database's schema up to date",
		detail: "May be started in several places at once: one works, the others wait for it.\n" +
			"Behind the numbered migrations it adds what the server's edition of TimescaleDB offers:\n" +
			"candles, and what the settings below ask for. To be repeated after a change of either.\n" +
			"`persistor run` never migrates.",
		needs: config.NeedDatabase | config.NeedSchema,
		prepare: func(*flag.FlagSet) func(context.Context, *call) error {
			return func(ctx context.Context, c *call) error {
				done, err := store.Migrate(ctx, databaseOptions(c))
				if err != nil {
					return withDatabaseHint(c, err)
				}
				for _, m := range done {
					fmt.Fprintln(c.stdout, "applied", m.Name)
				}
				notes, err := store.Arrange(ctx, databaseOptions(c), store.Layout(c.config.Schema))
				for _, note := range notes {
					fmt.Fprintln(c.stdout, note)
				}
				if err != nil {
					return withDatabaseHint(c, err)
				}
				if len(done) == 0 {
					fmt.Fprintln(c.stdout, "the schema is up to date")
				}
				return nil
			}
		},
	}
}

func migrateStatusCommand() command {
	return command{
		name:    "migrate status",
		summary: "show which migrations were applied, and when",
		needs:   config.NeedDatabase,
		prepare: func(*flag.FlagSet) func(context.Context, *call) error {
			return func(ctx context.Context, c *call) error {
				list, err := store.MigrationStatus(ctx, databaseOptions(c))
				if err != nil {
					return withDatabaseHint(c, err)
				}
				for _, m := range list {
					when := "not applied; run `persistor migrate`"
					if !m.Applied.IsZero() {
						when = "applied " + m.Applied.UTC().Format(time.RFC3339)
					}
					fmt.Fprintf(c.stdout, "%s  %s\n", m.Name, when)
				}
				return nil
			}
		},
	}
}

func databaseOptions(c *call) store.Options {
	return store.Options{URL: c.config.Database.URL.Reveal(), SynchronousCommit: c.config.Database.SynchronousCommit, Application: store.CommandName}
}

// withDatabaseHint adds what to look at when the server could not be reached or
// refused us; what it says about a statement speaks for itself.
func withDatabaseHint(c *call, err error) error {
	_, unreachable := errors.AsType[*pgconn.ConnectError](err)
	hint := ""
	switch store.SQLState(err) {
	case "28P01", "28000":
		hint = "; are user and password in PERSISTOR_DATABASE_URL right?"
	case "3D000":
		hint = "; create the database, or correct PERSISTOR_DATABASE_URL"
	case "42501": // insufficient_privilege
		hint = "; give the role its rights (docs/operations.md, Roles), or be the one that ran `persistor migrate` first"
	case "":
		if !unreachable {
			break
		}
		hint = "; is it up, and is PERSISTOR_DATABASE_URL right, its sslmode too?"
	}
	return fmt.Errorf("%s: %w%s", c.config.Database.Target(), err, hint)
}
