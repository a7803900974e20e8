package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/cespare/xxhash/v2"
)

func snapshotOf(t testing.TB, s *State) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.WriteSnapshot(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func restored(t testing.TB, snapshot []byte) *State {
	t.Helper()
	s, err := ReadSnapshot(bytes.NewReader(snapshot))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// same compares two states in everything: what they show, and what they keep for
// what is to come.
func same(t testing.TB, got, want *State) {
	t.Helper()
	if a, b := got.contents(), want.contents(); !bytes.Equal(a, b) {
		var x, y bytes.Buffer
		if err := errors.Join(got.WriteJSON(&x, Filter{}), want.WriteJSON(&y, Filter{})); err != nil {
			t.Fatal(err)
		}
		t.Fatalf("states at %d and %d differ: shown alike: %v, contents of %d and %d bytes", got.Next(), want.Next(), bytes.Equal(x.Bytes(), y.Bytes()), len(a), len(b))
	}
}

func TestSnapshotAndTailAtEveryOffset(t *testing.T) {
	log := dump(t, "real-2021-09.unify.jsonl.gz")
	whole := newPlayer(New(0)).play(t, log)
	s := newPlayer(New(0))
	for i := range len(log) + 1 {
		s.play(t, log[:i])
		tail := newPlayer(restored(t, snapshotOf(t, s.State)))
		same(t, tail.State, s.State)
		same(t, tail.play(t, log).State, whole.State)
	}
}

// Where a snapshot taken from a snapshot and its tail is the one taken from the
// whole log, all of them are.
func chain(t *testing.T, log []record, offsets []int) {
	t.Helper()
	whole, chained := newPlayer(New(0)), newPlayer(New(0))
	slices.Sort(offsets)
	for _, i := range offsets {
		whole.play(t, log[:i])
		chained.play(t, log[:i])
		contents := whole.contents()
		if !bytes.Equal(contents, chained.contents()) {
			same(t, chained.State, whole.State)
		}
		s, err := readContents(contents)
		if err != nil {
			t.Fatalf("offset %d: %v", i, err)
		}
		chained = newPlayer(s)
	}
	whole.play(t, log)
	same(t, chained.play(t, log).State, whole.State)
}

func TestSnapshotAndTailAtRandomOffsets(t *testing.T) {
	log := dump(t, "engine-1.unify.jsonl.xz")
	random := rand.New(rand.NewPCG(1, 2))
	n := 25
	if os.Getenv("PERSISTOR_STATE") == "full" {
		n = 1000
	}
	offsets := make([]int, n)
	for i := range offsets {
		offsets[i] = random.IntN(len(log))
	}
	chain(t, log, offsets)
	s := newPlayer(New(0)).play(t, log)
	t.Logf("%d bytes of snapshot, %d unpacked", len(snapshotOf(t, s.State)), len(s.contents()))
}

// An order that its trades fill more than whole, whose end is missing and which no
// state around a trade puts right, ends with its operation: so late that it once
// left an account out of the checks, but not in who had read a snapshot meanwhile.
func TestSnapshotAndTailWithOverfilledOrders(t *testing.T) {
	for seed := range uint64(3) {
		random := rand.New(rand.NewPCG(seed, 77))
		_, whole := simulate(t, randomConfig(random), 800)
		var log []record
		overfilled := 0
		for _, r := range whole {
			states := bytes.Index(r.value, []byte(`,"state_before"`))
			if states >= 0 {
				r.value = append(bytes.Clone(r.value[:states]), '}')
				if random.IntN(10) == 0 {
					r.value = bytes.Replace(r.value, []byte(`"amount":"`), []byte(`"amount":"9`), 1)
					overfilled++
				}
			}
			if bytes.Contains(r.value, []byte(`"event":"FINISH"`)) && random.IntN(3) == 0 {
				continue
			}
			log = append(log, r)
		}
		offsets := make([]int, 20)
		for i := range offsets {
			offsets[i] = random.IntN(len(log))
		}
		chain(t, log, offsets)
		if s := newPlayer(New(0)).play(t, log); overfilled == 0 || failures(s.State)["negative"] == 0 {
			t.Errorf("seed %d: %d trades are too large, %v", seed, overfilled, failures(s.State))
		}
	}
}

func TestSnapshotIsRefused(t *testing.T) {
	good := snapshotOf(t, newPlayer(New(0)).play(t, dump(t, "real-2021-09.unify.jsonl.gz")).State)
	resigned := func(change func(b []byte)) []byte {
		b := slices.Clone(good)
		change(b)
		binary.BigEndian.PutUint64(b[len(b)-8:], xxhash.Sum64(b[:len(b)-8]))
		return b
	}
	flipped := func(at int) []byte {
		b := slices.Clone(good)
		b[at] ^= 4
		return b
	}
	version := len(snapshotMagic) + 3
	tests := map[string]struct {
		in   []byte
		want error
	}{
		"empty":              {nil, ErrSnapshotDamaged},
		"cut off":            {good[:len(good)-1], ErrSnapshotDamaged},
		"longer":             {append(slices.Clone(good), 0), ErrSnapshotDamaged},
		"flipped in front":   {flipped(3), ErrSnapshotDamaged},
		"flipped within":     {flipped(len(good) / 2), ErrSnapshotDamaged},
		"flipped at the end": {flipped(len(good) - 1), ErrSnapshotDamaged},
		"flipped version":    {flipped(version), ErrSnapshotDamaged},
		"newer":              {resigned(func(b []byte) { b[version] = snapshotVersion + 1 }), ErrSnapshotVersion},
		"older":              {resigned(func(b []byte) { b[version] = snapshotVersion - 1 }), ErrSnapshotVersion},
		"not compressed":     {resigned(func(b []byte) { b[version+1] ^= 1 }), ErrSnapshotDamaged},
	}
	for name, test := range tests {
		if _, err := ReadSnapshot(bytes.NewReader(test.in)); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
	contents := restored(t, good).contents()
	for i := 0; i < len(contents); i += 29 {
		if _, err := readContents(contents[:i]); !errors.Is(err, ErrSnapshotDamaged) {
			t.Fatalf("%d of %d bytes of contents: %v", i, len(contents), err)
		}
	}
}

func TestEmptySnapshot(t *testing.T) {
	s := New(17)
	same(t, restored(t, snapshotOf(t, s)), s)
	if r := restored(t, snapshotOf(t, s)); r.Complete() || r.Base() != 17 || r.Next() != 17 {
		t.Errorf("complete %v, base %d, next %d", r.Complete(), r.Base(), r.Next())
	}
}

func FuzzReadSnapshot(f *testing.F) {
	log := dump(f, "real-2021-09.unify.jsonl.gz")
	s := newPlayer(New(0))
	for _, i := range []int{0, 7, 60, 200} {
		s.play(f, log[:i])
		f.Add(s.contents())
	}
	f.Fuzz(func(t *testing.T, contents []byte) {
		s, err := readContents(contents)
		if err != nil {
			return
		}
		again, err := readContents(s.contents())
		if err != nil {
			t.Fatal(err)
		}
		same(t, again, s)
	})
}
