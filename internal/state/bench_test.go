package state

import (
	"syscall"
	"testing"

	"github.com/thaliumx/persistor/internal/event"
)

// BenchmarkApply is the cost of an average event of the engine's mix, decoding
// not included: the records are decoded beforehand.
func BenchmarkApply(b *testing.B) {
	log := dump(b, "engine-1.unify.jsonl.xz")
	decoders := make([]event.Decoder, len(log))
	decoded := make([]event.Unify, len(log))
	for i := range log {
		if err := decoders[i].Unify(log[i].key, log[i].value, &decoded[i]); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu(b)
	for n := 0; n < b.N; {
		s := New(0)
		for i := 0; i < len(log) && n < b.N; i++ {
			s.Apply(int64(i), 0, &decoded[i])
			n++
		}
		if s.Mismatches() > 0 {
			b.Fatal(s.Checks())
		}
	}
	b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
}

// cpu is the processor time that the process has used, in ns: on a machine that
// others use too, it says more than the time that has passed.
func cpu(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
