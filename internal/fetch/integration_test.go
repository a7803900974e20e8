package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func (c *cluster) compare(want Want, meta *Cluster, maxBytes int32) (got []stored, gaps int64) {
	c.t.Helper()
	got, gaps = c.readAll(want, meta, maxBytes)
	franz := c.readFranz(want, len(got))
	if !slices.Equal(got, franz) {
		for i := range min(len(got), len(franz)) {
			if got[i] != franz[i] {
				c.t.Fatalf("record %d: %.200v, franz-go %.200v", i, got[i], franz[i])
			}
		}
		c.t.Fatalf("%d records, franz-go reads %d", len(got), len(franz))
	}
	return got, gaps
}

func TestSameRecordsAsFranz(t *testing.T) {
	codecs := map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(),
		"snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}
	onClusters(t, func(t *testing.T, c *cluster) {
		topic := c.topic(2)
		random := rand.New(rand.NewPCG(1, 2))
		for name, codec := range codecs {
			cl := c.newFranz(kgo.ProducerBatchCompression(codec), kgo.ProducerLinger(5*time.Millisecond))
			var records []*kgo.Record
			for i := range 500 {
				r := &kgo.Record{Topic: topic, Partition: int32(i % 2), Timestamp: time.UnixMilli(1_700_000_000_000 + int64(i))}
				if i%5 > 0 {
					r.Key = fmt.Appendf([]byte{}, "%s", name[:i%3])
				}
				if i%7 > 0 {
					r.Value = make([]byte, random.IntN(800))
					for j := range r.Value {
						r.Value[j] = byte(random.IntN(4))
					}
				}
				if i%11 == 0 {
					r.Headers = []kgo.RecordHeader{{Key: "a", Value: nil}, {Key: "", Value: []byte{}}, {Key: "a", Value: []byte("b")}}
				}
				records = append(records, r)
			}
			c.produce(cl, records...)
		}
		wants, meta := c.wants(topic)
		for _, w := range wants {
			for _, maxBytes := range []int32{1, 20_000, 10 << 20} {
				if got, gaps := c.compare(w, meta, maxBytes); len(got) != 1250 || gaps != 0 {
					t.Errorf("%d records and %d gaps, want 1250 and 0", len(got), gaps)
				}
			}
		}
	})
}

// TestBrokersOwnCodecs has the broker compress again what it gets, as the
// platform's topics do (compression.type=snappy): these are Java's encoders.
func TestBrokersOwnCodecs(t *testing.T) {
	onKafka(t, func(t *testing.T, c *cluster) {
		for codec, number := range map[string]uint16{"gzip": codecGzip, "snappy": codecSnappy, "lz4": codecLZ4, "zstd": codecZstd} {
			topic := c.topic(1, "compression.type="+codec)
			var records []*kgo.Record
			for i := range 3000 {
				records = append(records, &kgo.Record{Topic: topic, Value: bytes.Repeat(fmt.Appendf(nil, "%d,", i), i%100)})
			}
			c.produce(c.newFranz(kgo.ProducerBatchCompression(kgo.NoCompression())), records...)
			wants, meta := c.wants(topic)
			leader, _ := meta.Leader(topic, 0)
			var resp Response
			c.fetchFrom(leader, &resp, 1<<20, wants...)
			if b, _, _, _ := splitBatch(resp.Partitions[0].rest); b.attributes&attrCodec != number {
				t.Errorf("codec %d stored, want %s", b.attributes&attrCodec, codec)
			}
			if got, _ := c.compare(wants[0], meta, 1<<20); len(got) != 3000 {
				t.Errorf("%s: %d records", codec, len(got))
			}
		}
	})
}

func TestLogAppendTimeTopic(t *testing.T) {
	onClusters(t, func(t *testing.T, c *cluster) {
		topic := c.topic(1, "message.timestamp.type=LogAppendTime")
		c.produce(c.franz, &kgo.Record{Topic: topic, Value: []byte("v"), Timestamp: time.UnixMilli(5_000_000)})
		wants, meta := c.wants(topic)
		got, _ := c.readAll(wants[0], meta, 1<<20)
		if c.prefix != "" && got[0].Time == 5_000_000 {
			t.Error("the producer's time instead of the broker's")
		}
		c.compare(wants[0], meta, 1<<20)
	})
}

