package main

import (
	"strings"
	"testing"
)

func TestReplayUsage(t *testing.T) {
	for _, test := range []struct{ args, says string }{
		{"", "want --from-earliest"},
		{"--from-earliest", "there is no terminal to ask on: add --yes, or --dry-run"},
		{"--from-earliest --dry-run --until-time yesterday", `"yesterday" is no time`},
		{"--from-earliest --dry-run --until-offset 7 --until-time 2026-01-05T09:00:00Z", "not both"},
		{"--from-earliest --dry-run --until-offset -7", "no offset is negative"},
		{"--from-earliest --dry-run --yes", "not both"},
		{"--from-earliest --format json", "a program cannot be asked"},
		{"--from-earliest --dry-run --format xml", `"xml"`},
	} {
		got := execute(t, nil, append([]string{"replay"}, strings.Fields(test.args)...)...)
		if got.code != 2 || !strings.Contains(got.stderr, test.says) {
			t.Errorf("replay %s: %+v", test.args, got)
		}
	}
}
