package exchange

import (
	"math/rand/v2"
	"strconv"
	"time"
)

// producers is what lies between the engine and the topics: it loses the end of
// a stream in a crash, sends records twice, and shares `orders` with the
// platform's backend.
type producers struct {
	x       *Exchange
	random  *rand.Rand
	repeats []repeat
}

// repeat is a record to be sent once more.
type repeat struct {
	due     int // number of the operation to send it after
	message Message
}

// latestRepeat bounds by how many operations a repetition is late.
const latestRepeat = 20

// send returns what becomes of an operation's messages.
func (p *producers) send(messages []Message, number int) []Message {
	cfg := &p.x.cfg
	if cfg.Duplicates == 0 && cfg.Foreign == 0 && cfg.LoseUnify == 0 && cfg.LoseTopics == 0 {
		p.count(messages)
		return messages
	}
	sent := make([]Message, 0, len(messages)+4)
	for _, m := range messages {
		sent = p.sendOne(sent, m, number)
	}
	later := p.repeats[:0]
	for _, r := range p.repeats {
		if r.due > number {
			later = append(later, r)
			continue
		}
		sent = append(sent, r.message)
		p.x.stats.Duplicates++
	}
	p.repeats = later
	p.count(sent)
	return sent
}

func (p *producers) sendOne(sent []Message, m Message, number int) []Message {
	cfg, stats := &p.x.cfg, &p.x.stats
	if m.Topic == topicUnify {
		// This producer is idempotent (wire 1.1): it can only lose the end.
		if p.x.crashes.unify.takes(number, p.random) {
			stats.LostUnify++
			return sent
		}
		return append(sent, m)
	}
	if p.x.crashes.own.takes(number, p.random) {
		stats.LostTopics++
		return sent
	}
	sent = append(sent, m)
	if p.random.Float64() < cfg.Duplicates {
		p.repeats = append(p.repeats, repeat{number + p.random.IntN(latestRepeat), m})
	}
	if m.Topic == topicOrders && p.random.Float64() < cfg.Foreign {
		sent = append(sent, p.backendOrder(m.Time))
		stats.Foreign++
	}
	return sent
}

func (p *producers) count(sent []Message) {
	for i := range sent {
		if sent[i].Topic == topicUnify {
			p.x.unify++
		}
	}
}

// backendOrder is a record that the platform's backend puts on `orders`: another
// shape, no key, and a header (wire 1.11).
func (p *producers) backendOrder(at time.Time) Message {
	sides, symbols := []string{"buy", "sell"}, []string{"BTC/USDT", "ETH/USDT", "THAL/USDT"}
	b := append(make([]byte, 0, 384), `{"event":"order.created","data":{"id":"`...)
	b = p.appendUUID(b)
	b = p.appendUUID(append(b, `","userId":"`...))
	b = p.appendUUID(append(b, `","tenantId":"`...))
	b = textField(append(b, '"'), `,"symbol":`, symbols[p.random.IntN(len(symbols))])
	b = textField(b, `,"side":`, sides[p.random.IntN(2)])
	b = append(b, `,"type":"limit","quantity":`...)
	b = strconv.AppendFloat(b, float64(1+p.random.IntN(1000))/100, 'f', -1, 64)
	b = append(b, `,"price":`...)
	b = strconv.AppendFloat(b, float64(1+p.random.IntN(5_000_000))/100, 'f', -1, 64)
	b = append(b, `,"status":"pending","filledQuantity":0,"createdAt":`...)
	b = appendISO(b, at.UnixMicro())
	b = appendISO(append(b, `,"updatedAt":`...), at.UnixMicro())
	b = append(b, `}}`...)
	size := strconv.AppendInt(nil, int64(len(b)), 10)
	return Message{Topic: topicOrders, Value: b, Headers: []Header{{Key: "messageSize", Value: size}}, Time: at}
}

func (p *producers) appendUUID(b []byte) []byte {
	const hex = "0123456789abcdef"
	for i := range 36 {
		switch i {
		case 8, 13, 18, 23:
			b = append(b, '-')
		case 14:
			b = append(b, '4')
		case 19:
			b = append(b, hex[8+p.random.IntN(4)])
		default:
			b = append(b, hex[p.random.IntN(16)])
		}
	}
	return b
}
