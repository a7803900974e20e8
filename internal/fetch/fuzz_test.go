package fetch

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// FuzzAnswer feeds whole answers: nothing may panic or run for ever, and every
// error must have a type that a caller can act on.
func FuzzAnswer(f *testing.F) {
	want := Want{Topic: "trades", TopicID: testID, Offset: 3}
	log := encodeAll(testBatch{base: 2, codec: codecSnappy, records: records(3)}, marker(5, 1, false))
	f.Add(fetchAnswer(0, answerPart{want: want, aborted: []abortedTxn{{1, 2}}, records: log}))
	f.Add(fetchAnswer(0, answerPart{want: want, code: 1}))
	f.Add(fetchAnswer(7))
	f.Fuzz(func(t *testing.T, body []byte) {
		client := NewClient(&fakeBroker{body: body}, kafka.TCP("fake:1"))
		client.MaxBatchBytes = 1 << 20
		var resp Response
		if err := client.Fetch(context.Background(), &Request{Partitions: []Want{want}, MaxBytes: 1}, &resp); err != nil {
			return
		}
		_, _ = checkDrain(t, &resp.Partitions[0]) // any error will do, but no panic
	})
}

// FuzzBatches feeds batches whose lengths and checksums are right, so that what
// lies beneath them is reached, and compares what is read with franz-go.
func FuzzBatches(f *testing.F) {
	for _, c := range codecs {
		f.Add(testBatch{base: 2, codec: c.codec, bareBlock: c.bare, records: records(3)}.encode(), []byte{}, int64(3))
	}
	f.Add(testBatch{flags: attrTransactional, producer: 4, records: records(2)}.encode(), marker(2, 4, false).encode(), int64(0))
	f.Add(testBatch{flags: attrLogAppendTime, records: []testRecord{{key: nil, value: []byte{}, headers: [][2][]byte{{{'a'}, nil}}}}}.encode(), []byte{}, int64(0))
	f.Fuzz(func(t *testing.T, a, b []byte, offset int64) {
		var log []byte
		for _, batch := range [][]byte{a, b} {
			if len(batch) >= batchHeader {
				batch = bytes.Clone(batch)
				be.PutUint32(batch[8:], uint32(len(batch)-batchPrefix))
				batch[crcAt-1] = 2
				log = append(log, seal(batch)...)
			}
		}
		if offset < 0 || offset > 1<<60 {
			return
		}
		aborted := []abortedTxn{{4, 0}}
		p := partOf(t, offset, aborted, log)
		p.response.inflater.limit = 1 << 20
		got, err := checkDrain(t, p)
		if err == nil {
			sameAsFranz(t, offset, aborted, log, got)
		}
	})
}

// FuzzAdmin feeds the two small answers' parsers.
func FuzzAdmin(f *testing.F) {
	metadata, offsets := kmsg.NewPtrMetadataResponse(), kmsg.NewPtrListOffsetsResponse()
	metadata.Version, offsets.Version = metadataVersion, listOffsetsVersion
	metadata.Topics = []kmsg.MetadataResponseTopic{{Topic: kmsg.StringPtr("trades"), Partitions: []kmsg.MetadataResponseTopicPartition{{Leader: 1}}}}
	offsets.Topics = []kmsg.ListOffsetsResponseTopic{{Topic: "trades", Partitions: []kmsg.ListOffsetsResponseTopicPartition{{Offset: 5}}}}
	f.Add(metadata.AppendTo(nil))
	f.Add(offsets.AppendTo(nil))
	wants := []Want{{Topic: "trades", TopicID: testID}}
	leaders := &Cluster{Topics: []Topic{{Name: "trades", Partitions: []Partition{{Leader: 1}}}}}
	f.Fuzz(func(t *testing.T, body []byte) {
		client := NewClient(&fakeBroker{body: body}, kafka.TCP("fake:1"))
		if cluster, err := client.Metadata(context.Background(), []string{"trades"}); err == nil {
			_, _ = cluster.Leader("trades", 0)
		} else if !errors.Is(err, ErrMalformed) {
			t.Errorf("metadata: %v", err)
		}
		marks, err := client.Watermarks(context.Background(), leaders, wants)
		if (marks[0].Err == nil) != (err == nil) {
			t.Errorf("watermarks: %+v, %v", marks, err)
		}
	})
}

func checkDrain(t *testing.T, p *Part) ([]Record, error) {
	t.Helper()
	next := p.Want.Offset
	var got []Record
	for {
		kind, err := p.Next()
		var corrupt *CorruptError
		var jump *JumpError
		var large *BatchTooLargeError
		var refusal *BrokerError
		if err != nil && !errors.As(err, &corrupt) && !errors.As(err, &jump) && !errors.As(err, &large) && !errors.As(err, &refusal) {
			t.Fatalf("an error of no type: %v", err)
		}
		if kind == Done {
			if p.Position() != next {
				t.Fatalf("stands at %d, the items reach %d", p.Position(), next)
			}
			return got, err
		}
		first, last := p.Record.Offset, p.Record.Offset
		if kind == Gap {
			first, last = p.Gap.First, p.Gap.Last
		} else {
			got = append(got, p.Record)
			for range p.Record.Headers.All() {
			}
		}
		if first != next || last < first {
			t.Fatalf("an item from %d to %d where %d comes next", first, last, next)
		}
		next = last + 1
	}
}

// sameAsFranz reads the log with franz-go and compares offsets, times, null and
// empty, and sizes (the bytes themselves may be in memory used again).
func sameAsFranz(t *testing.T, offset int64, aborted []abortedTxn, log []byte, got []Record) {
	t.Helper()
	rp := kmsg.NewFetchResponseTopicPartition()
	rp.RecordBatches = log
	for _, a := range aborted {
		rp.AbortedTransactions = append(rp.AbortedTransactions, kmsg.FetchResponseTopicPartitionAbortedTransaction{ProducerID: a.producer, FirstOffset: a.first})
	}
	want, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		Offset: offset, IsolationLevel: kgo.ReadCommitted(), Topic: "trades",
	}, &rp, kgo.DefaultDecompressor(), nil)
	if want.Err != nil {
		t.Logf("franz-go is stricter: %v", want.Err)
		return
	}
	if len(want.Records) != len(got) {
		t.Fatalf("%d records, franz-go reads %d up to %d", len(got), len(want.Records), next)
	}
	for i, w := range want.Records {
		g := got[i]
		if g.Offset != w.Offset || g.Timestamp != w.Timestamp.UnixMilli() || len(g.Key) != len(w.Key) || (g.Key == nil) != (w.Key == nil) ||
			len(g.Value) != len(w.Value) || (g.Value == nil) != (w.Value == nil) || g.Headers.Len() != len(w.Headers) {
			t.Fatalf("record %d: %+v, franz-go %+v", i, g, w)
		}
	}
}
