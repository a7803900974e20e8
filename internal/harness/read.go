package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"math/big"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/thaliumx/persistor/internal/topics"
)

// Read is a record as another client library reads it. Its bytes are kept only
// where the accounts need them: a million values would not fit.
type Read struct {
	Offset int64
	Time   int64 // ms
	Hash   int64 // xxHash64 of the value
	Key    []byte
	Value  []byte // of rejects only

	keyHash int64
	live    string // the table of its row, on unifyevents; "": it has none
	clock   int64  // the value's own time in µs; 0: it has none that a row would take
}

// liveTable is where a record of unifyevents becomes a row, if anywhere (contract,
// section 4).
func liveTable(key, value []byte) string {
	switch string(key) {
	case topics.Deposits, topics.Withdraws:
		return tableOf[string(key)]
	case topics.Balances:
		// The key of both before 2021-08-16 (wire format, section 1.10).
		var m struct {
			Change string `json:"change"`
		}
		if json.Unmarshal(value, &m) == nil && strings.HasPrefix(m.Change, "-") {
			return tableOf[topics.Withdraws]
		}
		return tableOf[topics.Deposits]
	}
	return ""
}

// rowTime is the time that the record's row must have, in µs: orders and users
// have the record's, all others their own.
func (r *Read) rowTime(topic string) int64 {
	if topic == topics.Orders || topic == topics.RegisterUser {
		return r.Time * 1000
	}
	return r.clock
}

// valueTime reads an engine's message's own time; a half may round either way.
func valueTime(value []byte) int64 {
	var m struct {
		Timestamp json.RawMessage `json:"timestamp"`
		Time      json.RawMessage `json:"time"`
	}
	if json.Unmarshal(value, &m) != nil {
		return 0
	}
	text := string(m.Timestamp)
	if text == "" {
		text = string(m.Time)
	}
	if iso, err := time.Parse(time.RFC3339Nano, strings.Trim(text, `"`)); err == nil {
		return iso.UnixMicro()
	}
	seconds, ok := new(big.Rat).SetString(text)
	if !ok {
		return 0
	}
	us := seconds.Mul(seconds, big.NewRat(1_000_000, 1))
	return new(big.Int).Quo(us.Num(), us.Denom()).Int64()
}

// readTopics reads the records of every partition that the ledger knows, from
// its start up to the end that it had when the reading began.
func (s *Site) readTopics(a *accounts) map[Place][]Read {
	s.t.Helper()
	start, end := s.Offsets()
	all := map[Place][]Read{}
	want := map[string]map[int32]kgo.Offset{}
	left := map[Place]int64{} // where to stop
	for place, offset := range end {
		if _, known := a.ledger[place]; !known || offset == start[place] {
			continue
		}
		if want[place.Topic] == nil {
			want[place.Topic] = map[int32]kgo.Offset{}
		}
		want[place.Topic][place.Partition] = kgo.NewOffset().At(start[place])
		left[place] = offset
	}
	if len(left) == 0 {
		return all
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(s.Brokers, ",")...),
		kgo.ConsumePartitions(want),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // they tell that a partition's end is reached
		kgo.FetchMaxWait(100*time.Millisecond),
	)
	if err != nil {
		s.t.Fatal(err)
	}
	defer client.Close()
	// A million records take some ten seconds.
	ctx, cancel := context.WithTimeout(s.t.Context(), 3*time.Minute)
	defer cancel()
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			s.t.Fatalf("read the topics, %d partitions left: %v", len(left), err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			place := Place{r.Topic, r.Partition}
			if !r.Attrs.IsControl() && r.Offset < end[place] {
				all[place] = append(all[place], a.read(place, r))
			}
			if r.Offset+1 >= end[place] {
				delete(left, place)
			}
		})
	}
	return all
}

func (a *accounts) read(place Place, r *kgo.Record) Read {
	read := Read{
		Offset: r.Offset, Time: r.Timestamp.UnixMilli(),
		Key:     bytes.Clone(r.Key), // a piece of the batch, which must not be kept
		Hash:    int64(xxhash.Sum64(r.Value)),
		keyHash: keyHash(r.Key, r.Value),
	}
	if place.Topic == a.unify {
		read.live = liveTable(r.Key, r.Value)
		a.state.apply(r.Offset, read.Time, r.Key, r.Value)
	}
	list := a.stored[source{a.ledger[place].topicID, place.Partition, r.Offset}]
	for _, e := range list {
		if e.as == "reject" {
			read.Value = r.Value
		} else if read.clock == 0 {
			read.clock = valueTime(r.Value)
		}
	}
	return read
}
