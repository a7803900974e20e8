package ingest

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// A server that is reached and refuses, over and over, is in one trouble: said
// once, and counted from its beginning.
func TestTroubleThatComesAndGoesIsOne(t *testing.T) {
	var text bytes.Buffer
	l := newLink("the database", "here", "look", slog.New(slog.NewTextHandler(&text, nil)))
	said := func() int { return strings.Count(text.String(), "in trouble") }
	l.up()
	l.down(errors.New("first"))
	began := l.snapshot().Since
	for range 5 {
		l.up()
		l.down(errors.New("again"))
	}
	if s := l.snapshot(); s.Up || s.Error != "again" || !s.Since.Equal(began) {
		t.Errorf("%+v, want one trouble since %v", s, began)
	}
	if said() != 1 || strings.Count(text.String(), "is back") != 1 {
		t.Errorf("said %d times, want once, and once that it is back:\n%s", said(), &text)
	}
	// Well for long enough, and then not: another one.
	l.up()
	l.state.Since = time.Now().Add(-settled)
	l.down(errors.New("another"))
	if s := l.snapshot(); s.Since.Equal(began) || said() != 2 {
		t.Errorf("another trouble is not told: %+v, said %d times", s, said())
	}
	// One that lasts is said again, rarely.
	l.reminded = time.Now().Add(-remindEvery)
	l.down(errors.New("still"))
	l.down(errors.New("still"))
	if said() != 3 {
		t.Errorf("said %d times, want 3", said())
	}
}
