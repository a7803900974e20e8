package config

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
)

// Log says what is logged, and how.
type Log struct {
	Level  slog.Level
	Format string // "text", "json", or empty: text on a terminal, else json
}

// DefaultLog is quiet enough to be left alone.
func DefaultLog() Log { return Log{Level: slog.LevelInfo} }

func (l *Log) settings() []setting {
	return []setting{
		{name: "log-level", value: value[slog.Level]{&l.Level, parseLevel, func(v slog.Level) string { return strings.ToLower(v.String()) }},
			usage: "debug, info, warn or error"},
		{name: "log-format", value: stringValue(&l.Format), usage: "text or json; unset: text on a terminal, else json"},
	}
}

func parseLevel(text string) (slog.Level, error) {
	switch strings.ToLower(text) {
	case "debug":
		return slog.LevelDebug, nil
	case "info":
		return slog.LevelInfo, nil
	case "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	}
	return 0, errors.New("want debug, info, warn or error")
}

// Validate refuses an unknown format.
func (l *Log) Validate() error {
	switch l.Format {
	case "", "text", "json":
		return nil
	}
	return fmt.Errorf("%s: %q is neither text nor json", label("log-format"), l.Format)
}

// Logger returns a logger that writes to w and takes passwords out of whatever
// connection string a library's error quotes.
func (l *Log) Logger(w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: l.Level, ReplaceAttr: redactAttr}
	if l.Format == "text" || l.Format == "" && isTerminal(w) {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

func redactAttr(_ []string, a slog.Attr) slog.Attr {
	switch v := a.Value.Any().(type) {
	case string:
		a.Value = slog.StringValue(Redact(v))
	case error:
		a.Value = slog.StringValue(Redact(v.Error()))
	}
	return a
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
