package store

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/thaliumx/persistor/internal/fetch"
)

// More headers than these are not taken apart. A header of two bytes makes some
// 25 of JSON and, while the server reads them, hundreds: a record of millions
// would take gigabytes, or more than the server takes at all.
const (
	mostHeaders     = 1000
	mostHeaderBytes = 256 << 10
)

// appendHeaders appends the JSON of a record's headers: a list in order, since
// Kafka allows a key twice, with values in base64, since they are bytes. Too
// many or too large ones are one element, which has neither key nor value, but
// the bytes of them all as Kafka encodes them.
func appendHeaders(b []byte, headers fetch.Headers) []byte {
	if len(headers) > mostHeaderBytes || headers.Len() > mostHeaders {
		b = append(b, `[{"raw":"`...)
		b = base64.StdEncoding.AppendEncode(b, headers)
		return append(b, `"}]`...)
	}
	type header struct {
		Key       *string `json:"key,omitempty"`
		KeyBase64 *string `json:"key_base64,omitempty"` // a key that is no text for PostgreSQL
		Value     *string `json:"value"`
	}
	list := make([]header, 0, headers.Len())
	for key, value := range headers.All() {
		var e header
		if k := string(key); utf8.ValidString(k) && !strings.Contains(k, "\x00") {
			e.Key = &k
		} else {
			k = base64.StdEncoding.EncodeToString(key)
			e.KeyBase64 = &k
		}
		if value != nil {
			v := base64.StdEncoding.EncodeToString(value)
			e.Value = &v
		}
		list = append(list, e)
	}
	out, err := json.Marshal(list)
	if err != nil {
		panic(err) // strings always marshal
	}
	return append(b, out...)
}
