package state

// check is one of the cross-checks (wire 4.2), or a kind of contradiction that
// the reconstruction recognised.
type check uint8

const (
	paymentSign check = iota
	paymentSum
	paymentBalance
	paymentAvailable
	paymentFrozen
	putID
	putRemain
	putFrozen
	putFinished
	tradeID
	tradeQuoteAmount
	tradeTakerYounger
	tradeTakerLastPut
	tradeMakerBest
	tradeOrderPresent
	tradeOrder
	tradeOrdersBefore
	tradeOrdersAfter
	tradeBalancesBefore
	tradeBalancesAfter
	orderRemain
	orderFrozen
	orderFinishedBase
	orderFinishedQuote
	orderFinishedFee
	negative
	frozenHeld
	unreadable
	malformedTrade
	repeated
	rewind
	rewindBeyondJournal
	unknownOrder
	returnedOrder
	vanishedOrder
	checkCount
)

var checkNames = [checkCount]string{
	"payment_sign", "payment_sum", "payment_balance", "payment_available", "payment_frozen",
	"put_id", "put_remain", "put_frozen", "put_finished",
	"trade_id", "trade_quote_amount", "trade_taker_younger", "trade_taker_last_put", "trade_maker_best",
	"trade_order_present", "trade_order", "trade_orders_before", "trade_orders_after",
	"trade_balances_before", "trade_balances_after",
	"order_remain", "order_frozen", "order_finished_base", "order_finished_quote", "order_finished_fee",
	"negative", "frozen_held",
	"unreadable", "malformed_trade", "repeated", "rewind", "rewind_beyond_journal",
	"unknown_order", "returned_order", "vanished_order",
}

// Check is the count of one cross-check, or of one kind of contradiction. The
// latter (unreadable, rewind and what follows) have no Passed: they are counted
// when they occur. Failed may sink: where a crash of the engine turns out to
// explain what some records contradicted, that is taken back.
type Check struct {
	Name           string // lower case with underscores; the list is fixed
	Passed, Failed int64
	Examples       []Example // the first failures
}

// Example is a failure of a check.
type Example struct {
	Check    string
	Offset   int64  // of the record that showed it
	Field    string // which amount or id, with whose it is
	Expected string // by the state's own reckoning
	Found    string // in the record
}

// maxExamples is how many examples of each check are kept: enough to see a
// pattern, few enough to be shown.
const maxExamples = 5

// lasts reports whether a failure counts although the engine forgot what the
// record told: it is the record's own, or tells of a crash. Others are taken
// back with what they contradicted, so that nothing counts twice.
func (c check) lasts() bool {
	switch c {
	case paymentSign, paymentSum, putRemain, putFrozen, putFinished, tradeQuoteAmount,
		negative, frozenHeld, // of the operation before
		unreadable, malformedTrade, repeated, rewind, rewindBeyondJournal:
		return true
	default:
		return false
	}
}

type counter struct {
	passed, failed int64
	examples       []Example
}

// CheckNames are the names of all checks, in the order of Checks.
func CheckNames() []string { return checkNames[:] }

// Checks are the counts of all cross-checks, in a fixed order.
func (s *State) Checks() []Check {
	all := make([]Check, checkCount)
	for i := range all {
		c := &s.checks[i]
		all[i] = Check{checkNames[i], c.passed, c.failed, c.examples}
	}
	return all
}

// Mismatches is how often a check failed or a contradiction was recognised.
func (s *State) Mismatches() int64 {
	n := int64(0)
	for i := range s.checks {
		n += s.checks[i].failed
	}
	return n
}

// Passed is how many cross-checks passed.
func (s *State) Passed() int64 {
	n := int64(0)
	for i := range s.checks {
		n += s.checks[i].passed
	}
	return n
}

// pass counts a check that was passed.
func (s *State) pass(c check) { s.checks[c].passed++ }

// fail counts a failure, and keeps it if it is one of the first; then it
// reports true, and the caller adds the texts.
func (s *State) fail(c check) bool {
	s.checks[c].failed++
	if s.journal.records.len() > 0 {
		s.journal.fails.push(c)
	}
	return len(s.checks[c].examples) < maxExamples
}

func (s *State) example(c check, field, expected, found string) {
	s.checks[c].examples = append(s.checks[c].examples, Example{checkNames[c], s.next, field, expected, found})
}
