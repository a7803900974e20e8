package fetch

import (
	"errors"
	"fmt"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
)

// One record is read wherever it stands in its batch; behind the end and beyond it
// the log has none.
func TestAt(t *testing.T) {
	onClusters(t, func(t *testing.T, c *cluster) {
		topic := c.topic(1)
		records := make([]*kgo.Record, 5)
		for i := range records {
			records[i] = &kgo.Record{Topic: topic, Value: fmt.Appendf(nil, "value %d", i)}
		}
		c.produce(c.newFranz(), records...)
		wants, meta := c.wants(topic)
		for i := range int64(5) {
			wants[0].Offset = i
			if r, err := c.client.At(t.Context(), meta, wants[0]); err != nil || r == nil || string(r.Value) != fmt.Sprintf("value %d", i) {
				t.Errorf("offset %d: %v, %v", i, r, err)
			}
		}
		for offset, want := range map[int64]error{5: ErrNoAnswer, 6: kafka.OffsetOutOfRange} {
			wants[0].Offset = offset
			if r, err := c.client.At(t.Context(), meta, wants[0]); r != nil || !errors.Is(err, want) {
				t.Errorf("offset %d: %v, %v, want %v", offset, r, err, want)
			}
		}
	})
}
