// Package config reads the settings of all commands from flags and from
// PERSISTOR_… variables, checks them, and builds from them what connects to
// Kafka and what writes the log.
//
// Every setting is a flag (--kafka-brokers) and a variable of the same name
// (PERSISTOR_KAFKA_BROKERS); the flag wins. A variable that is empty counts as
// unset, since compose files and charts cannot help setting some. Unknown flags
// and variables are errors: a misspelled setting must not pass for its default.
package config

// Config is everything that can be set, a struct for each concern.
type Config struct {
	Kafka    Kafka
	Consumer Consumer
	Database Database
	Schema   Schema
	Engine   Engine
	Ingest   Ingest
	HTTP     HTTP
	Log      Log
}

// Default returns the settings of a daemon that was told nothing.
func Default() Config {
	return Config{
		Kafka:    DefaultKafka(),
		Consumer: DefaultConsumer(),
		Database: DefaultDatabase(),
		Ingest:   DefaultIngest(),
		HTTP:     DefaultHTTP(),
		Log:      DefaultLog(),
	}
}

// Need is a set of concerns. A command reads, checks and documents only the
// settings of those that it needs: a broken certificate path must not keep
// `persistor migrate` from migrating. The log is needed always.
type Need uint

// The concerns that a command can need.
const (
	NeedKafka    Need = 1 << iota // brokers, TLS, SASL, the topics' prefix
	NeedConsumer                  // group and topics
	NeedDatabase                  // where the tables are
	NeedSchema                    // how they are laid out
	NeedEngine                    // the engine's own database
	NeedIngest                    // workers, batches, time limits
	NeedHTTP                      // where to listen

	needLog Need = 0
)

// NeedDaemon is what `persistor run` needs: all there is but NeedSchema.
const NeedDaemon = NeedKafka | NeedConsumer | NeedDatabase | NeedEngine | NeedIngest | NeedHTTP

// group is one concern's settings as the parser and the help text see them.
type group struct {
	title    string
	need     Need
	settings []setting
	validate func() error
}

func (c *Config) groups() []group {
	return []group{
		{"Kafka", NeedKafka, c.Kafka.settings(), c.Kafka.Validate},
		{"Consumer group", NeedConsumer, c.Consumer.settings(), c.Consumer.Validate},
		{"Database", NeedDatabase, c.Database.settings(), c.Database.Validate},
		{"The tables", NeedSchema, c.Schema.settings(), c.Schema.Validate},
		{"The engine's database", NeedEngine, c.Engine.settings(), c.Engine.Validate},
		{"Ingestion", NeedIngest, c.Ingest.settings(), c.Ingest.Validate},
		{"HTTP", NeedHTTP, c.HTTP.settings(), c.HTTP.Validate},
		{"Log", needLog, c.Log.settings(), c.Log.Validate},
	}
}

func (g group) neededBy(need Need) bool { return g.need == needLog || need&g.need != 0 }
