package config

import (
	"log/slog"
	"regexp"
)

// Secret is a text that no log, error or help text shows.
type Secret string

const redacted = "[redacted]"

// String hides the text from fmt and from the flag package.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// GoString hides the text from %#v.
func (s Secret) GoString() string { return s.String() }

// LogValue hides the text from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText hides the text from encoding/json.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Reveal returns the text itself, for the one place that connects with it.
func (s Secret) Reveal() string { return string(s) }

// The forms in which a connection string carries a password. A password may
// hold any character unescaped by mistake, so the first runs to the last @.
var (
	urlPassword     = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://[^\s:/@]*):\S*@`)
	keywordPassword = regexp.MustCompile(`(?i)\b((?:ssl)?password)\s*=\s*('(?:[^'\\]|\\.)*'|[^\s&'"]+)`)
)

// Redact takes the passwords out of the connection strings in a text, such as
// an error of a library that quotes what it was given.
func Redact(text string) string {
	text = urlPassword.ReplaceAllString(text, "${1}:"+redacted+"@")
	return keywordPassword.ReplaceAllString(text, "${1}="+redacted)
}
