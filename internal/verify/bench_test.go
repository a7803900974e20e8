package verify

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/exchange"
)

// BenchmarkVerify audits the rows and archived records of an exchange, in the
// engine's mix, over one connection. rows/s are of the clock; the other figures
// are CPU time a row, of this process and of the database's sessions, where
// those run on this machine.
func BenchmarkVerify(b *testing.B) {
	f := newFeed(b, func(c *exchange.Config) { c.Users = 200 })
	f.snapshots = 60 // one, as of half a million records in earnest
	f.operate(40_000)
	f.sql("VACUUM ANALYZE")
	for b.Loop() {
		server := watchSessions(b, f)
		before := processTime(b)
		begun := time.Now()
		var rows int64
		r, err := Verify(b.Context(), Options{Database: f.o, Connections: 1, Progress: func(p Progress) { rows = p.Rows }})
		if err != nil || r.Total != 0 {
			b.Fatalf("%v, %v", r.Differences, err)
		}
		own := processTime(b) - before
		b.ReportMetric(float64(rows)/time.Since(begun).Seconds(), "rows/s")
		b.ReportMetric(float64(rows), "rows")
		b.ReportMetric(float64(own.Nanoseconds())/float64(rows), "own-ns/row")
		b.ReportMetric(float64(server().Nanoseconds())/float64(rows), "server-ns/row")
	}
}

func processTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// watchSessions adds up the CPU time of the database's sessions until the
// function that it returns is called.
func watchSessions(b *testing.B, f *feed) func() time.Duration {
	stop, done := make(chan struct{}), make(chan struct{})
	times := map[int32]time.Duration{}
	var once sync.Once
	go func() {
		defer close(done)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		var pids []int32
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			if n%2 == 0 {
				rows, err := f.conn.Query(b.Context(), "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
				if err == nil {
					pids, _ = pgx.CollectRows(rows, pgx.RowTo[int32])
				}
			}
			for _, pid := range pids {
				if t, ok := cpuOf(pid); ok {
					times[pid] = t
				}
			}
		}
	}()
	return func() (sum time.Duration) {
		once.Do(func() { close(stop) })
		<-done
		for _, t := range times {
			sum += t
		}
		return sum
	}
}

// cpuOf reads a process's time from /proc, in ticks of 10 ms.
func cpuOf(pid int32) (time.Duration, bool) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0, false
	}
	user, _ := strconv.ParseInt(string(fields[11]), 10, 64)
	system, _ := strconv.ParseInt(string(fields[12]), 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond, true
}
