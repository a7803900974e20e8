package main

import (
	"errors"
	"fmt"

	"github.com/thaliumx/persistor/internal/config"
)

// The exit codes, the same for every command.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2 // wrong flags, variables or arguments
	exitDifferences = 3 // the command worked and found differences
	exitHalted      = 4 // stopped on purpose: going on would lose or double data
)

// exitError is an error with an exit code of its own.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }

// Unwrap gives the cause.
func (e *exitError) Unwrap() error { return e.err }

// usageError says that the arguments of a command are wrong.
func usageError(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// foundDifferences says that a comparison came out unequal; what differs is on
// standard output already.
func foundDifferences(format string, args ...any) error {
	return &exitError{exitDifferences, fmt.Errorf(format, args...)}
}

// exitCode maps what a command returned.
func exitCode(err error) int {
	if err == nil {
		return exitDone
	}
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code
	}
	if _, ok := errors.AsType[*config.UsageError](err); ok {
		return exitUsage
	}
	return exitFailed
}
