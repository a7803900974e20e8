package ingest_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/exchange"
	"github.com/thaliumx/persistor/internal/harness"
	"github.com/thaliumx/persistor/internal/testenv"
)

// grace keeps the tests short; by default it is 10 s.
const grace = "PERSISTOR_OUTAGE_GRACE=1s"

// outageTime is how long a server stays away at least.
func outageTime() time.Duration {
	if full() {
		return time.Minute
	}
	return 2 * time.Second
}

// outage is a fault that ends, and what must be seen of it.
type outage struct {
	name  string
	begin func()
	end   func()
	state string // SQLSTATE that /readyz shows; empty: any trouble
}

// endure lets the daemon meet an outage and checks that it says so, loses
// nothing, rejects nothing, and recovers by itself.
func (s *scene) endure(p *harness.Process, o outage, produce func(), drained func()) {
	s.t.Helper()
	before := len(p.Log())
	o.begin()
	began := time.Now()
	produce()
	s.until(o.name+": /readyz tells", func() bool {
		status, body := p.Ready()
		return status == http.StatusServiceUnavailable && strings.Contains(body, "_away") && strings.Contains(body, o.state)
	})
	s.until(o.name+": lasts", func() bool { return time.Since(began) > outageTime() })
	if status, _ := p.Get("/healthz"); status != http.StatusOK {
		s.t.Errorf("%s: /healthz is %d: a restart would not help", o.name, status)
	}
	o.end()
	drained()
	s.until(o.name+": /readyz is content", func() bool { status, _ := p.Ready(); return status == http.StatusOK })
	if !p.Running() {
		s.t.Fatalf("%s: the process ended", o.name)
	}
	after := p.Log()[before:]
	if n := strings.Count(after, "is in trouble"); n > 2+int(time.Since(began)/time.Minute) {
		s.t.Errorf("%s: the log says %d times that something is in trouble", o.name, n)
	}
	if !strings.Contains(p.Log(), "is in trouble") || !strings.Contains(after, "is back") {
		s.t.Errorf("%s: the log does not say that it came or that it is over", o.name)
	}
}

// What the database can say that passes by itself, on a server that others use
// as well.
func TestTheDatabaseRefusesForAWhile(t *testing.T) {
	s := newScene(t)
	p := s.Start(grace)
	s.until("it is ready", func() bool { status, _ := p.Ready(); return status == http.StatusOK })
	s.exec(`CREATE TABLE fault (state text);
		CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
		DECLARE s text; BEGIN
			SELECT state INTO s FROM fault;
			IF FOUND THEN RAISE EXCEPTION 'made to fail' USING ERRCODE = s; END IF;
			RETURN NULL;
		END $$;
		CREATE TRIGGER fail AFTER INSERT ON dingir.internal_transfers FOR EACH ROW EXECUTE FUNCTION fail();
		CREATE FUNCTION fail_late() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN IF EXISTS (SELECT FROM fault WHERE state = '40001') THEN RAISE EXCEPTION 'made to fail at the commit' USING ERRCODE = '40001'; END IF; RETURN NULL; END $$;
		CREATE CONSTRAINT TRIGGER fail_late AFTER INSERT ON dingir.users DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail_late()`)
	var list []outage
	for _, state := range []string{"53100", "53200", "40P01", "55P03", "57014", "58030"} {
		list = append(list, outage{"SQLSTATE " + state,
			func() { s.exec("INSERT INTO fault VALUES ($1)", state) }, func() { s.exec("DELETE FROM fault") }, state})
	}
	var holder *pgx.Conn
	list = append(list,
		outage{"40001 at the commit", func() { s.exec("INSERT INTO fault VALUES ('40001')") }, func() { s.exec("DELETE FROM fault") }, "40001"},
		outage{"a session of others holds the ledger's rows", func() {
			holder = s.Connect()
			if _, err := holder.Exec(t.Context(), "BEGIN; SELECT FROM dingir.ledger FOR UPDATE"); err != nil {
				t.Fatal(err)
			}
		}, func() {
			// It is no former owner of ours, so it must not have been ended.
			if _, err := holder.Exec(t.Context(), "ROLLBACK"); err != nil {
				t.Errorf("the session was ended: %v", err)
			}
		}, "55P03"},
		outage{"the database is read-only", func() {
			s.alter("SET default_transaction_read_only = on")
			s.terminate()
		}, func() {
			// The sessions that there are stay read-only, as with a server that was
			// a standby when it was reached.
			s.alter("RESET default_transaction_read_only")
		}, "25006"},
		outage{"no connections allowed", func() {
			s.alter("WITH ALLOW_CONNECTIONS false")
			s.terminate()
		}, func() { s.alter("WITH ALLOW_CONNECTIONS true") }, "55000"},
	)
	made := 0
	for _, o := range list {
		s.endure(p, o, func() {
			s.Produce(transfers(made, 30)...)
			s.Produce(user(int32(made%3), 1000+made))
			made += 30
		}, func() { s.WaitDrained(patience) })
		s.account()
		s.noRejects()
	}
	if n := s.count("SELECT count(*) FROM dingir.internal_transfers"); n != made {
		t.Errorf("%d rows, want %d", n, made)
	}
}

