package ingest

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/thaliumx/persistor/internal/config"
	"github.com/thaliumx/persistor/internal/fetch"
	"github.com/thaliumx/persistor/internal/store"
)

// A batch that takes long to fill is stored with what it has, and a signal is heard
// while it is filled.
func TestFillingABatchEndsInTime(t *testing.T) {
	fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "internaltransfer"))
	if err != nil {
		t.Fatal(err)
	}
	defer fake.Close()
	producer, err := kgo.NewClient(kgo.SeedBrokers(fake.ListenAddrs()...), kgo.DefaultProduceTopic("internaltransfer"))
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	for n := range 100 {
		value := fmt.Appendf(nil, `{"time":%d.5,"user_from":1,"user_to":2,"asset":"BTC","amount":"1"}`, 1_700_000_000+n)
		if err := producer.ProduceSync(t.Context(), &kgo.Record{Value: value}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	client := fetch.NewClient(transport, kafka.TCP(fake.ListenAddrs()...))
	cluster, err := client.Metadata(t.Context(), []string{"internaltransfer"})
	if err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	for _, test := range []struct {
		name  string
		take  context.Context
		began time.Time
		some  bool
	}{
		{"in time", t.Context(), time.Now(), false},
		{"late", t.Context(), time.Now().Add(-2 * batchTime), true},
		{"after a signal", ended, time.Now(), true},
	} {
		p := newPartition("internaltransfer", "", 0)
		p.admit(store.Position{TopicUUID: cluster.Topics[0].ID}, 0)
		d := &Daemon{log: slog.New(slog.DiscardHandler), Options: Options{Ingest: config.Ingest{BatchRecords: 1000}}}
		w := newWorker(d, 0, []*partition{p})
		f := &fetcher{asked: []*partition{p}}
		if err := client.Fetch(t.Context(), &fetch.Request{Broker: 0, Partitions: []fetch.Want{p.want()}, MinBytes: 1, MaxBytes: 1 << 20, MaxWait: time.Second}, &f.answer); err != nil {
			t.Fatal(err)
		}
		more, records := w.fill(test.take, test.began, f), w.batch.Records()
		if more != test.some || test.some != (records < 100) || records == 0 || len(w.batch.Progress()) != 1 || p.next != int64(records) {
			t.Errorf("%s: %d records, more: %v, next is %d", test.name, records, more, p.next)
		}
	}
}
