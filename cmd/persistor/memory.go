package main

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// memoryLimit makes the collector work harder rather than the process grow: what
	// is live is some buffers a worker, and the state.
	memoryLimit = 180 << 20
	memoryRoom  = 40 << 20 // beyond what is live; hardly anything is allocated for good
	memoryEvery = 2 * time.Second
)

// limitFor is the limit for so many live bytes. The state of a large exchange alone
// can be beyond memoryLimit, where the collector would never rest.
func limitFor(live uint64) int64 { return max(memoryLimit, int64(live+memoryRoom)) }

// limitMemory bounds the process's memory until stop is called, unless GOMEMLIMIT
// does.
func limitMemory() (stop func()) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	debug.SetMemoryLimit(memoryLimit)
	ended := make(chan struct{})
	go func() {
		ticker := time.NewTicker(memoryEvery)
		defer ticker.Stop()
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		for {
			select {
			case <-ticker.C:
				metrics.Read(live)
				debug.SetMemoryLimit(limitFor(live[0].Value.Uint64()))
			case <-ended:
				return
			}
		}
	}()
	return func() { close(ended) }
}
