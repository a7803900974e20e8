package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/config"
	"github.com/thaliumx/persistor/internal/event"
	"github.com/thaliumx/persistor/internal/ingest"
	"github.com/thaliumx/persistor/internal/store"
)

func rejectsRedriveCommand() command {
	return command{
		name:      "rejects redrive",
		summary:   "try again to store them, as after a fix",
		arguments: "<id>...",
		detail: "Takes ids, or --all, --topic, --reason. Foreign records are only taken by id or by\n" +
			"--reason foreign. What cannot be stored still, stays; then the exit code is 1.",
		needs: config.NeedDatabase | config.NeedKafka, // of Kafka, the topics' prefix
		prepare: func(fs *flag.FlagSet) func(context.Context, *call) error {
			all := fs.Bool("all", false, "all that are unresolved, but for foreign ones")
			topic := fs.String("topic", "", "those of one `topic`")
			reason := fs.String("reason", "", "those with exactly this `reason`")
			return func(ctx context.Context, c *call) error {
				ids, err := rejectIDs(c.args)
				if err != nil {
					return err
				}
				selected := *all || *topic != "" || *reason != ""
				if selected == (len(ids) > 0) {
					return usageError("want either ids, or --all, --topic or --reason")
				}
				s := selection{reason: *reason, foreign: *reason != "", own: c.config.Kafka.Consumed()}
				if err := s.of(c, *topic); err != nil {
					return err
				}
				return connected(ctx, c, func(conn *pgx.Conn) error {
					if selected {
						if ids, err = unresolved(ctx, conn, s); err != nil {
							return err
						}
					}
					return redrive(ctx, c, conn, ids)
				})
			}
		},
	}
}

func redrive(ctx context.Context, c *call, conn *pgx.Conn, ids []int64) error {
	var decoder ingest.Decoder
	decode := func(r store.Stored, b *store.Batch) error {
		topic := strings.TrimPrefix(r.Topic, c.config.Kafka.TopicPrefix)
		rec := ingest.Record{Offset: r.Offset, Time: r.Time.UnixMilli(), Key: r.Key, Value: r.Value}
		return decoder.Add(b, r.Log, topic, rec, ingest.Hash(r.Value))
	}
	remained, before := 0, 0
	for _, id := range ids {
		if err := ctx.Err(); err != nil {
			return err
		}
		done, err := store.Redrive(ctx, conn, id, decode)
		_, refused := errors.AsType[*event.Error](err)
		bad, unstorable := errors.AsType[*store.BadRecords](err)
		switch {
		case unstorable: // the one record
			remained++
			fmt.Fprintf(c.stdout, "reject %d stays: %s\n", id, bad.Records[0].Reason)
		case refused:
			remained++
			fmt.Fprintf(c.stdout, "reject %d stays: %v\n", id, err)
		case errors.Is(err, store.ErrNoReject):
			return fmt.Errorf("reject %d: %w; `persistor rejects list` lists them", id, err)
		case errors.Is(err, store.ErrResolved):
			before++
			fmt.Fprintf(c.stdout, "reject %d: %v\n", id, err)
		case err != nil:
			return fmt.Errorf("reject %d: %w", id, err)
		case done.Table == "":
			fmt.Fprintf(c.stdout, "reject %d resolved: the record can be read, and fills no table\n", id)
		case done.Duplicate:
			fmt.Fprintf(c.stdout, "reject %d resolved: its row is in dingir.%s already\n", id, done.Table)
		default:
			fmt.Fprintf(c.stdout, "reject %d resolved: stored in dingir.%s\n", id, done.Table)
			back, err := decoder.Conflicts(ctx, conn)
			if err != nil {
				return fmt.Errorf("reject %d is stored: %w", id, err)
			}
			if back {
				fmt.Fprintf(c.stdout, "reject %d: a conflict, its id is there with other content; both rows are kept\n", id)
			}
		}
	}
	if remained > 0 {
		return fmt.Errorf("%d of %d rejects could not be stored", remained, len(ids))
	}
	fmt.Fprintf(c.stdout, "%d rejects resolved\n", len(ids)-before)
	return nil
}
