package fetch

import (
	"fmt"
	"io"

	"github.com/segmentio/kafka-go/protocol"
)

// exchange is one request and its answer on a connection of the transport.
//
// It owns its memory. The transport's goroutine may still write to it after the
// caller's context ended, so whoever started it may look at it, or use it again,
// only after the round trip returned without an error; otherwise it is dropped
// and the collector has it once the goroutine is through.
type exchange struct {
	key         protocol.ApiKey
	correlation int32
	limit       int // most bytes of an answer

	request []byte
	size    [4]byte
	memory  memory
	answer  []byte
}

func (x *exchange) ApiKey() protocol.ApiKey { return x.key } //nolint:revive // kafka-go's name

// Required makes the transport call RawExchange whatever versions it has
// negotiated for its own messages.
func (x *exchange) Required(map[protocol.ApiKey]int16) bool { return true }

// RawExchange runs on the transport's goroutine. An error makes the transport
// close the connection, which is right for all that can fail here: the stream
// would be out of step.
func (x *exchange) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	if _, err := rw.Write(x.request); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(rw, x.size[:]); err != nil {
		return nil, err
	}
	n := int(be.Uint32(x.size[:]))
	if n > x.limit {
		return nil, &AnswerTooLargeError{Bytes: n, Limit: x.limit}
	}
	x.answer = x.memory.take(n)[:n]
	if _, err := io.ReadFull(rw, x.answer); err != nil {
		return nil, err
	}
	return x, nil
}

// begin starts a request with its header (version 2, the flexible one).
func (x *exchange) begin(version int16, clientID string) []byte {
	b := append(x.request[:0], 0, 0, 0, 0) //nolint:gocritic // the size, set by end, which keeps the slice
	b = appendInt16(b, int16(x.key))
	b = appendInt16(b, version)
	b = appendInt32(b, x.correlation)
	b = appendInt16(b, int16(len(clientID)))
	b = append(b, clientID...)
	return append(b, 0) // no tagged fields
}

func (x *exchange) end(b []byte) {
	be.PutUint32(b, uint32(len(b)-4))
	x.request = b
}

// body returns the answer behind its header.
func (x *exchange) body() (cursor, error) {
	c := cursor{b: x.answer}
	id := c.int32()
	c.tags()
	if c.bad || id != x.correlation {
		return c, fmt.Errorf("%w: it answers request %d, not %d", ErrMalformed, id, x.correlation)
	}
	return c, nil
}

// routed is an exchange with one broker; a plain exchange goes to any.
type routed struct {
	exchange
	broker int32
}

// Broker tells the transport where to send the request.
func (x *routed) Broker(cluster protocol.Cluster) (protocol.Broker, error) {
	b, ok := cluster.Brokers[x.broker]
	if !ok {
		return protocol.Broker{}, &BrokerUnknownError{ID: x.broker}
	}
	return b, nil
}

var (
	_ protocol.RawExchanger  = (*exchange)(nil)
	_ protocol.BrokerMessage = (*routed)(nil)
)
