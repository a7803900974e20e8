package fetch

// shrinkAfter is how many fetches a buffer may stay larger than four times what
// they needed. Long enough that a busy partition's buffer stays, short enough
// that one 10 MiB message is forgotten within seconds on a quiet one.
const shrinkAfter = 16

// smallest is not worth giving back.
const smallest = 64 << 10

// memory is one buffer that grows to what is needed and is given back when it
// has not been needed for a while.
type memory struct {
	buf   []byte
	peak  int // most bytes needed since the last look
	ticks int
}

// take returns an empty slice with room for n bytes; it replaces what take
// returned before.
func (m *memory) take(n int) []byte {
	m.peak = max(m.peak, n)
	if cap(m.buf) < n {
		// A quarter of slack, so that answers that grow bit by bit do not each
		// take new memory.
		m.buf = make([]byte, 0, max(n+n/4, smallest))
	}
	return m.buf[:0]
}

// keep accepts back what was taken, perhaps grown into other memory since.
func (m *memory) keep(b []byte) {
	m.peak = max(m.peak, len(b))
	if cap(b) > cap(m.buf) {
		m.buf = b[:0]
	}
}

// tick is called once per fetch, when nobody looks at the memory any more.
func (m *memory) tick() {
	if m.ticks++; m.ticks < shrinkAfter {
		return
	}
	if cap(m.buf) > max(4*m.peak, 2*smallest) {
		m.buf = nil
	}
	m.peak, m.ticks = 0, 0
}
