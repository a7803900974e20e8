package main

import (
	"bytes"
	"io"
	"unicode"
)

// plain is a terminal, on which texts of the log may do nothing: what is neither
// printable nor the end of a line shows as U+FFFD.
type plain struct{ io.Writer }

func (p plain) Write(b []byte) (int, error) {
	shown := bytes.Map(func(r rune) rune {
		if unicode.IsPrint(r) || r == '\n' {
			return r
		}
		return unicode.ReplacementChar
	}, b)
	if _, err := p.Writer.Write(shown); err != nil {
		return 0, err
	}
	return len(b), nil
}