// TestTransactionsOnKafka interleaves three producers, two of them with
// transactions that end in either way. Not on the fake, which does not list the
// aborted transactions of two producers.
func TestTransactionsOnKafka(t *testing.T) {
	onKafka(t, func(t *testing.T, c *cluster) {
		topic := c.topic(1)
		one, two := c.newFranz(kgo.TransactionalID(topic+"-1")), c.newFranz(kgo.TransactionalID(topic+"-2"))
		sent := 0
		write := func(cl *kgo.Client, n int) {
			t.Helper()
			for range n {
				c.produce(cl, &kgo.Record{Topic: topic, Value: fmt.Appendf(nil, "value %d", sent)})
				sent++
			}
		}
		begin := func(cl *kgo.Client) {
			t.Helper()
			if err := cl.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
		}
		end := func(cl *kgo.Client, commit kgo.TransactionEndTry) {
			t.Helper()
			if err := cl.EndTransaction(context.Background(), commit); err != nil {
				t.Fatal(err)
			}
		}
		kept := 0
		random := rand.New(rand.NewPCG(3, 4))
		for range 12 {
			begin(one)
			write(one, 2)
			begin(two)
			write(two, 1)
			write(c.franz, 1)
			kept++
			write(one, 1)
			commitOne, commitTwo := random.IntN(2) == 1, random.IntN(2) == 1
			if random.IntN(2) == 1 {
				end(one, kgo.TransactionEndTry(commitOne))
				write(two, 1)
				end(two, kgo.TransactionEndTry(commitTwo))
			} else {
				write(two, 1)
				end(two, kgo.TransactionEndTry(commitTwo))
				end(one, kgo.TransactionEndTry(commitOne))
			}
			if commitOne {
				kept += 3
			}
			if commitTwo {
				kept += 2
			}
		}
		wants, meta := c.wants(topic)
		markers := int64(24)
		c.eventually("all markers", func() error {
			marks, err := c.client.Watermarks(context.Background(), meta, wants)
			if err == nil && marks[0].LastStable != int64(sent)+markers {
				err = fmt.Errorf("%+v", marks)
			}
			return err
		})
		for _, maxBytes := range []int32{1, 1 << 20} {
			got, gaps := c.compare(wants[0], meta, maxBytes)
			if len(got) != kept || gaps != int64(sent-kept)+markers {
				t.Errorf("%d records and %d gaps, want %d and %d", len(got), gaps, kept, int64(sent-kept)+markers)
			}
		}
		// From every offset on: whatever batch or transaction that is inside of.
		all, _ := c.readAll(wants[0], meta, 1<<20)
		for offset := range int64(sent) + markers {
			w := wants[0]
			w.Offset = offset
			got, _ := c.readAll(w, meta, 1<<20)
			i := slices.IndexFunc(all, func(s stored) bool { return s.Offset >= offset })
			if i < 0 {
				i = len(all)
			}
			if !slices.Equal(got, all[i:]) {
				t.Errorf("from %d on: %d records instead of %d", offset, len(got), len(all)-i)
			}
		}
	})
}

func TestLargeMessage(t *testing.T) {
	onClusters(t, func(t *testing.T, c *cluster) {
		topic := c.topic(1)
		value := make([]byte, 10<<20)
		random := rand.New(rand.NewPCG(5, 6))
		for i := range value {
			value[i] = "0123456789abcdef"[random.IntN(16)]
		}
		for _, codec := range []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.ZstdCompression()} {
			cl := c.newFranz(kgo.ProducerBatchCompression(codec))
			c.produce(cl, &kgo.Record{Topic: topic, Value: value})
			c.produce(cl, &kgo.Record{Topic: topic, Value: []byte("small")})
		}
		wants, meta := c.wants(topic)
		got, _ := c.readAll(wants[0], meta, 1<<20)
		if len(got) != 8 {
			t.Fatalf("%d records", len(got))
		}
		for i, s := range got {
			if want := []string{string(value), "small"}[i%2]; s.Value != want {
				t.Errorf("record %d has %d bytes, want %d", i, len(s.Value), len(want))
			}
		}
	})
}

