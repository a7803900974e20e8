package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/segmentio/kafka-go"

	"github.com/thaliumx/persistor/internal/config"
	"github.com/thaliumx/persistor/internal/eventlog"
	"github.com/thaliumx/persistor/internal/fetch"
	"github.com/thaliumx/persistor/internal/replay"
	"github.com/thaliumx/persistor/internal/topics"
)

func replayCommand() command {
	return command{
		name:    "replay",
		summary: "compare what is stored with the log, from its earliest record on, and repair it",
		detail: "Reads the log again into a schema of its own (" + replay.Schema + ", dropped at the end), shows\n" +
			"what differs, table by table, asks, and puts it right in one transaction. Missing\n" +
			"rows come in, altered ones become what the log says. Rows inside the covered range\n" +
			"that no record accounts for are listed, and stay without --prune. What is older than\n" +
			"the log stays as it is. The daemon may run meanwhile; interrupted at any point,\n" +
			"nothing live has changed. Exit code 3 with --dry-run where something differs.",
		needs: config.NeedKafka | config.NeedDatabase,
		prepare: func(fs *flag.FlagSet) func(context.Context, *call) error {
			w := replayWish{untilOffset: -1}
			earliest := fs.Bool("from-earliest", false, "from the log's earliest record on; required, there is no other beginning yet")
			fs.Func("until-offset", "cover the records of unifyevents below this `offset` only", func(text string) error {
				n, err := strconv.ParseInt(text, 10, 64)
				if err != nil || n < 0 {
					return fmt.Errorf("%q: no offset is negative or anything but a number", text)
				}
				w.untilOffset = n
				return nil
			})
			until := fs.String("until-time", "", "cover the records up to this `time` only, as 2026-01-05T09:00:00Z")
			fs.BoolVar(&w.dryRun, "dry-run", false, "end after the report")
			fs.BoolVar(&w.yes, "yes", false, "do not ask")
			fs.BoolVar(&w.prune, "prune", false, "take out surplus rows, too")
			format := formatFlag(fs)
			return func(ctx context.Context, c *call) error {
				if !*earliest {
					return usageError("want --from-earliest")
				}
				if *until != "" {
					at, err := parseTime(*until)
					if err != nil || at.UnixMilli() <= 0 {
						return usageError("--until-time: %q is no time like 2026-01-05T09:00:00Z", *until)
					}
					w.untilTime = at.UnixMilli()
				}
				if w.untilOffset >= 0 && w.untilTime > 0 {
					return usageError("want --until-offset or --until-time, not both")
				}
				if w.dryRun && w.yes {
					return usageError("want --dry-run or --yes, not both")
				}
				if err := format.check(); err != nil {
					return err
				}
				w.json = format.json()
				if w.json && !w.dryRun && !w.yes {
					return usageError("--format json: a program cannot be asked: add --yes, or --dry-run")
				}
				if !w.dryRun && !w.yes && !isTerminal(os.Stdin) {
					return usageError("there is no terminal to ask on: add --yes, or --dry-run")
				}
				return connected(ctx, c, func(conn *pgx.Conn) error { return w.run(ctx, c, conn) })
			}
		},
	}
}

// replayWish is what the flags ask for.
type replayWish struct {
	untilOffset        int64 // negative: none
	untilTime          int64 // ms; 0: none
	dryRun, yes, prune bool
	json               bool
}

// run replays. conn is for reading the archive.
func (w *replayWish) run(ctx context.Context, c *call, conn *pgx.Conn) error {
	client, hangUp, err := fetchClient(c, c.config.Kafka.Consumed())
	if err != nil {
		return err
	}
	defer hangUp()
	events, err := w.events(ctx, c, conn, client)
	if err != nil {
		return withKafkaHint(err)
	}
	progress := &replay.Progress{Log: c.log}
	if isTerminal(os.Stderr) {
		progress.Terminal = c.stderr
	}
	options := replay.Options{
		Database: databaseOptions(c), Kafka: client, Events: events, Prefix: c.config.Kafka.TopicPrefix,
		UntilOffset: w.untilOffset, UntilTime: w.untilTime, Prune: w.prune, Progress: progress, Log: c.log,
	}
	if !w.dryRun {
		options.Confirm = func(r *replay.Report) (bool, error) {
			if w.yes {
				return true, nil
			}
			if err := w.write(c, r); err != nil {
				return false, err
			}
			fmt.Fprintf(c.stdout, "\nto be done in one transaction: %s\n", r.Outcome())
			return confirmed(c), nil
		}
	}
	report, err := replay.Replay(ctx, options)
	if err != nil {
		return withKafkaHint(err)
	}
	return w.conclude(c, report)
}

// events is the archive and the topic; the archive alone where the topic is gone,
// or is not the one that was stored.
func (w *replayWish) events(ctx context.Context, c *call, conn *pgx.Conn, client *fetch.Client) (eventlog.Log, error) {
	topic := c.config.Kafka.TopicPrefix + topics.UnifyEvents
	log, err := eventlog.Current(ctx, conn, topic)
	if errors.Is(err, eventlog.ErrNoArchive) {
		return nil, nil // nothing of it was ever stored
	}
	if err != nil {
		return nil, err
	}
	joined := eventlog.NewJoined(conn, log, eventlog.NewKafka(client, topic), eventlog.WholeOverlap)
	if _, _, err := joined.Bounds(ctx); err != nil {
		if _, other := errors.AsType[*eventlog.OtherTopicError](err); other || errors.Is(err, kafka.UnknownTopicOrPartition) {
			return eventlog.NewArchive(conn, log.TopicID), nil
		}
		return nil, err
	}
	return joined, nil
}

func (w *replayWish) write(c *call, report *replay.Report) error {
	if w.json {
		return writeJSON(c, report)
	}
	return report.Write(plain{c.stdout})
}

// conclude says how it ended.
func (w *replayWish) conclude(c *call, report *replay.Report) error {
	asked := !w.dryRun && !w.yes && report.Differences > 0
	if !asked {
		if err := w.write(c, report); err != nil {
			return err
		}
	}
	say := func(text string) {
		if !w.json {
			fmt.Fprintln(c.stdout, text)
		}
	}
	switch {
	case report.Differences == 0:
		say("\nno difference")
	case w.dryRun:
		return foundDifferences("differences between what is stored and the log: %d", report.Differences)
	case !report.Applied:
		return errors.New("nothing was changed")
	default:
		say("\ndone: " + report.Outcome())
	}
	return nil
}
