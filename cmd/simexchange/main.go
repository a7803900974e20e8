// Command simexchange runs a simulated exchange into Kafka or into files: for a
// demonstration, for load, and for tests that need to know the truth.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// errUsage marks errors of the command line: exit code 2, as persistor's.
var errUsage = errors.New("wrong usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, "simexchange:", err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "simexchange:", err)
		os.Exit(1)
	}
}

// command runs the exchange as the arguments say, until it is done or ctx ends.
func command(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	opts, err := parse(args, stderr)
	if err != nil {
		return err
	}
	out, err := opts.open(ctx)
	if err != nil {
		return err
	}
	return opts.run(ctx, out, stdout, stderr)
}
