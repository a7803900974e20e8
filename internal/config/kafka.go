package config

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"

	"github.com/segmentio/kafka-go"

	"github.com/thaliumx/persistor/internal/topics"
)

// Kafka says where the cluster is and how to get in.
type Kafka struct {
	Brokers []string

	TLS      bool
	CAFile   string // PEM; empty: the system's authorities
	CertFile string // PEM, with KeyFile: a certificate of our own
	KeyFile  string

	SASLMechanism string // PLAIN, SCRAM-SHA-256, SCRAM-SHA-512; empty: none
	Username      string
	Password      Secret

	// TopicPrefix stands before every topic's name, for platforms that keep
	// several environments in one cluster. Tables and metrics show full names.
	TopicPrefix string
}

// DefaultKafka is a broker on this machine, as `make up` starts it.
func DefaultKafka() Kafka { return Kafka{Brokers: []string{"localhost:9092"}} }

func (k *Kafka) settings() []setting {
	return []setting{
		{name: "kafka-brokers", value: listValue(&k.Brokers), usage: "host:port of some brokers, separated by commas; the others are found through them"},
		{name: "kafka-tls", value: boolValue(&k.TLS), usage: "encrypt connections to Kafka"},
		{name: "kafka-ca-file", value: stringValue(&k.CAFile), usage: "PEM file with the authorities that sign the brokers' certificates; unset: the system's"},
		{name: "kafka-cert-file", value: stringValue(&k.CertFile), usage: "PEM file with our own certificate"},
		{name: "kafka-key-file", value: stringValue(&k.KeyFile), usage: "PEM file with its key"},
		{name: "kafka-sasl-mechanism", value: stringValue(&k.SASLMechanism), usage: "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; unset: no SASL"},
		{name: "kafka-username", value: stringValue(&k.Username), usage: "SASL user"},
		{name: "kafka-password", value: secretValue(&k.Password), secret: &k.Password, usage: "SASL password"},
		{name: "topic-prefix", value: stringValue(&k.TopicPrefix), usage: "stands before every topic's name, dead letters' included"},
	}
}

// legalTopic are the characters that Kafka allows in a topic's name.
var legalTopic = regexp.MustCompile(`^[a-zA-Z0-9._-]*$`)

// Validate checks everything that can be checked without the network, files
// included.
func (k *Kafka) Validate() error {
	for _, b := range k.Brokers {
		if err := validateBroker(b); err != nil {
			return fmt.Errorf("%s: %q: %w", label("kafka-brokers"), b, err)
		}
	}
	if len(k.Brokers) == 0 {
		return fmt.Errorf("%s: must not be empty", label("kafka-brokers"))
	}
	if !legalTopic.MatchString(k.TopicPrefix) || len(k.TopicPrefix) > 200 {
		return fmt.Errorf("%s: %q: Kafka allows letters, digits, dot, underscore and hyphen in a topic's name, 249 in all", label("topic-prefix"), k.TopicPrefix)
	}
	_, tlsErr := k.tlsConfig()
	_, saslErr := k.mechanism()
	return cmp.Or(tlsErr, saslErr)
}

func validateBroker(address string) error {
	if strings.Contains(address, "://") {
		return errors.New("want host:port, without a scheme")
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil || host == "" {
		return errors.New("want host:port, such as localhost:9092")
	}
	switch port, err := portOf(address); {
	case err != nil:
		return err
	case port == 0:
		return errors.New("port 0 cannot be connected to")
	}
	return nil
}

// TopicNames returns names with the prefix before each.
func (k *Kafka) TopicNames(names []string) []string {
	full := make([]string, len(names))
	for i, n := range names {
		full[i] = k.TopicPrefix + n
	}
	return full
}

// Consumed returns the full names of all topics that can be consumed.
func (k *Kafka) Consumed() []string { return k.TopicNames(topics.Names(topics.Consumed())) }

// Addr returns the brokers as kafka-go's Client and Writer want them.
func (k *Kafka) Addr() net.Addr { return kafka.TCP(k.Brokers...) }
