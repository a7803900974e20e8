package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/config"
	"github.com/thaliumx/persistor/internal/eventlog"
	"github.com/thaliumx/persistor/internal/fetch"
	"github.com/thaliumx/persistor/internal/rebuild"
	"github.com/thaliumx/persistor/internal/state"
	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/topics"
)

func stateCommand() command {
	return command{
		name:    "state",
		summary: "the exchange's users, balances and open orders, as of now, an offset or a time",
		detail: "Rebuilt from unifyevents: from the nearest snapshot and the archive in the database, and the topic for\n" +
			"what is not archived yet. Whether the log tells everything is said with it: where \"complete\" is false,\n" +
			"balances that are not \"known\" are what the log added to an amount that it does not tell.\n" +
			"\"provisional\": the last operation may not be at its end, as between an order and its trades.",
		needs: config.NeedDatabase | config.NeedKafka,
		prepare: func(fs *flag.FlagSet) func(context.Context, *call) error {
			var o stateOptions
			fs.StringVar(&o.offset, "at-offset", "", "after the records below `offset`; else now")
			fs.StringVar(&o.time, "at-time", "", "before the first record with a timestamp after `time`: RFC 3339, or without a zone in UTC")
			fs.StringVar(&o.from, "from", "", "read `source` only: archive, kafka, or a dump file (plain, .gz, .xz, .zst); else the archive, and the topic for the rest")
			fs.StringVar(&o.format, "format", "", "json, table or csv; else table on a terminal and json elsewhere")
			fs.StringVar(&o.table, "table", "", "with csv and table: balances, orders or users; else balances with csv and all with table")
			fs.StringVar(&o.user, "user", "", "only this user's `id`")
			fs.StringVar(&o.filter.Market, "market", "", "only this `market`'s orders, and balances of its two assets")
			fs.StringVar(&o.filter.Asset, "asset", "", "only balances of this `asset`, and orders of markets that trade it")
			fs.BoolVar(&o.whole, "without-snapshots", false, "read the whole log, as an audit of the snapshots would")
			return func(ctx context.Context, c *call) error {
				if err := o.check(); err != nil {
					return err
				}
				return showState(ctx, c, &o)
			}
		},
	}
}

// stateOptions are the flags of `persistor state`, as typed and as meant.
type stateOptions struct {
	offset, time, from, format, table, user string
	whole                                   bool

	want   rebuild.Target
	filter state.Filter
}

// The sources of --from that are no file.
const (
	fromBoth    = ""
	fromArchive = "archive"
	fromKafka   = "kafka"
)

func (o *stateOptions) file() bool {
	return o.from != fromBoth && o.from != fromArchive && o.from != fromKafka
}

func (o *stateOptions) check() error {
	o.want = rebuild.Now()
	switch {
	case o.offset != "" && o.time != "":
		return usageError("--at-offset and --at-time: which of the two?")
	case o.offset != "":
		n, err := strconv.ParseInt(o.offset, 10, 64)
		if err != nil || n < 0 || n == math.MaxInt64 {
			return usageError("--at-offset: %q is no offset", o.offset)
		}
		o.want.Offset = n
	case o.time != "" && o.file():
		return usageError("--at-time: a dump file has no timestamps; its offsets are line numbers from 0: use --at-offset")
	case o.time != "":
		var err error
		if o.want.Time, err = parseTime(o.time); err != nil {
			return usageError("--at-time: %v", err)
		}
	}
	if o.user != "" {
		n, err := strconv.ParseUint(o.user, 10, 32)
		if err != nil {
			return usageError("--user: %q is no user's id", o.user)
		}
		id := int64(n)
		o.filter.User = &id
	}
	if o.file() {
		if _, err := os.Stat(o.from); err != nil {
			return usageError("--from: want archive, kafka or a file: %v", err)
		}
	}
	if o.format == "" {
		o.format = "json"
		if isTerminal(os.Stdout) {
			o.format = "table"
		}
	}
	switch {
	case o.format != "json" && o.format != "table" && o.format != "csv":
		return usageError("--format: %q is none of json, table and csv", o.format)
	case o.table != "" && o.format == "json":
		return usageError("--table: JSON has all tables; it is for --format csv and table")
	case o.table != "" && o.table != balancesTable && o.table != ordersTable && o.table != usersTable:
		return usageError("--table: %q is none of %s, %s and %s", o.table, balancesTable, ordersTable, usersTable)
	}
	return nil
}

// parseTime reads a time as people write it.
func parseTime(text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time: want one like 2026-05-31T14:03:00Z, or 2026-05-31 14:03 for UTC", text)
}

func showState(ctx context.Context, c *call, o *stateOptions) error {
	begun := time.Now()
	r, way, err := rebuildState(ctx, c, o)
	if err != nil {
		return stateHint(o, err)
	}
	for _, p := range r.Passed {
		fmt.Fprintf(c.stderr, "a snapshot is of no use, %s\n", p)
	}
	fmt.Fprintf(c.stderr, "state at offset %d: %s; %s\n", r.State.Next(), way, time.Since(begun).Round(time.Millisecond))
	if o.time != "" && r.Ended {
		fmt.Fprintf(c.stderr, "no record is later than %s yet: this is where the log ends%s\n", o.time, latest(r))
	}
	if unknown := o.filter.Unknown(r.State); unknown != "" {
		fmt.Fprintln(plain{c.stderr}, unknown)
	}
	switch o.format {
	case "json":
		return r.State.WriteJSON(c.stdout, o.filter)
	case "csv":
		writeDoubts(c.stderr, r.State)
		return writeStateCSV(c.stdout, r.State, &o.filter, cmp.Or(o.table, balancesTable))
	}
	return writeStateTables(c.stdout, r.State, &o.filter, o.table)
}

