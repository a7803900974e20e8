package replay_test

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/thaliumx/persistor/internal/harness"
)

// deposit is a record of a deposit, as it is on any topic.
func deposit(topic string, user int) harness.Record {
	return harness.Record{Topic: topic, Key: []byte("deposits"), Value: fmt.Appendf(nil,
		`{"timestamp":1700000000.0,"user_id":%[1]d,"business_id":7,"asset":"ETH","business":"deposit","change":"%[1]d.00","balance":"%[1]d.00","balance_available":"%[1]d.00","balance_frozen":"0","detail":"{\"id\":7}"}`, user)}
}

// store has the daemon store records.
func (s *scene) store(records ...harness.Record) {
	s.t.Helper()
	daemon := s.Start()
	if len(records) > 0 {
		s.Produce(records...)
	}
	s.WaitDrained(time.Minute)
	daemon.Term()
	if code := daemon.Wait(30 * time.Second); code != 0 {
		s.t.Fatalf("the daemon ends with %d", code)
	}
}

// A row that somebody has altered makes a hash collision of its own record, once
// that is read again. The row is still the record's: it is repaired, and the rejects
// at its position and at that of its duplicate are resolved.
func TestACollisionWithAnAlteredRow(t *testing.T) {
	s := newScene(t, 0, nil)
	s.store(deposit("deposits", 1), deposit("deposits", 2))
	s.store(deposit("deposits", 1)) // a duplicate
	good := s.content()
	s.exec("UPDATE dingir.deposits SET change = 500 WHERE user_id = 1")
	if exit, output := s.Command("positions", "set", "deposits", "0", "0", "--yes"); exit != 0 {
		t.Fatalf("positions set ends with %d: %s", exit, output)
	}
	s.store()
	if list := s.read("reason", "rejects")["rejects"]; len(list) != 2 || !strings.HasPrefix(list[0], "hash collision: ") {
		t.Fatalf("rejects %v, want two collisions", list)
	}
	report := s.replay(0, "--yes")
	if have := s.table(report, "deposits"); have.Different != 1 || have.Missing+have.Surplus != 0 {
		t.Errorf("%+v, want one different row", have)
	}
	if unresolved := s.read("resolved_at IS NULL", "rejects")["rejects"]; strings.Contains(strings.Join(unresolved, " "), "true") {
		t.Errorf("rejects are left: %v", unresolved)
	}
	after := s.content()
	delete(good, "rejects")
	s.same(good, after)
	if last := s.replay(0, "--dry-run"); last.Differences != 0 {
		t.Errorf("afterwards: %+v", last)
	}
	s.verify()
}

// The same bytes that come on another topic collide with the altered row, too.
// They stay a reject until somebody redrives it; the row's own record has its row.
func TestACollisionOnAnotherTopic(t *testing.T) {
	s := newScene(t, 0, nil)
	s.store(deposit("deposits", 1), deposit("deposits", 2))
	good := s.read("to_jsonb(t)", "deposits")
	s.exec("UPDATE dingir.deposits SET change = 500 WHERE user_id = 1")
	s.store(deposit("unifyevents", 1))
	ids := s.read("id", "rejects")["rejects"]
	if len(ids) != 1 {
		t.Fatalf("rejects %v, want one", ids)
	}
	report := s.replay(0, "--yes")
	if have := s.table(report, "deposits"); have.Different != 1 || have.Missing+have.Surplus != 0 {
		t.Errorf("%+v, want one different row", have)
	}
	s.same(good, s.read("to_jsonb(t)", "deposits"))
	if last := s.replay(0, "--dry-run"); last.Differences != 0 {
		t.Errorf("afterwards: %+v", last)
	}
	s.verify()
	if exit, output := s.Command("rejects", "redrive", ids[0]); exit != 0 {
		t.Errorf("redrive ends with %d: %s", exit, output)
	}
	if last := s.replay(0, "--dry-run"); last.Differences != 0 {
		t.Errorf("redriven: %+v", last)
	}
	s.verify()
}

