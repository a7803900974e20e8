package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/thaliumx/persistor/internal/fetch"
)

func TestMedian(t *testing.T) {
	for name, c := range map[string]struct {
		values []float64
		want   float64
	}{
		"one":  {[]float64{3}, 3},
		"odd":  {[]float64{9, 1, 2}, 2},
		"even": {[]float64{4, 1, 2, 9}, 3},
	} {
		if got := median(c.values); got != c.want {
			t.Errorf("%s: median %v, want %v", name, got, c.want)
		}
	}
}

func TestContestRepeatsTheBest(t *testing.T) {
	var c contest
	for round, times := range [trials][]float64{{4, 2.5, 2.2}, {4, 2, 3}} {
		if got := c.candidates(1, 3); !slices.Equal(got, []int{1, 2, 3}) {
			t.Fatalf("round %d %v, want all numbers of connections", round, got)
		}
		for n, seconds := range times {
			if err := c.add(n+1, func() (float64, error) { return seconds, nil }); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := c.candidates(1, 3); !slices.Equal(got, []int{2}) {
		t.Fatalf("then %v, want the fastest", got)
	}
	c.single = true
	if got := c.candidates(1, 3); !slices.Equal(got, []int{1, 2}) {
		t.Fatalf("then %v, want one and the fastest", got)
	}
	if f := c.figures(100); f.Single != 25 || f.Connections != 2 || f.Best != 50 || f.ByConnections[1] != 25 {
		t.Errorf("figures %+v", f)
	}
}

// Rows are counted by the line ends that are not inside of a field, wherever
// the stream is cut into writes.
func TestSplitterCutsAtRows(t *testing.T) {
	const csv = "1,\"a\nb\"\n2,\"say \"\"x\"\"\n\"\n3,c\n"
	for size := 1; size <= len(csv); size++ {
		path := filepath.Join(t.TempDir(), "t")
		w := &splitter{path: path, rows: 2}
		for part := range slices.Chunk([]byte(csv), size) {
			if _, err := w.Write(part); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.close(); err != nil {
			t.Fatal(err)
		}
		first, err1 := os.ReadFile(path + ".0001.csv")
		second, err2 := os.ReadFile(path + ".0002.csv")
		if err1 != nil || err2 != nil || string(first)+string(second) != csv || string(second) != "3,c\n" {
			t.Fatalf("writes of %d bytes: files %q and %q (%v, %v)", size, first, second, err1, err2)
		}
	}
}

func TestLatencies(t *testing.T) {
	start := time.Now()
	after := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	w := where{"orders", 1}
	list := []sent{{w, 10, 2, start}, {w, 12, 1, after(5)}}
	got, err := latencies(list, map[where][]seen{w: {{11, after(4)}, {13, after(9)}}})
	if err != nil || !slices.Equal(got, []float64{4, 4, 9}) {
		t.Errorf("latencies %v (%v), want 4, 4 and 9 ms", got, err)
	}
	if _, err := latencies(list, map[where][]seen{w: {{11, after(4)}}}); err == nil {
		t.Error("a record that was never seen is no error")
	}
}

func TestSharesAreEven(t *testing.T) {
	var l backlog
	for i := range 6 {
		l.partitions = append(l.partitions, logPartition{topic: "orders", Want: fetch.Want{Partition: int32(i)}, end: 10})
	}
	l.partitions = append(l.partitions, logPartition{topic: "unifyevents", end: 50})
	for _, share := range l.share(2) {
		if n := len(share); n < 3 || n > 4 {
			t.Errorf("a connection has %d of 7 partitions", n)
		}
	}
}