// rebuildState gets the state from where it is wanted from, and says which way
// it came.
func rebuildState(ctx context.Context, c *call, o *stateOptions) (r rebuild.Result, way string, err error) {
	if o.file() {
		r, err = rebuild.State(ctx, rebuild.Log{Log: eventlog.NewFile(o.from), Progress: stateProgress(c)}, o.want)
		return r, fmt.Sprintf("%d records from %s", r.Applied, o.from), err
	}
	topic := c.config.Kafka.TopicPrefix + topics.UnifyEvents
	if o.from == fromKafka {
		return stateFromTopic(ctx, c, topic, o.want)
	}
	err = connected(ctx, c, func(conn *pgx.Conn) error {
		err := store.CheckStateOwner(ctx, conn, topic)
		if other, ok := errors.AsType[*store.OtherStateError](err); ok {
			fmt.Fprintf(c.stderr, "%v, whose state is told here: %s\n", other, other.Remedy())
		} else if err != nil {
			return err
		}
		position, err := eventlog.Current(ctx, conn, topic)
		if errors.Is(err, eventlog.ErrNoArchive) && o.from == fromBoth {
			r, way, err = stateFromTopic(ctx, c, topic, o.want)
			return err
		}
		if err != nil {
			return err
		}
		log := rebuild.Log{Begin: position.First, Progress: stateProgress(c)}
		log.Snapshots = &rebuild.Snapshots{Session: conn, TopicID: position.TopicID, SlicesOnly: o.whole}
		archive := eventlog.NewArchive(conn, position.TopicID)
		enough := o.from == fromArchive
		if !enough && !o.want.Time.IsZero() { // offsets need no topic either where the archive has them
			if enough, err = archive.Beyond(ctx, o.want.Time); err != nil {
				return err
			}
		}
		if enough {
			log.Log = archive
			r, err = rebuild.State(ctx, log, o.want)
			way = fmt.Sprintf("%s%d records from the archive", snapshotWay(r), r.Applied)
			if o.from == fromArchive || err == nil && !r.Ended {
				return err
			}
			// What it has lost the topic may have.
		}
		return withTopic(c, topic, func(k *eventlog.Kafka) error {
			joined := eventlog.NewJoined(conn, position, k, eventlog.SeamOverlap)
			log.Log = joined
			r, err = rebuild.State(ctx, log, o.want)
			if fetch.Retriable(err) {
				return fmt.Errorf("%w; what is archived can be read without Kafka: --from archive", err)
			}
			// It may have read on behind the wanted moment.
			archived := min(joined.Tally.Archive, r.Applied)
			way = fmt.Sprintf("%s%d records from the archive, %d from the topic (%d compared with the archive)", snapshotWay(r), archived, r.Applied-archived, joined.Tally.Compared)
			return err
		})
	})
	return r, way, err
}

// stateProgress shows on a terminal that something is going on, where it takes
// more than a moment. The line that says how it went comes over it.
func stateProgress(c *call) func(applied int64) {
	if !isTerminal(os.Stderr) {
		return nil
	}
	begun := time.Now()
	shown := begun
	return func(applied int64) {
		if now := time.Now(); now.Sub(shown) >= 500*time.Millisecond {
			shown = now
			fmt.Fprintf(c.stderr, "%d records, %.0f a second\033[K\r", applied, float64(applied)/now.Sub(begun).Seconds())
		}
	}
}

// stateFromTopic needs no database, and so knows no snapshots.
func stateFromTopic(ctx context.Context, c *call, topic string, want rebuild.Target) (r rebuild.Result, way string, err error) {
	err = withTopic(c, topic, func(k *eventlog.Kafka) error {
		r, err = rebuild.State(ctx, rebuild.Log{Log: k, Progress: stateProgress(c)}, want)
		return err
	})
	return r, fmt.Sprintf("%d records from the topic", r.Applied), err
}

func latest(r rebuild.Result) string {
	if r.Latest.IsZero() {
		return ""
	}
	return ", its latest record of " + r.Latest.UTC().Format(time.RFC3339Nano)
}

func snapshotWay(r rebuild.Result) string {
	if r.Snapshot < 0 {
		return ""
	}
	if r.Slice {
		return fmt.Sprintf("the engine's slice at offset %d, ", r.Snapshot)
	}
	return fmt.Sprintf("snapshot at offset %d, ", r.Snapshot)
}

// withTopic gives what reads unifyevents from Kafka.
func withTopic(c *call, topic string, work func(*eventlog.Kafka) error) error {
	client, hangUp, err := fetchClient(c, []string{topic})
	if err != nil {
		return err
	}
	defer hangUp()
	return withKafkaHint(work(eventlog.NewKafka(client, topic)))
}

// stateHint adds what to do.
func stateHint(o *stateOptions, err error) error {
	_, unreachable := errors.AsType[*rebuild.UnreachableError](err)
	slice, unreadable := errors.AsType[*rebuild.UnreadableSliceError](err)
	switch {
	case unreadable:
		return fmt.Errorf("%w; %s", err, slice.Remedy())
	case errors.Is(err, eventlog.ErrNoArchive):
		return fmt.Errorf("%w: run `persistor run`, or read the topic alone with --from kafka", err)
	case unreachable && o.from == fromKafka:
		return fmt.Errorf("%w; the archive may reach farther back: leave --from away", err)
	case unreachable && o.from == fromArchive:
		return fmt.Errorf("%w; the topic may reach farther back: leave --from away", err)
	case unreachable:
		return fmt.Errorf("%w; an older dump of the log can be read with --from FILE", err)
	}
	return err
}