// A server that has not locks enough for a batch that touches many chunks gets
// smaller ones.
func TestABatchOfTooManyLocks(t *testing.T) {
	s := newScene(t)
	s.exec(`CREATE FUNCTION crowded() RETURNS trigger LANGUAGE plpgsql AS $$
		DECLARE n int := coalesce(nullif(current_setting('test.rows', true), ''), '0')::int + 1; BEGIN
			IF n > 100 THEN RAISE EXCEPTION 'out of shared memory' USING ERRCODE = '53200'; END IF;
			PERFORM set_config('test.rows', n::text, true);
			RETURN NULL;
		END $$;
		CREATE TRIGGER crowded AFTER INSERT ON dingir.internal_transfers FOR EACH ROW EXECUTE FUNCTION crowded()`)
	s.Produce(transfers(0, 3000)...)
	p := s.Start()
	s.WaitDrained(patience)
	s.account()
	s.noRejects()
	if n, _ := p.Metric("persistor_commits_total", `result="retry"`); n == 0 {
		t.Error("no batch was too large")
	}
}

// alter changes the site's database from another one.
func (s *scene) alter(what string) {
	s.t.Helper()
	address, err := url.Parse(s.DatabaseURL)
	if err != nil {
		s.t.Fatal(err)
	}
	name := strings.TrimPrefix(address.Path, "/")
	address.Path = "/postgres"
	conn, err := pgx.Connect(s.t.Context(), address.String())
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(s.t.Context(), "ALTER DATABASE "+pgx.Identifier{name}.Sanitize()+" "+what); err != nil {
		s.t.Fatal(err)
	}
}

// terminate ends the daemon's sessions.
func (s *scene) terminate() {
	s.t.Helper()
	s.until("a session of the daemon is terminated", func() bool {
		return s.count("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'persistor'") > 0
	})
}

// Sessions that are terminated under load lose nothing, and nobody needs to know.
func TestSessionsAreTerminatedOverAndOver(t *testing.T) {
	s := newScene(t)
	x := s.Exchange(nil)
	p := s.Start("PERSISTOR_BATCH_RECORDS=200")
	s.until("it is ready", func() bool { status, _ := p.Ready(); return status == http.StatusOK })
	ended := 0
	for range 10 {
		s.ProduceExchange(x, 500)
		ended += s.count("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'persistor'")
	}
	if ended == 0 {
		t.Error("no session was terminated")
	}
	s.WaitDrained(patience)
	s.account()
	s.noRejects()
	p.Term()
	if exit := p.Wait(patience); exit != 0 {
		t.Errorf("exit %d", exit)
	}
}

// A role that may have no more sessions: 53300.
func TestTooManyConnections(t *testing.T) {
	s := newScene(t)
	role := "r" + strings.Trim(s.Prefix, ".")
	s.exec(fmt.Sprintf(`CREATE ROLE %[1]s LOGIN; GRANT USAGE ON SCHEMA dingir TO %[1]s; GRANT ALL ON ALL TABLES IN SCHEMA dingir TO %[1]s;
		GRANT USAGE ON ALL SEQUENCES IN SCHEMA dingir TO %[1]s`, role))
	t.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), s.DatabaseURL)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close(context.Background())
		if _, err := conn.Exec(context.Background(), fmt.Sprintf("DROP OWNED BY %[1]s; DROP ROLE %[1]s", role)); err != nil {
			t.Error(err)
		}
	})
	address, err := url.Parse(s.DatabaseURL)
	if err != nil {
		t.Fatal(err)
	}
	address.User = url.User(role)
	p := s.Start(grace, "PERSISTOR_DATABASE_URL="+address.String())
	// Ready comes before its first session: there must be one to terminate.
	s.Produce(transfers(0, 30)...)
	s.WaitDrained(patience)
	s.endure(p, outage{"too many connections", func() {
		s.exec("ALTER ROLE " + role + " CONNECTION LIMIT 0")
		s.terminate()
	}, func() { s.exec("ALTER ROLE " + role + " CONNECTION LIMIT -1") }, "53300"},
		func() { s.Produce(transfers(30, 30)...) }, func() { s.WaitDrained(patience) })
	s.account()
	s.noRejects()
}

