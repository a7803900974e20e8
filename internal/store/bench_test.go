package store

import (
	"bytes"
	"os"
	"testing"

	"github.com/thaliumx/persistor/internal/event"
)

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
			if err := s.zw.Close(); err != nil {
				b.Fatal(err)
			}
			compressed += s.out.Len()
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

func BenchmarkOrderRow(b *testing.B) {
	var d event.Decoder
	var o event.Order
	err := d.Order([]byte(`{"event":"ORDER_CREATED","order":{"id":"order_123","user_id":1001,"market":"BTC_USDT","side":"buy","type":"limit",`+
		`"price":"42000.00","amount":"1.0","filled_amount":"0.0","status":"open","created_at":"2024-01-15T10:30:00.000Z"}}`), &o)
	if err != nil {
		b.Fatal(err)
	}
	batch := NewBatch()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%20_000 == 0 {
			batch.Reset()
		}
		batch.Order(Source{TopicID: 1, Offset: int64(i)}, 1_700_000_000_000_000, &o)
	}
}
