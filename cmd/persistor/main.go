// Command persistor writes what a Dingir exchange puts on Kafka into
// TimescaleDB, each record exactly once, and rebuilds the exchange's state from
// it. `persistor help` lists its commands.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/thaliumx/persistor/internal/config"
)

func main() {
	ctx, hurry := untilSignalled(context.Background())
	os.Exit(run(ctx, hurry, os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// untilSignalled returns two contexts. The first SIGTERM or SIGINT ends ctx:
// take in no more work. The second ends hurry: leave what is in flight. After that
// a signal kills the process, as it would any other.
func untilSignalled(parent context.Context) (ctx, hurry context.Context) {
	ctx, stop := context.WithCancel(parent)
	hurry, cut := context.WithCancel(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-signals
		stop()
		<-signals
		cut()
		signal.Stop(signals)
	}()
	return ctx, hurry
}

// run is the whole program but for the process around it. It returns the exit
// code; on any but 0, stderr says in a line what failed and what to do.
func run(ctx, hurry context.Context, args, env []string, stdout, stderr io.Writer) int {
	out := &output{w: stdout}
	name, err := dispatch(ctx, hurry, args, env, out, stderr)
	if err == nil {
		err = out.failure()
	}
	if err == nil {
		return exitDone
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		err = errors.New("interrupted before it was done")
	}
	fmt.Fprintf(stderr, "%s: %s\n", name, oneLine(config.Redact(err.Error())))
	return exitCode(err)
}

// dispatch finds the command and runs it. It also returns the name for errors:
// the program's and, once it is known, the command's.
func dispatch(ctx, hurry context.Context, args, env []string, stdout, stderr io.Writer) (string, error) {
	args = aliases(args)
	c, rest, err := find(args)
	if err != nil {
		return program, err
	}
	name := program + " " + c.name
	if c.ignoresEnvironment {
		env = nil
	}
	fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
	execute := c.prepare(fs)
	cfg, arguments, err := config.Load(fs, c.needs, rest, env)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return name, writeCommandHelp(stdout, c)
	case err != nil:
		return name, err
	case c.arguments == "" && len(arguments) > 0:
		return name, usageError("unexpected argument %q; `%s --help` shows what it takes", arguments[0], name)
	}
	return name, execute(ctx, &call{
		config: cfg,
		args:   arguments,
		stdout: stdout,
		stderr: stderr,
		log:    cfg.Log.Logger(stderr),
		hurry:  hurry,
	})
}

// aliases are the spellings that people try first.
func aliases(args []string) []string {
	if len(args) == 0 {
		return args
	}
	switch args[0] {
	case "-h", "-help", "--help":
		return append([]string{"help"}, args[1:]...)
	case "-version", "--version":
		return append([]string{"version"}, args[1:]...)
	}
	return args
}

// oneLine joins the lines of an error, such as pgx's for each attempt to connect.
func oneLine(text string) string {
	var line strings.Builder
	for part := range strings.Lines(text) {
		part = strings.TrimSpace(part)
		switch {
		case part == "":
			continue
		case strings.HasSuffix(line.String(), ":"):
			line.WriteByte(' ')
		case line.Len() > 0:
			line.WriteString("; ")
		}
		line.WriteString(part)
	}
	return line.String()
}

// output remembers that a write failed, so that a full disk cannot pass for a
// command that has shown everything.
type output struct {
	w   io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if err != nil && o.err == nil {
		o.err = err
	}
	return n, err
}

func (o *output) failure() error {
	if o.err != nil {
		return fmt.Errorf("write to standard output: %w", o.err)
	}
	return nil
}
