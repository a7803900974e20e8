package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/fetch"
	"github.com/thaliumx/persistor/internal/httpserver"
	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/topics"
)

// ledgerEvery is how often the ledger is compared with where we think it stands.
const ledgerEvery = 2 * time.Second

// noticeMoves has partitions looked up anew whose ledger somebody has moved.
// Where records come the fence would tell; on a quiet topic nothing would.
func (w *worker) noticeMoves(ctx context.Context) error {
	if time.Since(w.compared) < ledgerEvery {
		return nil
	}
	w.compared = time.Now()
	ledger, err := store.Positions(ctx, w.conn)
	if err != nil {
		return err
	}
	at := map[store.Log]store.Position{}
	for _, pos := range ledger {
		at[pos.Log] = pos
	}
	for _, p := range w.partitions {
		if pos, known := at[p.log]; p.admitted && (!known || pos.Next != p.committed || pos.Moves != p.moves) {
			w.log.Info("the ledger was moved; going on from there", "topic", p.name, "partition", p.id, "offset", p.committed, "ledger", pos.Next)
			p.waits("being looked up in the ledger")
		}
	}
	return nil
}

// admit compares a partition's ledger with its log and takes it into work. A
// *Halt says that going on would lose or double records; any other error that it
// could not be found out.
func (w *worker) admit(ctx context.Context, conn *pgx.Conn, cluster *fetch.Cluster, p *partition) error {
	topic := cluster.Topic(p.name)
	if topic == nil || topic.Err != nil {
		return fmt.Errorf("topic %s is not there", p.name)
	}
	if p.topic == topics.UnifyEvents {
		if h := ordered(topic); h != nil {
			return h
		}
	}
	want := fetch.Want{Topic: p.name, TopicID: topic.ID, Partition: p.id}
	pos, found, err := store.LockPosition(ctx, conn, p.name, p.id)
	if err != nil {
		return err
	}
	if found {
		p.show(func(v *httpserver.Partition) { v.NextOffset = pos.Next })
	}
	// The ledger first: a commit in flight can then not be beyond these ends.
	marks, err := w.kafka.Watermarks(ctx, cluster, []fetch.Want{want})
	if err != nil {
		return err
	}
	m := marks[0]
	p.sawLog(m.LogStart, m.HighWatermark)
	if !found {
		if err = store.Begin(ctx, conn, p.name, p.id, cluster.ID, topic.ID, m.LogStart); err == nil {
			pos, _, err = store.LockPosition(ctx, conn, p.name, p.id)
		}
		if err != nil {
			return err
		}
	}
	if pos.Next > max(p.committed, pos.First) {
		if err := w.conflicts.raise(ctx, conn, p.topic); err != nil {
			return err
		}
	}
	if pos.Next != p.committed {
		p.stuck = false // an operator moved it
	}
	p.committed = pos.Next
	p.show(func(v *httpserver.Partition) { v.NextOffset = pos.Next })
	leader, err := cluster.Leader(p.name, p.id)
	if err != nil {
		return err
	}
	if err := fits(ctx, w.kafka, cluster, pos, want, m); err != nil {
		return err
	}
	if err := w.follow(ctx, conn, p, pos); err != nil {
		return err
	}
	p.admit(pos, leader)
	return nil
}

// ordered tells whether the topic's records have a total order.
func ordered(t *fetch.Topic) *Halt {
	if len(t.Partitions) == 1 {
		return nil
	}
	return &Halt{
		Reason: fmt.Sprintf("%s has %d partitions, so its records have no total order", t.Name, len(t.Partitions)),
		Remedy: "make the topic anew with one partition and restart the engine; then `persistor positions set " + t.Name + " 0 earliest --accept-new-topic`",
	}
}

