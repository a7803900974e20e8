package main

import (
	"math"
	"runtime/debug"
	"runtime/metrics"
	"testing"
)

func TestMemoryLimitFollowsWhatIsLive(t *testing.T) {
	for live, want := range map[uint64]int64{0: 180, 140: 180, 150: 190, 400: 440} {
		if got := limitFor(live<<20) >> 20; got != want {
			t.Errorf("%d MiB live: a limit of %d MiB, want %d", live, got, want)
		}
	}
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	limitMemory()()
	if got := debug.SetMemoryLimit(-1); got != memoryLimit {
		t.Errorf("the limit is %d", got)
	}
	debug.SetMemoryLimit(math.MaxInt64)
	t.Setenv("GOMEMLIMIT", "1GiB")
	limitMemory()()
	if got := debug.SetMemoryLimit(-1); got != math.MaxInt64 {
		t.Errorf("beside GOMEMLIMIT the limit is set to %d", got)
	}
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	if metrics.Read(sample); sample[0].Value.Kind() != metrics.KindUint64 {
		t.Error("the runtime does not tell what is live")
	}
}