func TestTheDatabaseGoesAway(t *testing.T) {
	t.Parallel()
	server := testenv.OwnPostgres(t)
	s := sceneOf(t, harness.On(t, server.Database()))
	x := s.Exchange(nil)
	p := s.Start(grace)
	s.until("it is ready", func() bool { status, _ := p.Ready(); return status == http.StatusOK })
	for _, o := range []outage{{"stopped", server.Stop, server.Start, ""}, {"killed", server.Kill, server.Start, ""}} {
		s.ProduceExchange(x, 1000)
		s.endure(p, o, func() { s.ProduceExchange(x, 1000) }, func() { s.WaitDrained(patience) })
		s.conn = s.Connect()
		s.account()
		s.noRejects()
	}
	// Also without anything to store. It shows when the ledger is next compared, and
	// is told if it then lasts.
	s.endure(p, outage{"stopped while idle", func() {
		server.Stop()
		time.Sleep(3 * time.Second)
	}, server.Start, ""}, func() {}, func() {})
	s.ProduceExchange(x, 200)
	s.WaitDrained(patience)
	s.account()
	p.Term()
	if exit := p.Wait(patience); exit != 0 {
		t.Errorf("exit %d", exit)
	}
}

// A disk that is really full: nothing is lost or rejected, and room is all that
// is needed.
func TestTheDiskIsFull(t *testing.T) {
	t.Parallel()
	database, disk := testenv.OwnPostgres(t).DatabaseOnDisk(128)
	s := sceneOf(t, harness.On(t, database))
	x := s.Exchange(func(c *exchange.Config) { c.Duplicates = 0.05 })
	p := s.Start(grace)
	s.until("it is ready", func() bool { status, _ := p.Ready(); return status == http.StatusOK })
	for range 2 {
		s.ProduceExchange(x, 1000)
		s.WaitDrained(patience)
		s.endure(p, outage{"the disk is full", disk.Fill, disk.Free, "53100"},
			func() {
				s.ProduceExchange(x, 5000)
				s.Produce(harness.Record{Topic: "trades", Value: []byte("bad")})
			}, func() { s.WaitDrained(patience) })
		s.account()
	}
	if n := s.count("SELECT count(*) FROM dingir.rejects"); n != 2 {
		t.Errorf("%d records rejected, want the 2 that are bad", n)
	}
	p.Term()
	if exit := p.Wait(patience); exit != 0 {
		t.Errorf("exit %d", exit)
	}
}

func TestKafkaGoesAway(t *testing.T) {
	t.Parallel()
	server := testenv.OwnKafka(t)
	s := sceneOf(t, harness.OnBroker(t, server))
	p := s.Start(grace)
	s.until("it is ready", func() bool { status, _ := p.Ready(); return status == http.StatusOK })
	made := 0
	produce := func() {
		s.produceAnew(transfers(made, 60)...)
		made += 60
	}
	stored := func() {
		s.until("all is stored", func() bool { return s.count("SELECT count(*) FROM dingir.internal_transfers") == made })
	}
	for _, o := range []outage{{"stopped", server.Stop, server.Start, ""}, {"killed", server.Kill, server.Start, ""}} {
		produce()
		stored()
		s.endure(p, o, func() {}, func() { produce(); stored() })
	}
	s.noRejects()
	if exit, output := s.Command("verify"); exit != 0 {
		t.Errorf("verify: exit %d: %s", exit, output)
	}
	p.Term()
	if exit := p.Wait(patience); exit != 0 {
		t.Errorf("exit %d", exit)
	}
}
