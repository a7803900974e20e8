package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/thaliumx/persistor/internal/exchange"
)

// options are the command line.
type options struct {
	exchange    exchange.Config
	brokers     string
	topicPrefix string
	directory   string
	stateFile   string
	records     int
	operations  int
	rate        float64
}

// recordsPerOperation is what an operation emits on average, measured; it only
// serves to guess where the simulated time must begin.
const recordsPerOperation = 5

func parse(args []string, stderr io.Writer) (*options, error) {
	o := &options{exchange: exchange.DefaultConfig()}
	var start string
	flags := flag.NewFlagSet("simexchange", flag.ContinueOnError)
	// One line says what is wrong with an option; the list of them is for --help.
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.brokers, "brokers", "localhost:9092", "Kafka brokers, separated by commas")
	flags.StringVar(&o.topicPrefix, "topic-prefix", "", "put before every topic's name")
	flags.StringVar(&o.directory, "out", "", "write files into this directory instead of Kafka")
	flags.StringVar(&o.stateFile, "state", "", "write the exchange's own final state to this file, as JSON")
	flags.IntVar(&o.records, "records", 0, "stop after the operation that completes this many records (0: run until interrupted)")
	flags.IntVar(&o.operations, "operations", 0, "stop after this many operations, instead of --records")
	flags.Float64Var(&o.rate, "rate", 0, "records per second, at the present time (0: as fast as possible, in simulated time)")
	flags.StringVar(&start, "start", "", "simulated time of the first operation, RFC 3339 (default: so that the last is about now)")

	c := &o.exchange
	flags.Uint64Var(&c.Seed, "seed", c.Seed, "equal seeds and options, --start among them, give equal records")
	flags.IntVar(&c.Users, "users", c.Users, "users at the opening")
	flags.DurationVar(&c.Interval, "interval", c.Interval, "mean simulated time between operations")
	flags.BoolVar(&c.MarketOrders, "market-orders", c.MarketOrders, "allow market orders")
	flags.BoolVar(&c.AllowSelfTrade, "self-trade", c.AllowSelfTrade, "let users meet their own orders, over which the engine panics")
	flags.Float64Var(&c.SelfTransfers, "self-transfers", 0, "share of transfers to oneself, which unifyevents is never told of")
	flags.BoolVar(&c.Documented, "documented", false, "trades and orders on their topics as the platform documents them")
	flags.Float64Var(&c.Foreign, "foreign", 0, "backend's own records on orders, per engine's record")
	flags.Float64Var(&c.Duplicates, "duplicates", 0, "share of per-topic records that are sent twice")
	flags.IntVar(&c.CrashEvery, "crash-every", 0, "mean number of operations between crashes of the engine (0: none)")
	flags.IntVar(&c.Forget, "forget", 0, "a crash makes the engine forget up to this many operations")
	flags.IntVar(&c.LoseUnify, "lose-unify", 0, "a crash loses up to this many operations' records on unifyevents")
	flags.IntVar(&c.LoseTopics, "lose-topics", 0, "a crash loses up to this many operations' records on the other topics")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			flags.SetOutput(stderr)
			flags.PrintDefaults()
			return nil, err
		}
		return nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("%w: unexpected argument %q", errUsage, flags.Arg(0))
	}
	if o.records < 0 || o.operations < 0 || o.rate < 0 || (o.records > 0 && o.operations > 0) {
		return nil, fmt.Errorf("%w: give --records or --operations, not both, and nothing negative", errUsage)
	}
	if err := o.begin(start, isSet(flags, "interval")); err != nil {
		return nil, err
	}
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	return o, nil
}

func isSet(flags *flag.FlagSet, name string) (set bool) {
	flags.Visit(func(f *flag.Flag) { set = set || f.Name == name })
	return set
}

// begin decides when the simulated time starts.
func (o *options) begin(start string, intervalSet bool) (err error) {
	switch {
	case start != "":
		if o.exchange.Start, err = time.Parse(time.RFC3339, start); err != nil {
			return fmt.Errorf("%w: --start: %w", errUsage, err)
		}
	case o.rate > 0:
		o.exchange.Start = time.Now()
	default:
		operations := max(o.operations, o.records/recordsPerOperation)
		o.exchange.Start = time.Now().Add(-time.Duration(operations) * o.exchange.Interval)
	}
	if o.rate > 0 && !intervalSet {
		// The real time moves the clock then; what an operation adds itself must
		// not outrun it.
		o.exchange.Interval = time.Microsecond
	}
	return nil
}

// open makes the sink that the options name.
func (o *options) open(ctx context.Context) (sink, error) {
	if o.directory != "" {
		return createFiles(o.directory)
	}
	return dialKafka(ctx, strings.Split(o.brokers, ","), o.topicPrefix, o.exchange.Seed)
}
