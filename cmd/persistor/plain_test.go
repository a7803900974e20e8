package main

import (
	"bytes"
	"testing"
)

func TestPlain(t *testing.T) {
	var out bytes.Buffer
	text := "ASSET\x1b[31m\tü\n\u009b"
	if n, err := (plain{&out}).Write([]byte(text)); n != len(text) || err != nil || out.String() != "ASSET\ufffd[31m\ufffdü\n\ufffd" {
		t.Errorf("%d, %v: %q", n, err, out.String())
	}
}
