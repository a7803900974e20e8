package state

import (
	"runtime"
	"syscall"
	"testing"
)

// BenchmarkApply is what a reconstruction costs beside fetching: decoding an
// event of the engine's mix and applying it. BenchmarkDecode is the former
// alone. (Applying what was decoded beforehand would mostly measure how long
// memory takes to bring it back.)
func BenchmarkApply(b *testing.B) {
	measure(b, true)
}

// BenchmarkDecode is decoding alone.
func BenchmarkDecode(b *testing.B) {
	measure(b, false)
}

func measure(b *testing.B, apply bool) {
	log := dump(b, "engine-1.unify.jsonl.xz")
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu(b)
	for n := 0; n < b.N; {
		p := newPlayer(New(0))
		for i := 0; i < len(log) && n < b.N; i++ {
			if err := p.decoder.Unify(log[i].key, log[i].value, &p.unify); err != nil {
				b.Fatal(err)
			}
			if apply {
				p.Apply(int64(i), 0, &p.unify)
			}
			n++
		}
		if p.Mismatches() > 0 {
			b.Fatal(p.Checks())
		}
	}
	b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
}

// cpu is the processor time that the process has used, in ns: on a machine that
// others use too, it says more than the time that has passed.
func cpu(b testing.TB) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

func TestApplyAllocatesNextToNothing(t *testing.T) {
	log := dump(t, "engine-1.unify.jsonl.xz")
	warm := len(log) / 2
	p := newPlayer(New(0)).play(t, log[:warm])
	p.Committed()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	p.play(t, log)
	runtime.ReadMemStats(&after)
	// New users and slices that grow are allowed.
	if n := float64(after.Mallocs-before.Mallocs) / float64(len(log)-warm); n > 0.05 {
		t.Errorf("%.3f allocations per event", n)
	} else {
		t.Logf("%.3f allocations per event", n)
	}
}
