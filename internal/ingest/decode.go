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
	unify    event.Unify

	ids []candidate // that the batch's rows brought; the worker empties it
}

// Hash is the content hash of a record's value.
func Hash(value []byte) int64 { return int64(xxhash.Sum64(value)) }

// Add adds the record's row to the batch. topic is the topic's name without
// prefix. An error says why the record cannot be stored.
func (d *Decoder) Add(b *store.Batch, log store.Log, topic string, r Record, hash int64) error {
	src := store.Source{TopicID: log.TopicID, Partition: log.Partition, Offset: r.Offset, Hash: hash}
	switch topic {
	case topics.UnifyEvents:
		if err := d.decoder.Unify(r.Key, r.Value, &d.unify); err != nil {
			return err
		}
		addPayment(b, src, &d.unify)
	case topics.Trades:
		if err := d.decoder.Trade(r.Value, &d.trade); err != nil {
			return err
		}
		b.Trade(src, &d.trade)
		d.ids = append(d.ids, candidate{topic, d.trade.ID, src})
	case topics.Orders:
		if err := d.decoder.Order(r.Value, &d.order); err != nil {
			return err
		}
		at, err := recordTime(r.Time)
		if err != nil {
			return err
		}
		b.Order(src, at, &d.order)
		if d.order.Action == event.Put {
			d.ids = append(d.ids, candidate{topic, d.order.ID, src})
		}
	case topics.Balances:
		if err := d.decoder.Balance(r.Value, &d.balance); err != nil {
			return err
		}
		b.Balance(src, &d.balance)
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
		b.Transfer(src, &d.transfer)
	case topics.RegisterUser:
		if err := d.decoder.User(r.Value, &d.user); err != nil {
			return err
		}
		at, err := recordTime(r.Time)
		if err != nil {
			return err
		}
		b.User(src, at, &d.user)
		d.ids = append(d.ids, candidate{topic, d.user.UserID, src})
	default:
		return &event.Error{Reason: fmt.Sprintf("topic %.40q has no table", topic)}
	}
	return nil
}

// addPayment adds the row of a record of unifyevents. Only deposits and
// withdrawals become rows: the others have theirs from their own topics.
func addPayment(b *store.Batch, src store.Source, u *event.Unify) {
	switch u.Kind { //nolint:exhaustive // see above
	case event.KindDeposit:
		b.Deposit(src, &u.Balance)
	case event.KindWithdraw:
		b.Withdrawal(src, &u.Balance)
	}
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