// colliding returns two different records of internaltransfer of one identity
// and one xxHash64: the same lane takes other bytes in two stripes, such that its
// accumulator is the same behind them.
func colliding(t *testing.T) (a, b []byte) {
	t.Helper()
	const prime1, prime2 = uint64(0x9E3779B185EBCA87), uint64(0xC2B2AE3D27D4EB4F)
	inverse := uint64(1) // of prime2, by Newton's iteration
	for range 6 {
		inverse *= 2 - prime2*inverse
	}
	a = fmt.Appendf(nil, `{"time":1700000000.5,"user_from":1,"user_to":2,"asset":"ETH","amount":"1.50","signature":"%s"}`, strings.Repeat("s", 160))
	at := 0 // a stripe inside the signature
	for at < strings.Index(string(a), "ssss") {
		at += 32
	}
	lane := func(b []byte, i int) uint64 { return binary.LittleEndian.Uint64(b[i:]) }
	round := func(acc, lane uint64) uint64 { return bits.RotateLeft64(acc+lane*prime2, 31) * prime1 }
	sum := prime1 // in steps: the constants' sum overflows
	sum += prime2
	for i := 0; i < at; i += 32 {
		sum = round(sum, lane(a, i))
	}
	for n := range 1_000_000 {
		b = slices.Clone(a)
		copy(b[at:], fmt.Sprintf("%08d", n))
		second := lane(a, at+32) + (round(sum, lane(a, at))-round(sum, lane(b, at)))*inverse
		binary.LittleEndian.PutUint64(b[at+32:], second)
		if plain := func(c byte) bool { return c >= ' ' && c < 127 && c != '"' && c != '\\' }; !slices.ContainsFunc(b[at+32:at+40], func(c byte) bool { return !plain(c) }) {
			if xxhash.Sum64(a) != xxhash.Sum64(b) {
				t.Fatal("no collision")
			}
			return a, b
		}
	}
	t.Fatal("no collision found")
	return nil, nil
}

// Of two different records of one hash and identity the second stays a reject,
// also where the first one's row is altered and both are read again.
func TestATrueCollision(t *testing.T) {
	s := newScene(t, 0, nil)
	first, second := colliding(t)
	s.store(harness.Record{Topic: "internaltransfer", Key: []byte{}, Value: first},
		harness.Record{Topic: "internaltransfer", Key: []byte{}, Value: second})
	good := s.content()
	if len(good["rejects"]) != 1 || len(good["internal_transfers"]) != 1 || !strings.Contains(good["rejects"][0], "hash collision: ") {
		t.Fatalf("rejects %v, rows %v", good["rejects"], good["internal_transfers"])
	}
	if report := s.replay(0, "--dry-run"); report.Differences != 0 {
		t.Errorf("at first: %+v", report)
	}
	s.exec("UPDATE dingir.internal_transfers SET amount = 150")
	if report := s.replay(0, "--yes"); s.table(report, "internal_transfers").Different != 1 || report.Differences != 1 {
		t.Errorf("altered: %+v", report)
	}
	s.same(good, s.content())
	s.verify()

	s.exec("UPDATE dingir.internal_transfers SET amount = 150")
	if exit, output := s.Command("positions", "set", "internaltransfer", "0", "0", "--yes"); exit != 0 {
		t.Fatalf("positions set ends with %d: %s", exit, output)
	}
	s.store()
	s.replay(0, "--yes")
	after := s.content()
	s.same(map[string][]string{"internal_transfers": good["internal_transfers"]}, after)
	if n := s.read("resolved_at IS NULL", "rejects")["rejects"]; strings.Join(n, " ") != "false true" {
		t.Errorf("unresolved rejects: %v", n)
	}
	if last := s.replay(0, "--dry-run"); last.Differences != 0 {
		t.Errorf("afterwards: %+v", last)
	}
	s.verify()
}
