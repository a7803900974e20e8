// Command bench measures persistor beside the limit that the database sets and
// beside psql, on one machine and one backlog; docs/benchmarks.md says how to
// read it. It needs bin/persistor and bin/simexchange and the servers that the
// PERSISTOR_ variables name: `make bench`.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	records     int
	rounds      int
	connections int
	workers     int
	big         int
	bigBytes    int
	rate        int
	paced       time.Duration
	csvRows     int
	skip        string
	json        string
	profile     string
	programs    string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	err := run(ctx)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.IntVar(&o.records, "records", 2_000_000, "records of the backlog")
	flags.IntVar(&o.rounds, "rounds", 3, "times that daemon, limit and psql are measured in turn")
	flags.IntVar(&o.connections, "connections", 4, "the limit and psql are tried with 1 to so many connections")
	flags.IntVar(&o.workers, "workers", 3, "the daemon is tried with 2 to so many workers")
	flags.IntVar(&o.big, "big", 0, "further records of -big-bytes in the backlog, half of them rejects")
	flags.IntVar(&o.bigBytes, "big-bytes", 10<<20-4096, "size of each of those")
	flags.IntVar(&o.rate, "rate", 5000, "records per second of the latency run")
	flags.DurationVar(&o.paced, "paced", 30*time.Second, "how long the latency run takes")
	flags.IntVar(&o.csvRows, "csv-rows", 20_000, "rows in each CSV file, hence in each of psql's transactions; the daemon's are as large")
	flags.StringVar(&o.skip, "skip", "", "what not to measure, separated by commas: daemon, limit, psql, plain, rebuild, latency")
	flags.StringVar(&o.json, "json", "", "write the figures to this `file` too")
	flags.StringVar(&o.profile, "profile", "", "only profile the daemon's code, run in this process, into this `file`")
	flags.StringVar(&o.programs, "programs", "bin", "`directory` of persistor and simexchange")
	if err := flags.Parse(os.Args[1:]); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if o.records < 1 || o.rounds < 1 || o.connections < 1 || o.workers < 1 || o.rate < 1 || o.csvRows < 1 {
		return errors.New("-records, -rounds, -connections, -workers, -rate and -csv-rows must be positive")
	}
	b, err := prepare(ctx, o)
	if err != nil {
		return err
	}
	defer b.cleanUp(context.WithoutCancel(ctx))
	if err := b.measure(ctx); err != nil {
		return err
	}
	b.report.print(os.Stdout)
	if o.json == "" {
		return nil
	}
	text, err := json.MarshalIndent(b.report, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(o.json, append(text, '\n'), 0o600)
}