func TestWatermarksOnCluster(t *testing.T) {
	onClusters(t, func(t *testing.T, c *cluster) {
		a, b := c.topic(3), c.topic(1)
		for i := range 10 {
			c.produce(c.franz, &kgo.Record{Topic: a, Partition: int32(i % 2), Value: []byte("v")})
		}
		writer := c.newFranz(kgo.TransactionalID(a))
		if err := writer.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		c.produce(writer, &kgo.Record{Topic: a, Partition: 1, Value: []byte("open")})
		req := kmsg.NewPtrDeleteRecordsRequest()
		partition := kmsg.NewDeleteRecordsRequestTopicPartition()
		partition.Offset = 3
		topic := kmsg.NewDeleteRecordsRequestTopic()
		topic.Topic, topic.Partitions = a, append(topic.Partitions, partition)
		req.Topics, req.TimeoutMillis = append(req.Topics, topic), 10_000
		for _, shard := range c.franz.RequestSharded(context.Background(), req) {
			if shard.Err != nil {
				t.Fatal(shard.Err)
			}
		}
		wants, meta := c.wants(a, b)
		wants = append(wants, Want{Topic: b, TopicID: wants[3].TopicID, Partition: 9}, Want{Topic: "missing", TopicID: testID})
		wants[2], wants[3] = wants[3], wants[2] // a, a, b, a: not grouped by topic
		var marks []Watermarks
		var err error
		c.eventually("watermarks", func() error {
			marks, err = c.client.Watermarks(context.Background(), meta, wants)
			for _, m := range marks[:4] {
				if m.Err != nil {
					return m.Err
				}
			}
			return nil
		})
		want := []Watermarks{{3, 5, 5, nil}, {0, 5, 6, nil}, {0, 0, 0, nil}, {0, 0, 0, nil}}
		if !slices.Equal(marks[:4], want) {
			t.Errorf("got %+v, want %+v", marks[:4], want)
		}
		for _, m := range marks[4:] {
			if !errors.Is(m.Err, kafka.UnknownTopicOrPartition) || m.HighWatermark != -1 {
				t.Errorf("missing partition: %+v", m)
			}
		}
		if !errors.Is(err, kafka.UnknownTopicOrPartition) {
			t.Errorf("joined error: %v", err)
		}
		below := wants[0]
		below.Offset = 1
		leader, _ := meta.Leader(a, 0)
		var resp Response
		c.fetchFrom(leader, &resp, 1<<20, below)
		if p := &resp.Partitions[0]; !errors.Is(p.Err, kafka.OffsetOutOfRange) || Retriable(p.Err) {
			t.Errorf("below the log's start: %v", p.Err)
		}
		if err := writer.EndTransaction(context.Background(), kgo.TryAbort); err != nil {
			t.Fatal(err)
		}
	})
}

func TestManyPartitionsInOneRequest(t *testing.T) {
	onClusters(t, func(t *testing.T, c *cluster) {
		topics := []string{c.topic(3), c.topic(3)}
		for i := range 60 {
			c.produce(c.franz, &kgo.Record{Topic: topics[i%2], Partition: int32(i / 2 % 3), Value: fmt.Appendf(make([]byte, 500), "%d", i)})
		}
		wants, meta := c.wants(topics...)
		slices.SortFunc(wants, func(a, b Want) int { return int(a.Partition - b.Partition) }) // topics alternate
		byLeader := map[int32][]Want{}
		for _, w := range wants {
			leader, err := meta.Leader(w.Topic, w.Partition)
			if err != nil {
				t.Fatal(err)
			}
			byLeader[leader] = append(byLeader[leader], w)
		}
		for leader, wants := range byLeader {
			var resp Response
			c.fetchFrom(leader, &resp, 1<<20, wants...)
			for i := range resp.Partitions {
				p := &resp.Partitions[i]
				items, err := drain(p)
				if err != nil || len(items) != 10 || p.Want != wants[i] || p.HighWatermark != 10 {
					t.Errorf("%+v: %d records, %v", p.Want, len(items), err)
				}
			}
			// With room for one batch, the first of the request has it.
			for range wants {
				c.fetchFrom(leader, &resp, 1, wants...)
				for i := range resp.Partitions {
					kind, err := resp.Partitions[i].Next()
					if err != nil || (kind == Data) != (i == 0) {
						t.Errorf("partition %d of the request: %v %v", i, kind, err)
					}
				}
				wants = append(wants[1:], wants[0])
			}
		}
	})
}

func TestMetadataOnCluster(t *testing.T) {
	onClusters(t, func(t *testing.T, c *cluster) {
		topic := c.topic(3)
		names := []string{"missing-" + topic, topic}
		meta, err := c.client.Metadata(context.Background(), names)
		if err != nil {
			t.Fatal(err)
		}
		if meta.ID == "" || len(meta.Brokers) == 0 || meta.Brokers[0].Port == 0 || meta.Topics[0].Name != names[0] || meta.Topics[1].ID == [16]byte{} || len(meta.Topics[1].Partitions) != 3 {
			t.Errorf("%+v", meta)
		}
		again, err := c.client.Metadata(context.Background(), names) // asking must not have made it
		if err != nil || !errors.Is(again.Topics[0].Err, kafka.UnknownTopicOrPartition) {
			t.Errorf("%+v %v", again, err)
		}
		if none, err := c.client.Metadata(context.Background(), nil); err != nil || len(none.Topics) != 0 || none.ID != meta.ID {
			t.Errorf("%+v %v", none, err)
		}
		err = c.client.Fetch(context.Background(), &Request{Broker: 99, MaxBytes: 1, Partitions: []Want{{Topic: topic, TopicID: meta.Topics[1].ID}}}, new(Response))
		var unknown *BrokerUnknownError
		if !errors.As(err, &unknown) || !Retriable(err) {
			t.Errorf("fetch from a broker that is not there: %v", err)
		}
	})
}
