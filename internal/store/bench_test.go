package store

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/thaliumx/persistor/internal/event"
	"github.com/thaliumx/persistor/internal/testenv"
)

// BenchmarkWrite stores batches of transfers, of which no two are the same.
func BenchmarkWrite(b *testing.B) {
	for _, size := range []int{1, 100, 20_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			ctx := b.Context()
			o := Options{URL: testenv.Database(b), SynchronousCommit: true}
			if _, err := Migrate(ctx, o); err != nil {
				b.Fatal(err)
			}
			conn, err := Connect(ctx, o)
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close(context.WithoutCancel(ctx))
			if err := Begin(ctx, conn, "p.internaltransfer", 0, "cluster", [16]byte{1}, 0); err != nil {
				b.Fatal(err)
			}
			batch, move, log := NewBatch(), transfer(5), Log{"p.internaltransfer", 1, 0}
			next := int64(0)
			for b.Loop() {
				b.StopTimer()
				batch.Reset()
				p := batch.Partition(log, next, 0)
				for range size {
					hash := int64(xxhash.Sum64(fmt.Append(nil, next)))
					batch.Record(p, next, hash)
					batch.Transfer(Source{1, 0, next, hash}, move)
					next++
				}
				b.StartTimer()
				if err := Write(ctx, conn, batch); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSegment archives a recorded run of unifyevents over and over, in
// batches of the daemon's size.
func BenchmarkSegment(b *testing.B) {
	text, err := os.ReadFile("../event/testdata/engine-1.unify.jsonl")
	if err != nil {
		b.Fatal(err)
	}
	values := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	var s segment
	raw, compressed := 0, 0
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%20_000 == 0 && i > 0 {
			done, err := s.close()
			if err != nil {
				b.Fatal(err)
			}
			compressed += len(done.Data)
			s.reset()
		}
		v := values[i%len(values)]
		raw += len(v)
		if err := s.add(Log{}, int64(i), 1_700_000_000_000+int64(i), []byte("orders"), v, []byte{0}); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(raw / b.N))
	if raw > 0 {
		b.ReportMetric(100*float64(compressed)/float64(raw), "%size")
	}
}

func BenchmarkNumeric(b *testing.B) {
	texts := [][]byte{[]byte("0"), []byte("42500.00"), []byte("0.00012345"), []byte("-1234567.89012345"), []byte("0.5")}
	var buf []byte
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		buf = appendNumeric(buf[:0], texts[i%len(texts)])
	}
}

// BenchmarkOrderRow makes rows of a recorded run's orders.
func BenchmarkOrderRow(b *testing.B) {
	text, err := os.ReadFile("../event/testdata/engine-1.unify.jsonl")
	if err != nil {
		b.Fatal(err)
	}
	var orders []event.Order
	for line := range bytes.Lines(text) {
		if value, ok := bytes.CutPrefix(line, []byte(`{"type":"OrderMessage","value":`)); ok {
			var d event.Decoder
			var o event.Order
			if err := d.Order(bytes.TrimSuffix(value, []byte("}\n")), &o); err != nil {
				b.Fatal(err)
			}
			orders = append(orders, o)
		}
	}
	batch := NewBatch()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%20_000 == 0 {
			batch.Reset()
		}
		batch.Order(Source{TopicID: 1, Offset: int64(i)}, 1_700_000_000_000_000, &orders[i%len(orders)])
	}
}
