package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/config"
	"github.com/thaliumx/persistor/internal/engine"
	"github.com/thaliumx/persistor/internal/eventlog"
	"github.com/thaliumx/persistor/internal/rebuild"
	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/topics"
)

func stateImportCommand() command {
	return command{
		name:    "state import",
		summary: "begin the state with the engine's own, where the log does not begin with the exchange",
		detail: "Reads the newest slice that the engine has saved in its own database (it does so every hour), finds out\n" +
			"where in the archive it belongs, shows that, asks, and takes it over: from there on the state is complete.\n" +
			"A running daemon has it within seconds.",
		needs: config.NeedDatabase | config.NeedKafka | config.NeedEngine,
		prepare: func(fs *flag.FlagSet) func(context.Context, *call) error {
			yes := fs.Bool("yes", false, "do not ask")
			accept := fs.Bool("accept-mismatches", false, "take it over although the log behind contradicts it, as where the engine has crashed since")
			return func(ctx context.Context, c *call) error {
				if c.config.Engine.DatabaseURL == "" {
					return usageError("PERSISTOR_ENGINE_DATABASE_URL (--engine-database-url) is not set: where does the engine save its state?")
				}
				if !*yes && !isTerminal(os.Stdin) {
					return usageError("there is no terminal to ask on: add --yes")
				}
				return importState(ctx, c, *yes, *accept)
			}
		},
	}
}

func importState(ctx context.Context, c *call, yes, accept bool) error {
	slice, err := readSlice(ctx, c)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.stdout, "the engine's slice of %s: %d balances, %d open orders, %d users, up to order %d and trade %d\n",
		slice.Time.Format(time.RFC3339), len(slice.Balances), len(slice.Orders), len(slice.Users), slice.LastOrderID, slice.LastTradeID)
	topic := c.config.Kafka.TopicPrefix + topics.UnifyEvents
	return connected(ctx, c, func(conn *pgx.Conn) error {
		err := store.CheckStateOwner(ctx, conn, topic)
		if other, ok := errors.AsType[*store.OtherStateError](err); ok {
			return fmt.Errorf("%w, so nothing was changed: %s", other, other.Remedy())
		}
		if err != nil {
			return err
		}
		position, err := eventlog.Current(ctx, conn, topic)
		if err != nil {
			return fmt.Errorf("%w: run `persistor run` first", err)
		}
		row, found, err := store.ReadStateRow(ctx, conn)
		if err != nil {
			return err
		}
		if found && row.TopicID == position.TopicID && row.Complete {
			return errors.New("the state is complete: there is nothing to take over, and nothing was changed")
		}
		log := rebuild.Log{Log: eventlog.NewArchive(conn, position.TopicID), Begin: position.First}
		place, err := rebuild.FindPlace(ctx, log, slice)
		if err != nil {
			return err
		}
		fmt.Fprintf(c.stdout, "it belongs at offset %d: %d balances and orders that the log tells are the same, %d checks of the records behind pass, %d fail\n",
			place.Offset, place.Compared, place.Checked, place.Mismatches)
		if place.Fitting > 1 {
			fmt.Fprintf(c.stdout, "%d offsets nearby fit as well; this one is nearest to the time at which it was saved\n", place.Fitting-1)
		}
		if place.Mismatches > 0 && !accept {
			return errors.New("the log behind contradicts the slice, so nothing was changed: try again with the engine's next slice, " +
				"or, where the engine has crashed since it saved this one, with --accept-mismatches")
		}
		if !yes && !confirmed(c) {
			return errors.New("nothing was changed")
		}
		stored, err := store.NewSlice(position.TopicID, place.Offset, place.Latest, slice.Write)
		if err != nil {
			return err
		}
		if err := store.PutSlice(ctx, conn, topic, position.Moves, stored); err != nil {
			if errors.Is(err, store.ErrMoved) {
				return fmt.Errorf("%w: run this again", err)
			}
			return err
		}
		fmt.Fprintf(c.stdout, "done: the state is complete from offset %d on; running daemons have it within seconds\n", place.Offset)
		return nil
	})
}

// readSlice reads the engine's newest slice.
func readSlice(ctx context.Context, c *call) (*engine.Slice, error) {
	conn, err := store.Connect(ctx, store.Options{URL: c.config.Engine.DatabaseURL.Reveal(), SynchronousCommit: true, Application: store.CommandName})
	if err != nil {
		return nil, fmt.Errorf("the engine's database: %w; is it up, and is PERSISTOR_ENGINE_DATABASE_URL right?", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return engine.ReadSlice(ctx, conn)
}
