package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestSecretIsNeverPrinted(t *testing.T) {
	c := Default()
	c.Database.URL = "postgres://u:hunter2@h/d"
	c.Engine.DatabaseURL = "postgres://u:hunter2@h/d"
	c.Kafka.Password = "hunter2"
	asJSON, err := json.Marshal(c) //nolint:musttag // what matters is what an accident would show
	if err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer
	for _, format := range []string{"text", "json"} {
		l := Log{Format: format}
		l.Logger(&logged).Info("settings", "config", c, "kafka", &c.Kafka, "url", c.Database.URL,
			"cause", errors.New("cannot parse `postgres://u:hunter2@h/d`"), "text", "host=h password=hunter2")
	}
	for name, text := range map[string]string{
		"%v": fmt.Sprintf("%v", c), "%+v": fmt.Sprintf("%+v", &c), "%#v": fmt.Sprintf("%#v", c),
		"%q":   fmt.Sprintf("%q", c.Kafka.Password),
		"json": string(asJSON), "slog": logged.String(), "target": c.Database.Target(),
	} {
		if strings.Contains(text, "hunter2") {
			t.Errorf("%s: %s", name, text)
		}
	}
	if c.Kafka.Password.Reveal() != "hunter2" {
		t.Error("revealed something else")
	}
}

func TestRedact(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"no secret", "dial tcp 127.0.0.1:5432: connection refused", "dial tcp 127.0.0.1:5432: connection refused"},
		{"URL without a password", "postgres://u@h:5432/d", "postgres://u@h:5432/d"},
		{"URL", "parse postgres://u:pw@h:5432/d: bad", "parse postgres://u:[redacted]@h:5432/d: bad"},
		{"@ and / in the password", "`postgres://u:p@w/x@h/d`", "`postgres://u:[redacted]@h/d`"},
		{"no user", "amqp://:pw@h", "amqp://:[redacted]@h"},
		{"keywords", "host=h password=pw user=u", "host=h password=[redacted] user=u"},
		{"quoted", `password='p w\' x' host=h`, "password=[redacted] host=h"},
		{"parameter", "postgres://h/d?password=pw&sslmode=disable", "postgres://h/d?password=[redacted]&sslmode=disable"},
		{"a URL that is no secret", "see http://127.0.0.1:9464/readyz", "see http://127.0.0.1:9464/readyz"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := Redact(test.text); got != test.want {
				t.Errorf("got %s", got)
			}
		})
	}
}

func TestLogFormat(t *testing.T) {
	for _, test := range []struct {
		name, format string
		json         bool
	}{{"not a terminal", "", true}, {"json", "json", true}, {"text", "text", false}} {
		var out bytes.Buffer
		l := Log{Level: slog.LevelWarn, Format: test.format}
		log := l.Logger(&out)
		log.Info("hidden")
		log.Warn("shown")
		if got := strings.HasPrefix(out.String(), "{"); got != test.json || strings.Contains(out.String(), "hidden") || !strings.Contains(out.String(), "shown") {
			t.Errorf("%s: %s", test.name, out.String())
		}
	}
}
