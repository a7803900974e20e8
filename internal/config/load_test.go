package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// load is Load as a command without flags of its own calls it.
func load(t *testing.T, need Need, args, env []string) (Config, []string, error) {
	t.Helper()
	return Load(flag.NewFlagSet("test", flag.ContinueOnError), need, args, env)
}

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadSettings(t *testing.T) {
	password := file(t, "from file\n")
	for _, test := range []struct {
		name string
		need Need
		args []string
		env  []string
		want func(*Config)
	}{
		{"nothing set", NeedDaemon, nil, nil, func(*Config) {}},
		{"variables that are not ours", NeedDaemon, nil, []string{"PATH=/bin", "HOME=/root", "KAFKA_BROKERS=x"}, func(*Config) {}},
		{"variable", NeedDaemon, nil, []string{"PERSISTOR_KAFKA_BROKERS=a:1,b:2"},
			func(c *Config) { c.Kafka.Brokers = []string{"a:1", "b:2"} }},
		{"blanks in a list", NeedDaemon, nil, []string{"PERSISTOR_KAFKA_BROKERS= a:1 , b:2"},
			func(c *Config) { c.Kafka.Brokers = []string{"a:1", "b:2"} }},
		{"empty variable is unset", NeedDaemon, nil, []string{"PERSISTOR_KAFKA_BROKERS=", "PERSISTOR_WORKERS="}, func(*Config) {}},
		{"flag", NeedDaemon, []string{"--kafka-brokers", "a:1"}, nil,
			func(c *Config) { c.Kafka.Brokers = []string{"a:1"} }},
		{"flag with one dash", NeedDaemon, []string{"-kafka-brokers=a:1"}, nil,
			func(c *Config) { c.Kafka.Brokers = []string{"a:1"} }},
		{"flag wins", NeedDaemon, []string{"--workers=7"}, []string{"PERSISTOR_WORKERS=5"},
			func(c *Config) { c.Ingest.Workers = 7 }},
		{"flag wins over a broken variable", NeedDaemon, []string{"--workers=7"}, []string{"PERSISTOR_WORKERS=x"},
			func(c *Config) { c.Ingest.Workers = 7 }},
		{"flag with the default's value wins", NeedDaemon, []string{"--workers=3"}, []string{"PERSISTOR_WORKERS=5"}, func(*Config) {}},
		{"switch without a word", NeedDaemon, []string{"--kafka-tls"}, nil, func(c *Config) { c.Kafka.TLS = true }},
		{"switch in a variable", NeedDaemon, nil, []string{"PERSISTOR_KAFKA_TLS=1"}, func(c *Config) { c.Kafka.TLS = true }},
		{"switch turned off by a flag", NeedDaemon, []string{"--kafka-tls=false"}, []string{"PERSISTOR_KAFKA_TLS=true"}, func(*Config) {}},
		{"durations and sizes", NeedDaemon, nil,
			[]string{"PERSISTOR_KAFKA_SESSION_TIMEOUT=1m30s", "PERSISTOR_BATCH_BYTES=512KiB", "PERSISTOR_BATCH_RECORDS=5", "PERSISTOR_OUTAGE_GRACE=500ms", "PERSISTOR_DRAIN_TIMEOUT=12s"},
			func(c *Config) {
				c.Consumer.SessionTimeout = 90 * time.Second
				c.Ingest.BatchBytes = 512 << 10
				c.Ingest.BatchRecords = 5
				c.Ingest.OutageGrace = 500 * time.Millisecond
				c.Consumer.DrainTimeout = 12 * time.Second
			}},
		{"size as a plain number", NeedDaemon, []string{"--batch-bytes=65536"}, nil, func(c *Config) { c.Ingest.BatchBytes = 65536 }},
		{"synchronous commit off", NeedDaemon, []string{"--synchronous-commit", "off"}, nil, func(c *Config) { c.Database.SynchronousCommit = false }},
		{"topics, in the operator's order", NeedDaemon, nil, []string{"PERSISTOR_TOPICS=unifyevents,trades"},
			func(c *Config) { c.Consumer.Topics = []string{"unifyevents", "trades"} }},
		{"prefix", NeedKafka, nil, []string{"PERSISTOR_TOPIC_PREFIX=prod-eu."}, func(c *Config) { c.Kafka.TopicPrefix = "prod-eu." }},
		{"what Kubernetes injects", NeedDaemon, nil,
			[]string{
				"PERSISTOR_SERVICE_HOST=10.0.0.1", "PERSISTOR_SERVICE_PORT=9464", "PERSISTOR_SERVICE_PORT_HTTP=9464",
				"PERSISTOR_PORT=tcp://10.0.0.1:9464", "PERSISTOR_PORT_9464_TCP=tcp://10.0.0.1:9464",
				"PERSISTOR_PORT_9464_TCP_PROTO=tcp", "PERSISTOR_PORT_9464_TCP_PORT=9464", "PERSISTOR_PORT_9464_TCP_ADDR=10.0.0.1",
			}, func(*Config) {}},
		{"a known variable that is not needed", NeedDatabase, nil,
			[]string{"PERSISTOR_KAFKA_BROKERS=", "PERSISTOR_WORKERS=broken", "PERSISTOR_LISTEN=broken", "PERSISTOR_KAFKA_PASSWORD_FILE=/nowhere", "PERSISTOR_KAFKA_CA_FILE=/nowhere"},
			func(*Config) {}},
		{"both forms of a secret that is not needed", NeedKafka, nil,
			[]string{"PERSISTOR_DATABASE_URL=broken", "PERSISTOR_DATABASE_URL_FILE=/nowhere"}, func(*Config) {}},
		{"a flag that is not needed", NeedDatabase, []string{"--listen", ":1", "--kafka-brokers", "broken"}, nil,
			func(c *Config) { c.HTTP.Listen = ":1"; c.Kafka.Brokers = []string{"broken"} }},
		{"secret from a file", NeedKafka, nil,
			[]string{"PERSISTOR_KAFKA_SASL_MECHANISM=PLAIN", "PERSISTOR_KAFKA_USERNAME=u", "PERSISTOR_KAFKA_PASSWORD_FILE=" + password},
			func(c *Config) { c.Kafka.SASLMechanism, c.Kafka.Username, c.Kafka.Password = "PLAIN", "u", "from file" }},
		{"a file by flag wins over a secret by variable", NeedDatabase, []string{"--database-url-file", file(t, "postgres://file@h/d\r\n")},
			[]string{"PERSISTOR_DATABASE_URL=postgres://variable@h/d"}, func(c *Config) { c.Database.URL = "postgres://file@h/d" }},
		{"a secret by flag wins over a file by variable", NeedDatabase, []string{"--database-url", "postgres://flag@h/d"},
			[]string{"PERSISTOR_DATABASE_URL_FILE=/nowhere"}, func(c *Config) { c.Database.URL = "postgres://flag@h/d" }},
		{"a file by flag wins over both variables", NeedDatabase, []string{"--database-url-file", file(t, "postgres://file@h/d")},
			[]string{"PERSISTOR_DATABASE_URL=postgres://variable@h/d", "PERSISTOR_DATABASE_URL_FILE=/nowhere"},
			func(c *Config) { c.Database.URL = "postgres://file@h/d" }},
		{"the engine's database from a file", NeedEngine, nil, []string{"PERSISTOR_ENGINE_DATABASE_URL_FILE=" + file(t, "postgres://e@h/d\n\n")},
			func(c *Config) { c.Engine.DatabaseURL = "postgres://e@h/d" }},
		{"libpq's variables", NeedDatabase, nil, []string{"PGHOST=db"}, func(c *Config) { c.Database.URL = "" }},
		{"libpq's variables, an empty URL", NeedDatabase, nil, []string{"PGUSER=me", "PERSISTOR_DATABASE_URL="}, func(c *Config) { c.Database.URL = "" }},
		{"libpq's variables beside a URL", NeedDatabase, nil, []string{"PGHOST=db", "PERSISTOR_DATABASE_URL=postgres://u@h/d"},
			func(c *Config) { c.Database.URL = "postgres://u@h/d" }},
		{"libpq's password completes the default", NeedDatabase, nil, []string{"PGPASSWORD=x", "PGHOST="}, func(*Config) {}},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := Default()
			test.want(&want)
			got, rest, err := load(t, test.need, test.args, test.env)
			if err != nil {
				t.Fatal(err)
			}
			if len(rest) != 0 {
				t.Errorf("arguments left: %q", rest)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

func TestLoadErrors(t *testing.T) {
	empty := file(t, "\n")
	for _, test := range []struct {
		name string
		need Need
		args []string
		env  []string
		want string
	}{
		{"unknown flag", NeedDaemon, []string{"--kafka-broker=x"}, nil, "unknown flag --kafka-broker; did you mean --kafka-brokers?"},
		{"misspelt flag", NeedDaemon, []string{"--bacth-bytes=1"}, nil, "unknown flag --bacth-bytes; did you mean --batch-bytes?"},
		{"flag like no other", NeedDaemon, []string{"--fast"}, nil, "unknown flag --fast; `persistor COMMAND --help` lists"},
		{"flag like too many", NeedDaemon, []string{"--kafka"}, nil, "unknown flag --kafka; `persistor COMMAND --help` lists"},
		{"flag without its value", NeedDaemon, []string{"--workers"}, nil, "flag needs a value: --workers"},
		{"flag with a bad value", NeedDaemon, []string{"--workers=x"}, nil, `invalid value "x" for flag --workers: want a whole number`},
		{"unknown variable", NeedDaemon, nil, []string{"PERSISTOR_KAFKA_BROKER=x"}, "unknown variable PERSISTOR_KAFKA_BROKER: did you mean PERSISTOR_KAFKA_BROKERS?"},
		{"unknown variable, empty", NeedDaemon, nil, []string{"PERSISTOR_NONSENSE="}, "unknown variable PERSISTOR_NONSENSE"},
		{"unknown variable for a command that needs little", 0, nil, []string{"PERSISTOR_NONSENSE=1"}, "unknown variable PERSISTOR_NONSENSE"},
		{"unknown variables", NeedDaemon, nil, []string{"PERSISTOR_B=1", "PERSISTOR_A=1"}, "unknown variables PERSISTOR_A, PERSISTOR_B"},
		{"the bare prefix", NeedDaemon, nil, []string{"PERSISTOR_=1"}, "unknown variable PERSISTOR_"},
		{"not quite Kubernetes", NeedDaemon, nil, []string{"PERSISTOR_PORTS=1"}, "unknown variable PERSISTOR_PORTS"},
		{"another Service's link", NeedDaemon, nil, []string{"PERSISTOR_METRICS_SERVICE_HOST=10.0.0.1"}, "enableServiceLinks: false"},
		{"a command's own flag is no variable", NeedDaemon, nil, []string{"PERSISTOR_YES=1"}, "unknown variable PERSISTOR_YES"},
		{"variable with a bad value", NeedDaemon, nil, []string{"PERSISTOR_OUTAGE_GRACE=10"}, `invalid value "10" for PERSISTOR_OUTAGE_GRACE: want a duration with its unit`},
		{"a switch with a bad value", NeedDaemon, nil, []string{"PERSISTOR_KAFKA_TLS=ja"}, "want true or false"},
		{"on or off", NeedDaemon, nil, []string{"PERSISTOR_SYNCHRONOUS_COMMIT=true"}, "want on or off"},
		{"a size too large for the machine", NeedDaemon, []string{"--batch-bytes=99999999999999GiB"}, nil, "want a number of bytes"},
		{"both forms of a secret as variables", NeedDatabase, nil, []string{"PERSISTOR_DATABASE_URL=postgres://u@h/d", "PERSISTOR_DATABASE_URL_FILE=/x"},
			"PERSISTOR_DATABASE_URL and PERSISTOR_DATABASE_URL_FILE are both set"},
		{"both forms of a secret as flags", NeedKafka, []string{"--kafka-password=x", "--kafka-password-file=/x"}, nil,
			"--kafka-password and --kafka-password-file are both set"},
		{"secret's file missing", NeedDatabase, nil, []string{"PERSISTOR_DATABASE_URL_FILE=/nowhere/x"},
			"PERSISTOR_DATABASE_URL_FILE (--database-url-file): open /nowhere/x: no such file"},
		{"secret's file empty", NeedEngine, nil, []string{"PERSISTOR_ENGINE_DATABASE_URL_FILE=" + empty}, "is empty"},
		{"log level", 0, nil, []string{"PERSISTOR_LOG_LEVEL=loud"}, "want debug, info, warn or error"},
		{"log format", 0, nil, []string{"PERSISTOR_LOG_FORMAT=xml"}, `"xml" is neither text nor json`},

		{"no group", NeedConsumer, []string{"--group-id="}, nil, "PERSISTOR_GROUP_ID (--group-id): must not be empty"},
		{"unknown topic", NeedConsumer, nil, []string{"PERSISTOR_TOPICS=trades,candles"}, `"candles" is no topic that the persistor knows`},
		{"topic named twice", NeedConsumer, nil, []string{"PERSISTOR_TOPICS=trades,orders,trades"}, "trades is named twice"},
		{"empty element", NeedConsumer, nil, []string{"PERSISTOR_TOPICS=trades,,orders"}, "without empty elements"},
		{"session too short", NeedConsumer, nil, []string{"PERSISTOR_KAFKA_SESSION_TIMEOUT=1ms"}, "1ms is not between 1s and 30m0s"},
		{"drain longer than the session", NeedConsumer, nil, []string{"PERSISTOR_DRAIN_TIMEOUT=6s"}, "not below the session timeout"},
		{"drain longer than the promise", NeedConsumer, []string{"--drain-timeout=26s", "--kafka-session-timeout=1m"}, nil, "not between 0s and 25s"},

		{"broker without a port", NeedKafka, nil, []string{"PERSISTOR_KAFKA_BROKERS=kafka"}, `"kafka": want host:port`},
		{"broker without a host", NeedKafka, nil, []string{"PERSISTOR_KAFKA_BROKERS=:9092"}, `want host:port`},
		{"broker as a URL", NeedKafka, nil, []string{"PERSISTOR_KAFKA_BROKERS=kafka://k:9092"}, "without a scheme"},
		{"broker's port", NeedKafka, nil, []string{"PERSISTOR_KAFKA_BROKERS=k:909200"}, "not a number up to 65535"},
		{"broker's port 0", NeedKafka, nil, []string{"PERSISTOR_KAFKA_BROKERS=k:0"}, "port 0"},
		{"prefix", NeedKafka, nil, []string{"PERSISTOR_TOPIC_PREFIX=a b"}, "Kafka allows letters"},

		{"no workers", NeedIngest, []string{"--workers=0"}, nil, "0 is not between 1 and 256"},
		{"no records", NeedIngest, []string{"--batch-records=0"}, nil, "PERSISTOR_BATCH_RECORDS (--batch-records): 0 is not between"},
		{"too many bytes", NeedIngest, []string{"--batch-bytes=2GiB"}, nil, "2GiB is not between 1KiB and 1GiB"},
		{"negative grace", NeedIngest, []string{"--outage-grace=-1s"}, nil, "-1s is not between"},

		{"listen without a port", NeedHTTP, []string{"--listen=localhost"}, nil, `"localhost": not a host and a port; want host:port`},
		{"listen on a name", NeedHTTP, []string{"--listen=localhost:http"}, nil, `port "http" is not a number`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := load(t, test.need, test.args, test.env)
			if err == nil {
				t.Fatal("no error")
			}
			if _, ok := errors.AsType[*UsageError](err); !ok {
				t.Errorf("%T is no usage error", err)
			}
			if !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %q, want one line with %q", err, test.want)
			}
		})
	}
}

func TestLoadArguments(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string
		want []string
	}{
		{"before a flag", []string{"17", "--format", "json"}, []string{"17"}},
		{"after a flag", []string{"--format", "json", "17"}, []string{"17"}},
		{"around flags", []string{"a", "--format=json", "b", "--workers=1", "c"}, []string{"a", "b", "c"}},
		{"after two dashes", []string{"a", "--format=json", "--", "--b", "c"}, []string{"a", "--b", "c"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			fs := flag.NewFlagSet("test", flag.ContinueOnError)
			format := fs.String("format", "table", "")
			_, rest, err := Load(fs, 0, test.args, nil)
			if err != nil || *format != "json" || !reflect.DeepEqual(rest, test.want) {
				t.Errorf("got %q, format %s, %v", rest, *format, err)
			}
		})
	}
}

