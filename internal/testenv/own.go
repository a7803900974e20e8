package testenv

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// ownTimeout bounds one call of the stack script. Starting takes seconds; the
// rest is for the first one on a machine, which fetches what it lacks.
const ownTimeout = 10 * time.Minute

// own is a server that belongs to one test, run by deploy/local/stack.
type own struct {
	t      testing.TB
	script string
	kind   string // the script's name for the server
	dir    string
	port   int
}

// Postgres is a private PostgreSQL with TimescaleDB.
type Postgres struct{ own }

// Broker is a private Kafka cluster of one broker.
type Broker struct{ own }

// OwnPostgres starts a PostgreSQL with TimescaleDB for this test alone, which
// may stop, kill and start it. It is removed when the test ends.
func OwnPostgres(t testing.TB) *Postgres {
	t.Helper()
	return &Postgres{startOwn(t, "postgres", "TimescaleDB of its own")}
}

// OwnKafka starts a broker for this test alone, which may stop, kill and
// start it. It is removed when the test ends.
func OwnKafka(t testing.TB) *Broker {
	t.Helper()
	b := &Broker{startOwn(t, "kafka", "Kafka of its own")}
	// It answers a little earlier than it knows who makes topics.
	ctx, cancel := context.WithTimeout(t.Context(), answerTimeout)
	defer cancel()
	if err := askKafka(ctx, b.Brokers()); err != nil {
		t.Fatalf("Kafka of its own: %v", err)
	}
	return b
}

// URL is the address of the database postgres, for its superuser. It stays
// the same over Stop, Kill and Start.
func (p *Postgres) URL() string {
	return "postgres://postgres@" + p.address() + "/postgres?sslmode=disable"
}

// Database is the function Database for the private server. The database goes
// with the server and is not dropped before.
func (p *Postgres) Database() string {
	p.t.Helper()
	address, err := addDatabase(p.URL(), p.t.Name())
	if err != nil {
		p.t.Fatalf("create a database for the test: %v", err)
	}
	return address
}

// Brokers is the address, as PERSISTOR_KAFKA_BROKERS has it. It stays the
// same over Stop, Kill and Start.
func (b *Broker) Brokers() string { return b.address() }

// Start starts the server on the data and the port that it had, and returns
// when it answers. It and the others that follow fail the test when they
// cannot do what they say, so they are for the test's own goroutine.
func (o *own) Start() {
	o.t.Helper()
	o.must("start", o.dir, strconv.Itoa(o.port))
}

// Stop ends the server in an orderly way and returns when it is gone.
func (o *own) Stop() {
	o.t.Helper()
	o.must("stop", o.dir)
}

// Kill ends the server's processes with SIGKILL and returns when they are gone.
func (o *own) Kill() {
	o.t.Helper()
	o.must("kill", o.dir)
}

// Dir is the directory that holds the server's data and log. A PostgreSQL
// started by root sees what is in Dir()/postgres as /mnt.
func (o *own) Dir() string { return o.dir }

func (o *own) address() string { return "127.0.0.1:" + strconv.Itoa(o.port) }

func (o *own) must(action string, arguments ...string) {
	o.t.Helper()
	if err := o.call(action, arguments...); err != nil {
		o.t.Fatal(err)
	}
}

// call runs the stack script. Its context is not the test's: a server must be
// ended after the test, too.
func (o *own) call(action string, arguments ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), ownTimeout)
	defer cancel()
	command := exec.CommandContext(ctx, o.script, append([]string{o.kind, action}, arguments...)...)
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", o.kind, action, err, output)
	}
	return nil
}

func startOwn(t testing.TB, kind, name string) own {
	t.Helper()
	script, err := findUpward(filepath.Join("deploy", "local", "stack"))
	if err != nil {
		unavailable(t, name, err)
	}
	// Below .devstack, so that `make down` ends what a killed test run left.
	clone := filepath.Dir(filepath.Dir(filepath.Dir(script)))
	instances := filepath.Join(clone, ".devstack", "instances")
	if err := os.MkdirAll(instances, 0o755); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(instances, kind+"-")
	if err != nil {
		t.Fatal(err)
	}
	// A broker's controller takes a second port.
	port, err := freePort(2)
	if err != nil {
		t.Fatal(err)
	}
	server := own{t: t, script: script, kind: kind, dir: dir, port: port}
	t.Cleanup(func() {
		if err := server.call("kill", dir); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove the test's %s: %v", kind, err)
		}
	})
	if err := server.call("start", dir, strconv.Itoa(port)); err != nil {
		unavailable(t, name, err)
	}
	return server
}

// freePort returns the first of n consecutive free ports on 127.0.0.1. They
// lie below those that outgoing connections are given, so that nothing takes
// a server's port while it is stopped.
func freePort(n int) (int, error) {
	const lowest, highest = 20000, 32000
	for range 100 {
		port := lowest + rand.IntN(highest-lowest)
		if err := listenable(port, n); err == nil {
			return port, nil
		}
	}
	return 0, errors.New("no free port between 20000 and 32000 in 100 attempts")
}

// listenable fails where one of the n ports from port on is taken.
func listenable(port, n int) error {
	for i := range n {
		listener, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port+i))
		if err != nil {
			return err
		}
		if err := listener.Close(); err != nil {
			return err
		}
	}
	return nil
}
