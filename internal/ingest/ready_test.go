package ingest_test

import (
	"net/http"
	"testing"
)

// A process that the group gave nothing to do, as long as no topic exists, has
// no worker that could tell that the database is well.
func TestAProcessWithoutPartitionsIsReady(t *testing.T) {
	s := newScene(t)
	p := s.Start(grace, "PERSISTOR_TOPIC_PREFIX="+s.Prefix+"none.")
	s.until("both servers are known to be well", func() bool { now := p.Status(); return now.Database.Up && now.Kafka.Up })
	if status, body := p.Ready(); status != http.StatusOK {
		t.Errorf("/readyz is %d: %s", status, body)
	}
}

// What is in flight after SIGTERM is the batch in hand, not the backlog.
func TestSIGTERMDoesNotWaitForABacklog(t *testing.T) {
	s := newScene(t)
	const backlog = 40_000
	s.Produce(transfers(0, backlog)...)
	p := s.Start("PERSISTOR_WORKERS=1", "PERSISTOR_BATCH_RECORDS=200", "PERSISTOR_BATCH_BYTES=65536",
		"PERSISTOR_KAFKA_SESSION_TIMEOUT=25s", "PERSISTOR_DRAIN_TIMEOUT=20s")
	rows := func() int { return s.count("SELECT count(*) FROM dingir.internal_transfers") }
	s.until("it stores", func() bool { return rows() > 0 })
	p.Term()
	before := rows()
	if exit := p.Wait(patience); exit != 0 {
		t.Fatalf("exit %d", exit)
	}
	if after := rows(); after-before > backlog/10 {
		t.Errorf("%d rows at SIGTERM, %d at the end: it stored more than was in flight", before, after)
	}
	s.account()
}
