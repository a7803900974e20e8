package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"runtime"
	"runtime/debug"
)

// Set by the linker: -X main.version=1.2.3 -X main.commit=0123abc.
var version, commit string

func versionCommand() command {
	return command{
		name:    "version",
		summary: "show version, commit and Go version",
		prepare: func(*flag.FlagSet) func(context.Context, *call) error {
			return func(_ context.Context, c *call) error {
				v, rev := build()
				fmt.Fprintf(c.stdout, "%s %s (commit %s, %s, %s/%s)\n", program, v, rev, runtime.Version(), runtime.GOOS, runtime.GOARCH)
				return nil
			}
		},
	}
}

// build returns version and commit as the linker was told them, else as the Go
// command recorded them.
func build() (v, revision string) {
	v, revision = version, commit
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return cmp.Or(v, "unknown"), cmp.Or(revision, "unknown")
	}
	recorded := map[string]string{}
	for _, s := range info.Settings {
		recorded[s.Key] = s.Value
	}
	if revision == "" {
		revision = recorded["vcs.revision"]
		if revision != "" && recorded["vcs.modified"] == "true" {
			revision += "+changes"
		}
	}
	return cmp.Or(v, info.Main.Version, "unknown"), cmp.Or(revision, "unknown")
}
