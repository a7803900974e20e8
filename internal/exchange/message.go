package exchange

import "time"

// The topics, named as the engine names them.
const (
	topicTrades    = "trades"
	topicOrders    = "orders"
	topicBalances  = "balances"
	topicDeposits  = "deposits"
	topicWithdraws = "withdraws"
	topicTransfers = "internaltransfer"
	topicUsers     = "registeruser"
	topicUnify     = "unifyevents"
)

// UnifyTopic is the topic that carries everything but balances in one order.
const UnifyTopic = topicUnify

// Topics are all topics that an exchange writes to. The engine sends nothing to
// `deposits` and `withdraws` (wire 0.1).
func Topics() []string {
	return []string{topicTrades, topicOrders, topicBalances, topicTransfers, topicUsers, topicUnify}
}

// Header is a record header; only the backend's own records have any.
type Header struct {
	Key   string
	Value []byte
}

// Message is one record to be written. Key and Value are never changed after
// they have been handed out. An empty non-nil Key is what the engine's
// per-topic producer sends, a nil one what the backend sends (wire 1.1, 1.11).
type Message struct {
	Topic   string
	Key     []byte
	Value   []byte
	Headers []Header
	Time    time.Time // of the record, in whole milliseconds
}

var emptyKey = []byte{}

// unifyKeys are the keys on unifyevents: the topic's name (wire 2).
var unifyKeys = map[string][]byte{
	topicTrades: []byte(topicTrades), topicOrders: []byte(topicOrders),
	topicDeposits: []byte(topicDeposits), topicWithdraws: []byte(topicWithdraws),
	topicTransfers: []byte(topicTransfers), topicUsers: []byte(topicUsers),
}

// recorder collects the messages of one operation in the order of emission.
// Values are cut from large chunks, so that a record costs no allocation of its
// own.
type recorder struct {
	documented bool
	messages   []Message
	time       time.Time
	chunk      []byte
	from       int
}

// chunkSize holds some 60 records; spare is more than any of them needs, short
// of absurd texts, which only cost a copy.
const (
	chunkSize = 64 << 10
	spare     = 4 << 10
)

// begin starts a value: append to what it returns, then call end.
func (r *recorder) begin() []byte {
	if cap(r.chunk)-len(r.chunk) < spare {
		r.chunk = make([]byte, 0, chunkSize)
	}
	r.from = len(r.chunk)
	return r.chunk
}

func (r *recorder) end(b []byte) []byte {
	r.chunk = b
	return b[r.from:len(b):len(b)]
}

// own queues a record for the topic itself.
func (r *recorder) own(topic string, value []byte) {
	r.messages = append(r.messages, Message{Topic: topic, Key: emptyKey, Value: value, Time: r.time})
}

// unify queues a record for unifyevents.
func (r *recorder) unify(topic string, value []byte) {
	r.messages = append(r.messages, Message{Topic: topicUnify, Key: unifyKeys[topic], Value: value, Time: r.time})
}

// both queues a record for its own topic and for unifyevents, in this order
// (wire 3).
func (r *recorder) both(topic string, value []byte) {
	r.own(topic, value)
	r.unify(topic, value)
}

// take hands out what has been collected.
func (r *recorder) take() []Message {
	taken := r.messages
	r.messages = make([]Message, 0, 16)
	return taken
}
