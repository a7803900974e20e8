package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/thaliumx/persistor/internal/config"
)

func helpCommand() command {
	return command{
		name:      "help",
		summary:   "list the commands, or explain one; help settings: all flags and variables",
		arguments: "[command]",
		// Whoever is told of a wrong variable is sent here.
		ignoresEnvironment: true,
		prepare: func(*flag.FlagSet) func(context.Context, *call) error {
			return func(_ context.Context, c *call) error { return writeHelp(c.stdout, c.args) }
		},
	}
}

func writeHelp(w io.Writer, topic []string) error {
	switch strings.Join(topic, " ") {
	case "":
		writeCommands(w, commands())
		fmt.Fprint(w, "\nEvery setting is a flag (--kafka-brokers) and a variable (PERSISTOR_KAFKA_BROKERS);\n"+
			"the flag wins. `persistor help settings` lists them, `persistor <command> --help`\n"+
			"those that a command uses.\n\n"+
			"Exit codes: 0 done; 1 failed; 2 wrong usage or configuration; 3 worked and found\n"+
			"differences; 4 halted, because going on would lose or double data.\n")
		return nil
	case "settings":
		fmt.Fprintln(w, "Settings, as flag and as variable; the flag wins:")
		config.WriteHelp(w, config.NeedDaemon|config.NeedSchema)
		return nil
	}
	if c, rest, err := find(topic); err == nil && len(rest) == 0 {
		return writeCommandHelp(w, c)
	}
	var group []command
	for _, c := range commands() {
		if len(topic) == 1 && strings.HasPrefix(c.name, topic[0]+" ") {
			group = append(group, c)
		}
	}
	if len(group) == 0 {
		return usageError("unknown command %q; `persistor help` lists the commands", strings.Join(topic, " "))
	}
	writeCommands(w, group)
	return nil
}

func writeCommands(w io.Writer, list []command) {
	fmt.Fprintf(w, "Usage: %s <command> [flags]\n\n", program)
	width := 0
	for _, c := range list {
		width = max(width, len(c.name))
	}
	for _, c := range list {
		fmt.Fprintf(w, "  %-*s  %s\n", width, c.name, c.summary)
	}
}

// writeCommandHelp explains one command: what it does, its own flags, and the
// settings that it reads.
func writeCommandHelp(w io.Writer, c command) error {
	arguments := ""
	if c.arguments != "" {
		arguments = " " + c.arguments
	}
	fmt.Fprintf(w, "Usage: %s %s%s [flags]\n\n%s.\n", program, c.name, arguments, capital(c.summary))
	if c.detail != "" {
		fmt.Fprintf(w, "\n%s\n", c.detail)
	}
	own := flag.NewFlagSet(c.name, flag.ContinueOnError)
	c.prepare(own)
	first := true
	own.VisitAll(func(f *flag.Flag) {
		if first {
			fmt.Fprint(w, "\nFlags:\n")
			first = false
		}
		placeholder, usage := flag.UnquoteUsage(f)
		if placeholder != "" {
			placeholder = " " + placeholder
		}
		fmt.Fprintf(w, "  --%s%s%s\n      %s\n", f.Name, placeholder, defaultText(f), usage)
	})
	config.WriteHelp(w, c.needs)
	return nil
}

func defaultText(f *flag.Flag) string {
	switch f.DefValue {
	case "", "false":
		return ""
	}
	return fmt.Sprintf(" (default %s)", f.DefValue)
}

func capital(text string) string { return strings.ToUpper(text[:1]) + text[1:] }
