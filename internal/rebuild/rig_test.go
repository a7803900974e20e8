package rebuild

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/thaliumx/persistor/internal/eventlog"
	"github.com/thaliumx/persistor/internal/fetch"
	"github.com/thaliumx/persistor/internal/state"
	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is one recorded log in a file, on a topic, and in the archive up to some
// offset, with snapshots.
type rig struct {
	t        *testing.T
	file     *eventlog.File
	topic    string
	client   *kgo.Client
	kafka    *eventlog.Kafka
	conn     *pgx.Conn
	position store.Position
	records  []eventlog.Record
}

// start is the first record's timestamp; those that follow are step apart.
var start = time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)

const step = 7 * time.Millisecond

func timeOf(offset int64) time.Time { return start.Add(time.Duration(offset) * step) }

// newRig produces the corpus to a topic, and begins the ledger at its start.
func newRig(t *testing.T, corpus string) *rig {
	t.Helper()
	t.Parallel()
	r := &rig{t: t, file: eventlog.NewFile(corpusFile(t, corpus))}
	if err := r.file.Read(t.Context(), 0, eventlog.End, collector{&r.records}); err != nil {
		t.Fatal(err)
	}
	r.topic = testenv.TopicPrefix(t) + "unifyevents"
	brokers := testenv.Kafka(t)
	testenv.CreateTopic(t, brokers, r.topic, 1, kafka.ConfigEntry{ConfigName: "retention.ms", ConfigValue: "-1"})
	transport := &kafka.Transport{MetadataTopics: []string{r.topic}}
	t.Cleanup(transport.CloseIdleConnections)
	r.kafka = eventlog.NewKafka(fetch.NewClient(transport, kafka.TCP(strings.Split(brokers, ",")...)), r.topic)
	var err error
	r.client, err = kgo.NewClient(kgo.SeedBrokers(strings.Split(brokers, ",")...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.client.Close)
	var out []*kgo.Record
	for i := range r.records {
		rec := &r.records[i]
		rec.Time, rec.Headers = timeOf(rec.Offset).UnixMilli(), []byte{0}
		out = append(out, &kgo.Record{Topic: r.topic, Key: rec.Key, Value: rec.Value, Timestamp: timeOf(rec.Offset)})
	}
	if err := r.client.ProduceSync(t.Context(), out...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	r.begin()
	return r
}

func (r *rig) begin() {
	r.t.Helper()
	o := store.Options{URL: testenv.Database(r.t), SynchronousCommit: true}
	if _, err := store.Migrate(r.t.Context(), o); err != nil {
		r.t.Fatal(err)
	}
	conn, err := store.Connect(r.t.Context(), o)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	r.conn = conn
	i, err := r.kafka.Look(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	if err := store.Begin(r.t.Context(), conn, r.topic, 0, i.ClusterID, i.TopicID, 0); err != nil {
		r.t.Fatal(err)
	}
	r.look()
}

func (r *rig) look() {
	r.t.Helper()
	var err error
	if r.position, err = eventlog.Current(r.t.Context(), r.conn, r.topic); err != nil {
		r.t.Fatal(err)
	}
}

// archive archives up to an offset, in batches of so many records, and leaves a
// snapshot behind each so many.
func (r *rig) archive(until int64, batch, snapshot int) {
	r.t.Helper()
	s := state.New(0)
	next := int64(0)
	for next < until {
		b := store.NewBatch()
		p := b.Partition(r.position.Log, next, 0)
		for range batch {
			if next == until {
				break
			}
			rec := &r.records[next]
			if err := b.Archive(p, rec.Offset, rec.Time, rec.Key, rec.Value, rec.Headers); err != nil {
				r.t.Fatal(err)
			}
			b.Record(p, next, 1)
			next++
		}
		if err := store.Write(r.t.Context(), r.conn, b); err != nil {
			r.t.Fatal(err)
		}
	}
	r.look()
	archive := eventlog.NewArchive(r.conn, r.position.TopicID)
	snapshots := []store.Snapshot{}
	err := eventlog.ReadEvents(r.t.Context(), archive, 0, until, func(e *eventlog.Event) error {
		e.Apply(s)
		if s.Next()%int64(snapshot) != 0 {
			return nil
		}
		snap, err := store.NewSnapshot(r.position.TopicID, s.Next(), time.UnixMilli(e.Time), s.WriteSnapshot)
		snapshots = append(snapshots, snap)
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, snap := range snapshots {
		if err := store.PutSnapshot(r.t.Context(), r.conn, r.topic, r.position.Moves, snap); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *rig) exec(sql string, args ...any) {
	r.t.Helper()
	if _, err := r.conn.Exec(r.t.Context(), sql, args...); err != nil {
		r.t.Fatal(err)
	}
}

// deleteBelow is the topic's retention.
func (r *rig) deleteBelow(offset int64) {
	r.t.Helper()
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = 30_000
	topic := kmsg.NewDeleteRecordsRequestTopic()
	topic.Topic = r.topic
	partition := kmsg.NewDeleteRecordsRequestTopicPartition()
	partition.Offset = offset
	topic.Partitions = append(topic.Partitions, partition)
	req.Topics = append(req.Topics, topic)
	answer, err := req.RequestWith(r.t.Context(), r.client)
	if err == nil {
		err = kerr.ErrorForCode(answer.Topics[0].Partitions[0].ErrorCode)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// The ways to a state.
func (r *rig) ways() map[string]Log {
	snapshots := &Snapshots{Session: r.conn, TopicID: r.position.TopicID}
	archive := eventlog.NewArchive(r.conn, r.position.TopicID)
	joined := eventlog.NewJoined(r.conn, r.position, r.kafka, 50)
	return map[string]Log{
		"file":                       {Log: r.file},
		"kafka":                      {Log: r.kafka},
		"archive":                    {Log: archive},
		"archive and snapshot":       {Log: archive, Snapshots: snapshots},
		"archive, topic":             {Log: joined},
		"archive, topic, snapshot":   {Log: joined, Snapshots: snapshots},
		"archive, snapshot, a begin": {Log: archive, Snapshots: snapshots, Begin: r.position.First},
	}
}

func (r *rig) must(way string, log Log, want Target) Result {
	r.t.Helper()
	got, err := State(r.t.Context(), log, want)
	if err != nil {
		r.t.Fatalf("%s, %+v: %v", way, want, err)
	}
	return got
}

func asJSON(t *testing.T, s *state.State) string {
	t.Helper()
	var b bytes.Buffer
	if err := s.WriteJSON(&b, state.Filter{}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// collector keeps all records.
type collector struct{ list *[]eventlog.Record }

func (c collector) Record(r *eventlog.Record) error {
	*c.list = append(*c.list, eventlog.Record{Offset: r.Offset, Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value)})
	return nil
}

func (c collector) Gap(int64, int64, string) error { return nil }

// corpusFile is a recorded run.
func corpusFile(t *testing.T, name string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join("..", "state", "testdata", name+".*"))
	if err != nil || len(found) != 1 {
		t.Fatalf("corpus %s is in %v, %v", name, found, err)
	}
	return found[0]
}
