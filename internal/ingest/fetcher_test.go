package ingest

import (
	"errors"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/thaliumx/persistor/internal/fetch"
	"github.com/thaliumx/persistor/internal/store"
)

// However often a partition's leader moves while brokers do not answer, no fetch
// outlives the worker: goleak would find it.
func TestLeadersThatMoveAndDoNotAnswer(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	transport := &kafka.Transport{DialTimeout: time.Minute}
	defer transport.CloseIdleConnections()
	p := newPartition("trades", "p.", 0)
	p.admitted = true
	w := newWorker(&Daemon{kafka: fetch.NewClient(transport, silent.Addr()), log: slog.New(slog.DiscardHandler)}, 0, []*partition{p})
	for leader := range int32(100) {
		p.leader = leader
		w.cluster = &fetch.Cluster{Topics: []fetch.Topic{{Name: p.name, Partitions: []fetch.Partition{{Leader: leader}}}}}
		if err := w.arm(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(w.fetchers) != cap(w.answers) {
		t.Errorf("%d fetches for one partition, want %d", len(w.fetchers), cap(w.answers))
	}
	// Where they have ended, the leader of now is asked again.
	for _, f := range w.fetchers {
		f.cancel()
	}
	for range w.fetchers {
		f, err := w.await(t.Context())
		if err != nil || f == nil || f.err == nil {
			t.Fatal("a fetch that was ended brings no error", f, err)
		}
	}
	if err := w.arm(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(w.fetchers) != 1 || !w.fetchers[99].busy {
		t.Errorf("fetches of %d brokers, want the leader's", len(w.fetchers))
	}
	w.close()
}

// What a new leader has, or one that was away, is compared with the ledger before
// it is read; and what another broker than that answers is not taken.
func TestAnotherLeaderIsComparedFirst(t *testing.T) {
	p := newPartition("trades", "p.", 0)
	log := slog.New(slog.DiscardHandler)
	w := newWorker(&Daemon{log: log, kafkaLink: newLink("Kafka", "", "", log)}, 0, []*partition{p})
	led := func(leader int32) {
		t.Helper()
		w.cluster = &fetch.Cluster{Topics: []fetch.Topic{{Name: p.name, Partitions: []fetch.Partition{{Leader: leader}}}}}
		if err := w.arm(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	p.admit(store.Position{}, 1)
	led(2)
	if p.admitted || len(w.fetchers) != 0 || len(w.wake) != 1 {
		t.Errorf("a new leader is read at once: %+v", p.snapshot())
	}
	p.admit(store.Position{}, 2)
	for _, answer := range []struct {
		broker int32
		seen   int64
	}{{1, -1}, {2, 5}} {
		f := &fetcher{broker: answer.broker, asked: []*partition{p}, answer: fetch.Response{Partitions: []fetch.Part{{HighWatermark: 5}}}}
		if w.fill(t.Context(), time.Now(), f); p.snapshot().HighWatermark != answer.seen {
			t.Errorf("behind broker %d's answer the high watermark is %d, want %d", answer.broker, p.snapshot().HighWatermark, answer.seen)
		}
	}
	failed := &fetcher{broker: 2, asked: []*partition{p}, err: errors.New("EOF")}
	w.fetchFailed(t.Context(), failed)
	if p.admitted {
		t.Error("a leader that was away is read at once")
	}
}

// A partition without a leader waits; the others of its worker are fetched.
func TestAPartitionWithoutALeaderWaitsAlone(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	transport := &kafka.Transport{DialTimeout: time.Minute}
	defer transport.CloseIdleConnections()
	var list []*partition
	for id := range int32(2) {
		p := newPartition("orders", "p.", id)
		p.admitted, p.leader = true, 1
		list = append(list, p)
	}
	w := newWorker(&Daemon{kafka: fetch.NewClient(transport, silent.Addr()), log: slog.New(slog.DiscardHandler)}, 0, list)
	w.cluster = &fetch.Cluster{Topics: []fetch.Topic{{Name: "p.orders", Partitions: []fetch.Partition{{ID: 0, Leader: 1}, {ID: 1, Leader: -1}}}}}
	if err := w.arm(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !list[0].admitted || len(w.fetchers) != 1 || !w.fetchers[1].busy || len(w.fetchers[1].asked) != 1 {
		t.Errorf("fetchers %+v: the partition with a leader is not fetched", w.fetchers)
	}
	if v := list[1].snapshot(); list[1].admitted || !list[1].retryAt.After(time.Now()) || v.Reason == "" || w.cluster != nil {
		t.Errorf("the partition without a leader is %+v, and the metadata %v: want it waiting, and looked up anew", v, w.cluster)
	}
	for _, f := range w.fetchers {
		f.cancel()
		<-w.answers
	}
	w.close()
}
