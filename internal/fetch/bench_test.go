package fetch

import (
	"context"
	"fmt"
	"testing"

	"github.com/segmentio/kafka-go"
)

// BenchmarkRows reads an answer of 1 MiB of 184 B values as Java compresses
// them; the transport is not part of it.
func BenchmarkRows(b *testing.B) {
	const batches, perBatch = 10, 500
	for _, c := range codecs {
		b.Run(c.name, func(b *testing.B) {
			want := Want{Topic: "trades", TopicID: testID}
			var log []byte
			for n := range batches {
				rows := make([]testRecord, perBatch)
				for i := range rows {
					value := fmt.Appendf(nil, `{"id":%d,"timestamp":"2024-01-15T10:30:00.000Z","market":"BTC_USDT","price":"%d.%02d","amount":"0.%d","quote_amount":"21250.00","taker_side":"buy","maker_order_id":"order_%d"}`,
						n*perBatch+i, 42000+i%977, i%100, i*7919%100000, i)
					rows[i] = testRecord{delta: int64(i), elapsed: int64(i), key: fmt.Appendf(nil, "key %d", i), value: value}
				}
				log = append(log, testBatch{base: int64(n * perBatch), codec: c.codec, bareBlock: c.bare, records: rows}.encode()...)
			}
			client := NewClient(&fakeBroker{body: fetchAnswer(0, answerPart{want: want, records: log})}, kafka.TCP("fake:1"))
			var resp Response
			b.ReportAllocs()
			for b.Loop() {
				if err := client.Fetch(context.Background(), &Request{Partitions: []Want{want}, MaxBytes: 1}, &resp); err != nil {
					b.Fatal(err)
				}
				rows := 0
				for p := &resp.Partitions[0]; ; rows++ {
					kind, err := p.Next()
					if err != nil {
						b.Fatal(err)
					}
					if kind == Done {
						break
					}
				}
				if rows != batches*perBatch {
					b.Fatal(rows)
				}
			}
			b.ReportMetric(float64(b.N)*batches*perBatch/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