func TestLoadHelp(t *testing.T) {
	for _, arg := range []string{"-h", "--help"} {
		if _, _, err := load(t, NeedDaemon, []string{arg}, []string{"PERSISTOR_NONSENSE=1"}); !errors.Is(err, flag.ErrHelp) {
			t.Errorf("%s: %v", arg, err)
		}
	}
}

// TestNamesOfTheContract holds the names and defaults that others rely on.
func TestNamesOfTheContract(t *testing.T) {
	var help strings.Builder
	WriteHelp(&help, NeedDaemon)
	for _, want := range []string{
		"--kafka-brokers, PERSISTOR_KAFKA_BROKERS (default localhost:9092)",
		"--database-url, PERSISTOR_DATABASE_URL (default postgres://postgres@localhost:5432/postgres)",
		"PERSISTOR_DATABASE_URL_FILE",
		"PERSISTOR_GROUP_ID (default thaliumx-persistor)",
		"PERSISTOR_LISTEN (default 127.0.0.1:9464)",
		"PERSISTOR_KAFKA_TLS (default false)",
		"PERSISTOR_KAFKA_CA_FILE\n", "PERSISTOR_KAFKA_CERT_FILE\n", "PERSISTOR_KAFKA_KEY_FILE\n",
		"PERSISTOR_KAFKA_SASL_MECHANISM\n", "PERSISTOR_KAFKA_USERNAME\n", "PERSISTOR_KAFKA_PASSWORD\n", "PERSISTOR_KAFKA_PASSWORD_FILE",
		"PERSISTOR_KAFKA_SESSION_TIMEOUT (default 6s)",
		"PERSISTOR_ENGINE_DATABASE_URL\n", "PERSISTOR_ENGINE_DATABASE_URL_FILE",
		"PERSISTOR_TOPICS (default trades,orders,balances,deposits,withdraws,internaltransfer,registeruser,unifyevents)",
		"PERSISTOR_LOG_LEVEL (default info)", "PERSISTOR_LOG_FORMAT\n",
	} {
		if !strings.Contains(help.String(), want) {
			t.Errorf("the help text lacks %q", want)
		}
	}
	for line := range strings.Lines(help.String()) {
		if strings.HasPrefix(line, "      ") && len(line) > 82 {
			t.Errorf("line too long: %s", line)
		}
	}
}

func TestHelpLeavesOutWhatIsNotNeeded(t *testing.T) {
	var help strings.Builder
	WriteHelp(&help, NeedDatabase)
	if text := help.String(); strings.Contains(text, "--kafka") || !strings.Contains(text, "--database-url") || !strings.Contains(text, "--log-level") {
		t.Error(text)
	}
}

func TestDrain(t *testing.T) {
	for _, test := range []struct {
		name           string
		drain, session time.Duration
		want           time.Duration
	}{
		{"default", 0, 6 * time.Second, 5 * time.Second},
		{"long session", 0, time.Minute, 20 * time.Second},
		{"given", 3 * time.Second, time.Minute, 3 * time.Second},
	} {
		c := Consumer{DrainTimeout: test.drain, SessionTimeout: test.session}
		if got := c.Drain(); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

func TestDefaultsAreValid(t *testing.T) {
	c := Default()
	for _, g := range c.groups() {
		if err := g.validate(); err != nil {
			t.Errorf("%s: %v", g.title, err)
		}
	}
}
