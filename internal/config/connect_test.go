package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
)

// certificate writes a self-signed certificate and its key as PEM files.
func certificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return file(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))),
		file(t, string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})))
}

func TestConnect(t *testing.T) {
	cert, key := certificate(t)
	k := DefaultKafka()
	k.TLS, k.CAFile, k.CertFile, k.KeyFile = true, cert, cert, key
	for mechanism, name := range map[string]string{"PLAIN": "PLAIN", "SCRAM-SHA-256": "SCRAM-SHA-256", "SCRAM-SHA-512": "SCRAM-SHA-512"} {
		k.SASLMechanism, k.Username, k.Password = mechanism, "u", "p"
		if err := k.Validate(); err != nil {
			t.Fatal(err)
		}
		transport, err := k.Transport([]string{"trades"})
		if err != nil {
			t.Fatal(err)
		}
		dialer, err := k.Dialer()
		if err != nil {
			t.Fatal(err)
		}
		if transport.SASL.Name() != name || dialer.SASLMechanism.Name() != name {
			t.Errorf("%s: %s, %s", mechanism, transport.SASL.Name(), dialer.SASLMechanism.Name())
		}
		if transport.TLS.RootCAs == nil || len(transport.TLS.Certificates) != 1 || dialer.TLS.RootCAs == nil || len(dialer.TLS.Certificates) != 1 {
			t.Error("certificates are missing")
		}
		if len(transport.MetadataTopics) != 1 || transport.ClientID != "persistor" || dialer.ClientID != "persistor" || dialer.Timeout == 0 {
			t.Errorf("%+v %+v", transport, dialer)
		}
	}
	if client := k.Client(nil); client.Timeout == 0 || client.Addr.String() != "localhost:9092" {
		t.Errorf("%+v", client)
	}
}

func TestConnectInTheClear(t *testing.T) {
	k := DefaultKafka()
	transport, err := k.Transport(nil)
	if err != nil || transport.TLS != nil || transport.SASL != nil {
		t.Errorf("%+v %v", transport, err)
	}
	dialer, err := k.Dialer()
	if err != nil || dialer.TLS != nil || dialer.SASLMechanism != nil {
		t.Errorf("%+v %v", dialer, err)
	}
}

func TestKafkaErrors(t *testing.T) {
	cert, key := certificate(t)
	_, otherKey := certificate(t)
	noPEM := file(t, "hello")
	for _, test := range []struct {
		name string
		set  func(*Kafka)
		want string
	}{
		{"authority without TLS", func(k *Kafka) { k.CAFile = cert }, "PERSISTOR_KAFKA_CA_FILE (--kafka-ca-file) is set but PERSISTOR_KAFKA_TLS"},
		{"certificate without TLS", func(k *Kafka) { k.CertFile = cert }, "PERSISTOR_KAFKA_CERT_FILE (--kafka-cert-file) is set but"},
		{"authority missing", func(k *Kafka) { k.TLS, k.CAFile = true, "/nowhere/ca" }, "PERSISTOR_KAFKA_CA_FILE (--kafka-ca-file): open /nowhere/ca: no such file"},
		{"authority is no PEM", func(k *Kafka) { k.TLS, k.CAFile = true, noPEM }, "no certificate in"},
		{"certificate without key", func(k *Kafka) { k.TLS, k.CertFile = true, cert }, "PERSISTOR_KAFKA_KEY_FILE (--kafka-key-file) is not"},
		{"key without certificate", func(k *Kafka) { k.TLS, k.KeyFile = true, key }, "PERSISTOR_KAFKA_CERT_FILE (--kafka-cert-file) is not"},
		{"certificate missing", func(k *Kafka) { k.TLS, k.CertFile, k.KeyFile = true, "/nowhere/c", key }, "PERSISTOR_KAFKA_CERT_FILE (--kafka-cert-file): open /nowhere/c"},
		{"key missing", func(k *Kafka) { k.TLS, k.CertFile, k.KeyFile = true, cert, "/nowhere/k" }, "PERSISTOR_KAFKA_KEY_FILE (--kafka-key-file): open /nowhere/k"},
		{"another's key", func(k *Kafka) { k.TLS, k.CertFile, k.KeyFile = true, cert, otherKey }, "private key does not match public key"},
		{"unknown mechanism", func(k *Kafka) { k.SASLMechanism = "GSSAPI" }, `"GSSAPI" is none of PLAIN`},
		{"mechanism without user", func(k *Kafka) { k.SASLMechanism, k.Password = "PLAIN", "hunter2" }, "PERSISTOR_KAFKA_USERNAME (--kafka-username) is not"},
		{"mechanism without password", func(k *Kafka) { k.SASLMechanism, k.Username = "PLAIN", "u" }, "PERSISTOR_KAFKA_PASSWORD (--kafka-password) is not"},
		{"user without mechanism", func(k *Kafka) { k.Username = "u" }, "PERSISTOR_KAFKA_SASL_MECHANISM (--kafka-sasl-mechanism) is not"},
		{"password without mechanism", func(k *Kafka) { k.Password = "hunter2" }, "choose PLAIN"},
		{"password that SCRAM cannot prepare", func(k *Kafka) { k.SASLMechanism, k.Username, k.Password = "SCRAM-SHA-256", "u", "hunter2\x00" }, "does not allow"},
	} {
		t.Run(test.name, func(t *testing.T) {
			k := DefaultKafka()
			test.set(&k)
			err := k.Validate()
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
