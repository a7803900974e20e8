package main

import (
	"context"
	"flag"
	"io"
	"log/slog"
	"strings"

	"github.com/thaliumx/persistor/internal/config"
)

const program = "persistor"

// command is one thing the program can do.
type command struct {
	name      string // as typed: "topics check"
	summary   string // one line, for the list of commands
	arguments string // what follows that is no flag, such as "<id>..."; empty: nothing may
	detail    string // what else --help says
	needs     config.Need

	// ignoresEnvironment lets a command work although variables are wrong.
	ignoresEnvironment bool

	// prepare declares the command's own flags and returns what it does.
	prepare func(*flag.FlagSet) func(context.Context, *call) error
}

// call is what a command is given to work with.
type call struct {
	config config.Config
	args   []string
	stdout io.Writer
	stderr io.Writer
	log    *slog.Logger

	// hurry ends when what is in flight may not even be finished.
	hurry context.Context
}

// commands returns all there are, in the order of the help text.
func commands() []command {
	return []command{
		runCommand(),
		migrateCommand(),
		migrateStatusCommand(),
		stateCommand(),
		stateImportCommand(),
		verifyCommand(),
		replayCommand(),
		positionsCommand(),
		positionsSetCommand(),
		rejectsListCommand(),
		rejectsShowCommand(),
		rejectsRedriveCommand(),
		topicsCheckCommand(),
		topicsCreateCommand(),
		versionCommand(),
		helpCommand(),
	}
}

// find returns the command that args begin with, and the other args. A command
// may have the name of a group besides: `migrate` beside `migrate status`.
func find(args []string) (command, []string, error) {
	if len(args) == 0 {
		return command{}, nil, usageError("which command? `persistor help` lists them")
	}
	for words := min(2, len(args)); words > 0; words-- {
		name := strings.Join(args[:words], " ")
		for _, c := range commands() {
			if c.name == name {
				return c, args[words:], nil
			}
		}
	}
	if members := groupOf(args[0]); len(members) > 0 {
		if len(args) > 1 && isHelpFlag(args[1]) {
			return helpCommand(), args[:1], nil
		}
		return command{}, nil, usageError("which one? %s", strings.Join(members, ", "))
	}
	if strings.HasPrefix(args[0], "-") {
		return command{}, nil, usageError("%s: the command comes first, its flags behind it; `persistor help` lists the commands", args[0])
	}
	return command{}, nil, usageError("unknown command %q; `persistor help` lists the commands", args[0])
}

func isHelpFlag(arg string) bool {
	return strings.HasPrefix(arg, "-") && (strings.Trim(arg, "-") == "h" || strings.Trim(arg, "-") == "help")
}

// groupOf returns the names of the commands that begin with a word.
func groupOf(word string) []string {
	var names []string
	for _, c := range commands() {
		if c.name == word || strings.HasPrefix(c.name, word+" ") {
			names = append(names, c.name)
		}
	}
	return names
}
