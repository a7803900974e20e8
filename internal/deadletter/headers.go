package deadletter

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"iter"
	"slices"

	"github.com/segmentio/kafka-go"

	"github.com/thaliumx/persistor/internal/fetch"
)

// ParseHeaders reads the jsonb of dingir.rejects.headers, which store writes: a
// list in the record's order, values in base64, a key in base64 where it is no
// text for PostgreSQL; or, of very many or large ones, one element with the
// bytes as Kafka encodes them. It returns how many there are, and each; a nil
// value is null. The caller decides how many to have in memory.
func ParseHeaders(text []byte) (n int, all iter.Seq[kafka.Header], err error) {
	var list []struct {
		Key       string  `json:"key"`
		KeyBase64 *string `json:"key_base64"`
		Value     *string `json:"value"`
		Raw       []byte  `json:"raw"` // of base64
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return 0, nil, fmt.Errorf("headers of a reject: %w", err)
	}
	if len(list) == 1 && list[0].Raw != nil {
		raw := fetch.Headers(list[0].Raw)
		return raw.Len(), func(yield func(kafka.Header) bool) {
			for key, value := range raw.All() {
				if !yield(kafka.Header{Key: string(key), Value: value}) {
					return
				}
			}
		}, nil
	}
	headers := make([]kafka.Header, len(list))
	for i, h := range list {
		headers[i].Key = h.Key
		if h.KeyBase64 != nil {
			key, err := base64.StdEncoding.DecodeString(*h.KeyBase64)
			if err != nil {
				return 0, nil, fmt.Errorf("key of header %d of a reject: %w", i, err)
			}
			headers[i].Key = string(key)
		}
		if h.Value != nil {
			value, err := base64.StdEncoding.DecodeString(*h.Value)
			if err != nil {
				return 0, nil, fmt.Errorf("value of header %d of a reject: %w", i, err)
			}
			headers[i].Value = value
		}
	}
	return len(headers), slices.Values(headers), nil
}
