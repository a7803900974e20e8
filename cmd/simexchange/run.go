package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/thaliumx/persistor/internal/exchange"
)

// sink takes the records in the order of emission. Not for concurrent use.
type sink interface {
	// write takes records; they may be kept back to fill a batch.
	write(messages []exchange.Message) error
	// send passes on what has been kept back.
	send() error
	// close waits until everything has arrived.
	close() error
}

// pace is how often a paced run writes. Records of one pace arrive together.
const pace = 5 * time.Millisecond

// tally is what has been written.
type tally struct {
	topics  map[string]int
	records int
	bytes   int
}

func (o *options) run(ctx context.Context, out sink, stdout, stderr io.Writer) error {
	x, err := exchange.New(o.exchange)
	if err != nil {
		return err
	}
	started := time.Now()
	t := tally{topics: map[string]int{}}
	bar := newProgress(stderr, o)
	err = o.generate(ctx, x, out, &t, bar)
	if closing := out.close(); err == nil {
		err = closing
	}
	bar.clear()
	if err != nil {
		return err
	}
	t.print(stdout, x, time.Since(started))
	if o.stateFile == "" {
		return nil
	}
	state, err := json.MarshalIndent(x.State(), "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(o.stateFile, append(state, '\n'), 0o600) //nolint:gosec // the caller's own choice of a file
}

// generate makes operations until the options' end or the context's. Whole
// operations only: the final state is that of what has been written.
func (o *options) generate(ctx context.Context, x *exchange.Exchange, out sink, t *tally, bar *progress) error {
	started := time.Now()
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for ctx.Err() == nil && !o.done(x, t) {
		if o.rate > 0 {
			if float64(t.records) >= time.Since(started).Seconds()*o.rate {
				if err := out.send(); err != nil {
					return err
				}
				bar.show(t)
				select {
				case <-tick.C:
				case <-ctx.Done():
				}
				continue
			}
			x.AdvanceTo(time.Now())
		}
		messages := x.Step()
		for i := range messages {
			t.topics[messages[i].Topic]++
			t.bytes += len(messages[i].Value)
		}
		t.records += len(messages)
		if err := out.write(messages); err != nil {
			return err
		}
		if x.Stats().Operations%4096 == 0 {
			bar.show(t)
		}
	}
	return nil
}

func (o *options) done(x *exchange.Exchange, t *tally) bool {
	return (o.records > 0 && t.records >= o.records) || (o.operations > 0 && x.Stats().Operations >= o.operations)
}

// print writes the summary.
func (t *tally) print(w io.Writer, x *exchange.Exchange, elapsed time.Duration) {
	for _, topic := range exchange.Topics() {
		fmt.Fprintf(w, "%-18s %12d\n", topic, t.topics[topic])
	}
	stats := x.Stats()
	fmt.Fprintf(w, "%-18s %12d records, %.1f MB, of %d operations (%d refused)\n", "in all", t.records, float64(t.bytes)/1e6, stats.Operations, stats.Refused)
	seconds := elapsed.Seconds()
	fmt.Fprintf(w, "%-18s %12.2f s, %.0f records/s\n", "elapsed", seconds, float64(t.records)/seconds)
	for _, fault := range []struct {
		name  string
		count int
	}{
		{"duplicates", stats.Duplicates}, {"foreign", stats.Foreign}, {"self-transfers", stats.SelfTransfers}, {"crashes", stats.Crashes},
		{"panics", stats.Panics}, {"forgotten", stats.Forgotten}, {"lost on unify", stats.LostUnify}, {"lost on topics", stats.LostTopics},
	} {
		if fault.count > 0 {
			fmt.Fprintf(w, "%-18s %12d\n", fault.name, fault.count)
		}
	}
}
