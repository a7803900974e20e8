package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

// clientID names us in the brokers' logs and quotas.
const clientID = "persistor"

const (
	// dialTimeout covers TCP, TLS and SASL together. 5 s is the library's own
	// default, written here because the Dialer's is no limit at all.
	dialTimeout = 5 * time.Second

	// requestTimeout bounds an administrative request. A controller that has
	// to create ten topics answers in less than a second; one that just lost its
	// leader needs a few.
	requestTimeout = 15 * time.Second
)

// Transport returns what carries requests to the cluster. It keeps the layout
// of the given topics only (full names); without any it would ask for all topics
// of the cluster every few seconds. Call CloseIdleConnections when done.
func (k *Kafka) Transport(topics []string) (*kafka.Transport, error) {
	tlsConfig, err := k.tlsConfig()
	if err != nil {
		return nil, err
	}
	mechanism, err := k.mechanism()
	if err != nil {
		return nil, err
	}
	return &kafka.Transport{
		ClientID:       clientID,
		DialTimeout:    dialTimeout,
		MetadataTopics: topics,
		TLS:            tlsConfig,
		SASL:           mechanism,
	}, nil
}

// Client returns a client for administrative requests over a transport.
func (k *Kafka) Client(transport *kafka.Transport) *kafka.Client {
	return &kafka.Client{Addr: k.Addr(), Timeout: requestTimeout, Transport: transport}
}

// Dialer returns what connects a consumer group.
func (k *Kafka) Dialer() (*kafka.Dialer, error) {
	tlsConfig, err := k.tlsConfig()
	if err != nil {
		return nil, err
	}
	mechanism, err := k.mechanism()
	if err != nil {
		return nil, err
	}
	return &kafka.Dialer{
		ClientID:  clientID,
		Timeout:   dialTimeout,
		DualStack: true,
		// A half-open connection to a coordinator that vanished is noticed.
		KeepAlive:     15 * time.Second,
		TLS:           tlsConfig,
		SASLMechanism: mechanism,
	}, nil
}

// tlsConfig is nil without TLS. Files without TLS are an error, not a reason
// to talk in the clear to a cluster that was meant to be protected.
func (k *Kafka) tlsConfig() (*tls.Config, error) {
	if !k.TLS {
		for _, s := range k.settings() {
			if strings.HasSuffix(s.name, "-file") && s.value.String() != "" {
				return nil, fmt.Errorf("%s is set but %s is not: set it to true, or remove the file", label(s.name), label("kafka-tls"))
			}
		}
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if k.CAFile != "" {
		pem, err := os.ReadFile(k.CAFile)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", label("kafka-ca-file"), err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: no certificate in %s: want PEM", label("kafka-ca-file"), k.CAFile)
		}
	}
	own, err := k.certificate()
	if err != nil {
		return nil, err
	}
	c.Certificates = own
	return c, nil
}

// certificate is our own, if there is one.
func (k *Kafka) certificate() ([]tls.Certificate, error) {
	switch {
	case k.CertFile == "" && k.KeyFile == "":
		return nil, nil
	case k.KeyFile == "":
		return nil, fmt.Errorf("%s is set but %s is not: a certificate is of no use without its key", label("kafka-cert-file"), label("kafka-key-file"))
	case k.CertFile == "":
		return nil, fmt.Errorf("%s is set but %s is not: a key is of no use without its certificate", label("kafka-key-file"), label("kafka-cert-file"))
	}
	certPEM, err := os.ReadFile(k.CertFile)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", label("kafka-cert-file"), err)
	}
	keyPEM, err := os.ReadFile(k.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", label("kafka-key-file"), err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("%s %s with %s %s: %w", label("kafka-cert-file"), k.CertFile, label("kafka-key-file"), k.KeyFile, err)
	}
	return []tls.Certificate{pair}, nil
}

// mechanism is nil without SASL.
func (k *Kafka) mechanism() (sasl.Mechanism, error) {
	if k.SASLMechanism == "" {
		if k.Username != "" || k.Password != "" {
			return nil, fmt.Errorf("%s or %s is set but %s is not: choose PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512",
				label("kafka-username"), label("kafka-password"), label("kafka-sasl-mechanism"))
		}
		return nil, nil
	}
	algorithm := map[string]scram.Algorithm{"SCRAM-SHA-256": scram.SHA256, "SCRAM-SHA-512": scram.SHA512}[k.SASLMechanism]
	if algorithm == nil && k.SASLMechanism != "PLAIN" {
		return nil, fmt.Errorf("%s: %q is none of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512", label("kafka-sasl-mechanism"), k.SASLMechanism)
	}
	switch {
	case k.Username == "":
		return nil, fmt.Errorf("%s is set but %s is not", label("kafka-sasl-mechanism"), label("kafka-username"))
	case k.Password == "":
		return nil, fmt.Errorf("%s is set but %s is not", label("kafka-sasl-mechanism"), label("kafka-password"))
	}
	if algorithm == nil {
		return plain.Mechanism{Username: k.Username, Password: k.Password.Reveal()}, nil
	}
	m, err := scram.Mechanism(algorithm, k.Username, k.Password.Reveal())
	if err != nil {
		// The library's error could quote what it could not prepare.
		return nil, fmt.Errorf("%s, %s: hold characters that %s does not allow", label("kafka-username"), label("kafka-password"), k.SASLMechanism)
	}
	return m, nil
}
