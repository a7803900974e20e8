package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/zstd"
)

// A snapshot is magic, version, the compressed contents, and the xxHash64 of all
// that, big-endian. The contents have no timestamps and no order of chance: the
// same state gives the same bytes.

const snapshotMagic = "persistor state\n"

// snapshotVersion is raised with every change of the contents, and of the rules
// that give them: a state built by other rules must not be continued.
const snapshotVersion = 13

// maxSnapshot bounds what a snapshot may unpack to, so that a damaged one does
// not take all memory.
const maxSnapshot = 8 << 30

var (
	// ErrSnapshotDamaged says that a snapshot is not what was written.
	ErrSnapshotDamaged = errors.New("the snapshot of the state is damaged")

	// ErrSnapshotVersion says that a snapshot is of another version. What it
	// holds can be had by reading the log again.
	ErrSnapshotVersion = errors.New("the snapshot of the state is of another version")
)

// WriteSnapshot writes the whole state, what is needed for an undo included, so
// that ReadSnapshot and the records from Next on give what the whole log gives.
// Errors are those of w.
func (s *State) WriteSnapshot(w io.Writer) error {
	packer, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return fmt.Errorf("write a snapshot of the state: %w", err)
	}
	out := append([]byte(snapshotMagic), 0, 0, 0, 0)
	binary.BigEndian.PutUint32(out[len(snapshotMagic):], snapshotVersion)
	out = packer.EncodeAll(s.contents(), out)
	out = binary.BigEndian.AppendUint64(out, xxhash.Sum64(out))
	if _, err := w.Write(out); err != nil {
		return fmt.Errorf("write a snapshot of the state: %w", err)
	}
	return nil
}

// ReadSnapshot reads what WriteSnapshot wrote, to the end of r. The error is
// ErrSnapshotDamaged, ErrSnapshotVersion or that of r. Everything in it counts as
// changed until Committed.
func ReadSnapshot(r io.Reader) (*State, error) {
	in, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read a snapshot of the state: %w", err)
	}
	const head = len(snapshotMagic) + 4
	if len(in) < head+8 || string(in[:len(snapshotMagic)]) != snapshotMagic {
		return nil, fmt.Errorf("%w: it does not begin as one does, or is cut off (%d bytes)", ErrSnapshotDamaged, len(in))
	}
	body := in[:len(in)-8]
	if xxhash.Sum64(body) != binary.BigEndian.Uint64(in[len(body):]) {
		return nil, fmt.Errorf("%w: its checksum is wrong", ErrSnapshotDamaged)
	}
	if v := binary.BigEndian.Uint32(in[len(snapshotMagic):]); v != snapshotVersion {
		return nil, fmt.Errorf("%w: %d, this program reads %d", ErrSnapshotVersion, v, snapshotVersion)
	}
	unpacker, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxSnapshot))
	if err != nil {
		return nil, fmt.Errorf("read a snapshot of the state: %w", err)
	}
	defer unpacker.Close()
	contents, err := unpacker.DecodeAll(body[head:], nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSnapshotDamaged, err)
	}
	return readContents(contents)
}

func (s *State) contents() []byte {
	c := &codec{}
	s.code(c)
	return c.buffer
}

func readContents(contents []byte) (*State, error) {
	s := New(0)
	c := &codec{reading: true, buffer: contents}
	s.code(c)
	if c.err == nil && len(c.buffer) > 0 {
		c.fail()
	}
	if c.err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSnapshotDamaged, c.err)
	}
	return s, nil
}
