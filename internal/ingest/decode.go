package ingest

import (
	"fmt"

	"github.com/cespare/xxhash/v2"

	"github.com/thaliumx/persistor/internal/event"
	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/topics"
)

// Record is a record of Kafka, as a row or a reject needs it.
type Record struct {
	Offset int64
	Time   int64 // ms
	Key    []byte
	Value  []byte // nil for a tombstone
}

// Decoder turns records into rows of a batch. Not for concurrent use.
type Decoder struct {
	decoder  event.Decoder
	trade    event.Trade
	order    event.Order
	balance  event.Balance
	transfer event.Transfer
	user     event.User

	ids []candidate // that the batch's rows brought; the worker empties it
}

// Hash is the content hash of a record's value.
func Hash(value []byte) int64 { return int64(xxhash.Sum64(value)) }

// Add adds the record's row to the batch. topic is the topic's name without
// prefix; on unifyevents the key says what the record is, and only deposits and
// withdrawals become rows: the others have theirs from their own topics. An
// error says why the record cannot be stored.
func (d *Decoder) Add(b *store.Batch, log store.Log, topic string, r Record, hash int64) error {
	live := topic == topics.UnifyEvents
	if live {
		topic = string(r.Key)
		if topic == topics.UnifyEvents {
			return unknownKey(r.Key)
		}
	}
	src := store.Source{TopicID: log.TopicID, Partition: log.Partition, Offset: r.Offset, Hash: hash}
	switch topic {
	case topics.Trades:
		if err := d.decoder.Trade(r.Value, &d.trade); err != nil {
			return err
		}
		if !live {
			b.Trade(src, &d.trade)
			d.ids = append(d.ids, candidate{topic, d.trade.ID, src})
		}
	case topics.Orders:
		if err := d.decoder.Order(r.Value, &d.order); err != nil {
			return err
		}
		if !live {
			at, err := recordTime(r.Time)
			if err != nil {
				return err
			}
			b.Order(src, at, &d.order)
			if d.order.Action == event.Put {
				d.ids = append(d.ids, candidate{topic, d.order.ID, src})
			}
		}
	case topics.Balances:
		// On unifyevents only before 2021-08-16, when deposits had this key
		// (wire format, section 1.10).
		if err := d.decoder.Balance(r.Value, &d.balance); err != nil {
			return err
		}
		switch {
		case !live:
			b.Balance(src, &d.balance)
		case d.balance.Change[0] == '-':
			b.Withdrawal(src, &d.balance)
		default:
			b.Deposit(src, &d.balance)
		}
	case topics.Deposits:
		if err := d.decoder.Deposit(r.Value, &d.balance); err != nil {
			return err
		}
		b.Deposit(src, &d.balance)
	case topics.Withdraws:
		if err := d.decoder.Withdraw(r.Value, &d.balance); err != nil {
			return err
		}
		b.Withdrawal(src, &d.balance)
	case topics.InternalTransfer:
		if err := d.decoder.Transfer(r.Value, &d.transfer); err != nil {
			return err
		}
		if !live {
			b.Transfer(src, &d.transfer)
		}
	case topics.RegisterUser:
		if err := d.decoder.User(r.Value, &d.user); err != nil {
			return err
		}
		if !live {
			at, err := recordTime(r.Time)
			if err != nil {
				return err
			}
			b.User(src, at, &d.user)
			d.ids = append(d.ids, candidate{topic, d.user.UserID, src})
		}
	default:
		return unknownKey(r.Key)
	}
	return nil
}

func unknownKey(key []byte) error {
	return &event.Error{Reason: fmt.Sprintf("key %.40q is not one of the engine's on %s", key, topics.UnifyEvents)}
}

// recordTime turns a record's timestamp into a row's time, within the bounds of
// any other time: each day far away would make a chunk of its own.
func recordTime(ms int64) (event.Micros, error) {
	const from, to = 946_684_800_000, 4_102_444_800_000 // 2000-01-01, 2100-01-01
	if ms < from || ms >= to {
		return 0, &event.Error{Reason: fmt.Sprintf("the record's timestamp, %d ms, is outside the years 2000 to 2099", ms)}
	}
	return event.Micros(ms * 1000), nil
}
