package config

import (
	"crypto/tls"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
)

// TestConnectsToProtectedCluster talks TLS and SASL to a broker in this process.
func TestConnectsToProtectedCluster(t *testing.T) {
	cert, key := certificate(t)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.TLS(&tls.Config{Certificates: []tls.Certificate{pair}}),
		kfake.EnableSASL(), kfake.SeedTopics(1, "trades"),
		kfake.Superuser("PLAIN", "u", "p"), kfake.Superuser("SCRAM-SHA-256", "u", "p"), kfake.Superuser("SCRAM-SHA-512", "u", "p"))
	if err != nil {
		t.Fatal(err)
	}
	defer fake.Close()

	for _, test := range []struct {
		name, mechanism string
		password        Secret
		tls             bool
		fails           bool
	}{
		{"plain", "PLAIN", "p", true, false},
		{"SCRAM with SHA-256", "SCRAM-SHA-256", "p", true, false},
		{"SCRAM with SHA-512", "SCRAM-SHA-512", "p", true, false},
		{"wrong password", "SCRAM-SHA-512", "hunter2", true, true},
		{"in the clear", "PLAIN", "hunter2", false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			k := DefaultKafka()
			k.Brokers, k.TLS = fake.ListenAddrs(), test.tls
			k.SASLMechanism, k.Username, k.Password = test.mechanism, "u", test.password
			if test.tls {
				k.CAFile = cert
			}
			transport, err := k.Transport([]string{"trades"})
			if err != nil {
				t.Fatal(err)
			}
			defer transport.CloseIdleConnections()
			answer, err := k.Client(transport).Metadata(t.Context(), &kafka.MetadataRequest{Topics: []string{"trades"}})
			if test.fails {
				if err == nil || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil || len(answer.Topics) != 1 || answer.Topics[0].Error != nil {
				t.Fatalf("%+v %v", answer, err)
			}
			dialer, err := k.Dialer()
			if err != nil {
				t.Fatal(err)
			}
			conn, err := dialer.DialContext(t.Context(), "tcp", k.Brokers[0])
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.Close()
		})
	}
}
