package state

import (
	"bytes"
	"testing"
)

// FuzzApply applies records as text, one a line: key, space, value. Whatever can
// be decoded must be survived, and money must add up.
func FuzzApply(f *testing.F) {
	log := dump(f, "real-2021-09.unify.jsonl.gz")
	for _, part := range [][]record{log[:12], log[20:60], log[100:130]} {
		var b []byte
		for _, r := range part {
			b = append(append(append(append(b, r.key...), ' '), r.value...), '\n')
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p := newPlayer(New(0))
		for i, line := range bytes.Split(text, []byte("\n")) {
			key, value, _ := bytes.Cut(line, []byte(" "))
			if err := p.decoder.Unify(key, value, &p.unify); err != nil {
				p.Unreadable(int64(i), 0)
				continue
			}
			p.Apply(int64(i), 0, &p.unify)
		}
		survived(t, p.State)
	})
}

// FuzzOrderOfRecords takes a script that deals with the records of a real log as
// it likes: two bytes a step.
func FuzzOrderOfRecords(f *testing.F) {
	log := dump(f, "real-2021-09.unify.jsonl.gz")
	f.Add([]byte{0, 50, 0, 10, 1, 3, 0, 100, 2, 0, 0, 200})
	f.Add([]byte{0, 199, 1, 60, 0, 20, 3, 1, 0, 90, 4, 9, 0, 10})
	f.Fuzz(func(t *testing.T, script []byte) {
		p, at, offset := newPlayer(New(0)), 0, int64(0)
		for ; len(script) >= 2 && offset < 2000; script = script[2:] {
			n := int(script[1])
			switch script[0] % 6 {
			case 0: // go on
				for range n {
					r := &log[at%len(log)]
					if err := p.decoder.Unify(r.key, r.value, &p.unify); err != nil {
						t.Fatal(err)
					}
					p.Apply(offset, 0, &p.unify)
					at, offset = at+1, offset+1
				}
			case 1: // go back
				at = max(0, at-n)
			case 2: // leave out
				at += n
			case 3: // a gap
				p.Gap(offset, offset+int64(n), [...]string{"control", "lost"}[n%2])
				offset += int64(n) + 1
			case 4:
				p.Unreadable(offset, 0)
				offset++
			case 5: // a restart
				p = newPlayer(restored(t, snapshotOf(t, p.State)))
			}
			survived(t, p.State)
		}
	})
}

func survived(t *testing.T, s *State) {
	t.Helper()
	money(t, s)
	again, err := readContents(s.contents())
	if err != nil {
		t.Fatal(err)
	}
	same(t, again, s)
}