// fits returns a *Halt where the log is not the one that the position belongs to.
func fits(ctx context.Context, client *fetch.Client, cluster *fetch.Cluster, pos store.Position, want fetch.Want, m fetch.Watermarks) error {
	if h := compare(pos, cluster.ID, want.TopicID, m); h != nil {
		return h
	}
	want.Offset = pos.LastOffset
	if pos.LastOffset >= m.LogStart && pos.LastOffset < m.HighWatermark {
		last, err := client.At(ctx, cluster, want)
		if _, damaged := damage(err); damaged {
			return &Halt{
				Reason: "the last record that was stored cannot be compared with the log: " + err.Error(),
				Remedy: mend + "; if none has it whole, go on without comparing: " + remedy(pos.Log, pos.Next, " --accept-loss"),
			}
		}
		if err != nil {
			return err
		}
		if last == nil {
			return &Halt{
				Reason: fmt.Sprintf("the record at offset %d, the last that was stored, is not in the log any more, which goes on behind it: it was compacted, or rewritten", pos.LastOffset),
				Remedy: "the topic must not be compacted; to go on from where the ledger stands: " + remedy(pos.Log, pos.Next, " --accept-loss") +
					"; where the log was rewritten, read again all that Kafka has: earliest in place of the offset",
			}
		}
		if Hash(last.Value) != pos.LastHash {
			return &Halt{
				Reason: fmt.Sprintf("the record at offset %d is not the one that was stored: the log was rewritten, as by an unclean leader election", pos.LastOffset),
				Remedy: "read again all that Kafka has: `persistor positions set " + set(pos.Log, "earliest") +
					" --accept-loss`; or, in place of earliest, from the first offset that differs, if you know it",
			}
		}
	}
	return nil
}

// compare tells whether the log can be the one that the position belongs to.
func compare(pos store.Position, clusterID string, topicID [16]byte, m fetch.Watermarks) *Halt {
	switch {
	case pos.ClusterID != clusterID:
		return &Halt{
			Reason: fmt.Sprintf("this is Kafka cluster %s, the ledger belongs to %s", clusterID, pos.ClusterID),
			Remedy: "point PERSISTOR_KAFKA_BROKERS to that cluster, or begin with this one: `persistor positions set " + set(pos.Log, "earliest") + " --accept-new-topic`",
		}
	case pos.TopicUUID != topicID:
		return &Halt{
			Reason: "the topic was deleted and made again: its offsets are other records' now",
			Remedy: "begin with the new one: `persistor positions set " + set(pos.Log, "earliest") + " --accept-new-topic`",
		}
	case m.LogStart > pos.Next:
		return &Halt{
			Reason: fmt.Sprintf("the log starts at offset %d, beyond the ledger's %d: retention removed %d offsets that were never stored",
				m.LogStart, pos.Next, m.LogStart-pos.Next),
			Remedy: "restore the topic if you can, else note the loss and go on: `persistor positions set " + set(pos.Log, "earliest") + "`",
		}
	case m.HighWatermark < pos.Next:
		return &Halt{
			Reason: fmt.Sprintf("the log ends at offset %d, before the ledger's %d: it lost records that are stored", m.HighWatermark, pos.Next),
			Remedy: "find out why (an unclean leader election, a restored broker); to go on with what it holds now: `persistor positions set " +
				set(pos.Log, "latest") + " --accept-loss`",
		}
	}
	return nil
}

func remedy(log store.Log, offset int64, options string) string {
	return "`persistor positions set " + set(log, fmt.Sprint(offset)) + options + "`"
}

// mend is the better remedy for damage on a broker's disk.
const mend = "let another replica lead the partition, or mend the broker's disk; it is read again every few seconds"

// skip passes over a damaged batch; next is behind it, negative where that is
// not known.
func skip(log store.Log, next int64) string {
	if next < 0 {
		return "`persistor positions set " + set(log, "OFFSET") + "` with the first offset behind the damage"
	}
	return remedy(log, next, "")
}

// damage tells whether a batch can never be read as it is now, and what offset
// follows it; negative where that is not known.
func damage(err error) (next int64, damaged bool) {
	var corrupt *fetch.CorruptError
	var large *fetch.BatchTooLargeError
	switch {
	case errors.As(err, &corrupt):
		return corrupt.Next, true
	case errors.As(err, &large):
		return large.Next, true
	}
	return -1, false
}

func set(log store.Log, offset string) string {
	return fmt.Sprintf("%s %d %s", log.Topic, log.Partition, offset)
}
