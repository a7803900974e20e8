package main

import "slices"

// contest finds out with how many connections something is fastest, which the
// daemon has one of for each worker: the first rounds try all numbers, the others
// repeat the best.
type contest struct {
	single bool // one connection is of interest by itself, hence repeated too

	times map[int][]float64 // seconds, by connections
}

// trials is how many rounds try all numbers: a single one is decided by how fast the
// machine just was.
const trials = 2

// candidates are the numbers that the next round is to try.
func (c *contest) candidates(least, most int) []int {
	if len(c.times[least]) >= trials {
		if c.single {
			return slices.Compact([]int{1, c.best()})
		}
		return []int{c.best()}
	}
	var list []int
	for n := least; n <= most; n++ {
		list = append(list, n)
	}
	return list
}

func (c *contest) add(n int, run func() (float64, error)) error {
	seconds, err := run()
	if err != nil {
		return err
	}
	if c.times == nil {
		c.times = map[int][]float64{}
	}
	c.times[n] = append(c.times[n], seconds)
	return nil
}

func (c *contest) best() int {
	best := 0
	for n, times := range c.times {
		if best == 0 || slices.Min(times) < slices.Min(c.times[best]) {
			best = n
		}
	}
	return best
}

// contestFigures are records per second.
type contestFigures struct {
	Connections   int             `json:"connections"` // with which it was fastest
	Single        float64         `json:"records_per_second_single_median"`
	BestSingle    float64         `json:"records_per_second_single_best"`
	Median        float64         `json:"records_per_second_median"`
	Best          float64         `json:"records_per_second_best"`
	ByConnections map[int]float64 `json:"records_per_second_best_by_connections"`
}

func (c *contest) figures(records int64) *contestFigures {
	if len(c.times) == 0 {
		return nil
	}
	f := &contestFigures{Connections: c.best(), ByConnections: map[int]float64{}}
	for n, times := range c.times {
		f.ByConnections[n] = float64(records) / slices.Min(times)
	}
	if single := c.times[1]; len(single) > 0 {
		f.Single, f.BestSingle = float64(records)/median(single), f.ByConnections[1]
	}
	f.Best = f.ByConnections[f.Connections]
	f.Median = float64(records) / median(c.times[f.Connections])
	return f
}

// median of an even number of values is the mean of the middle two.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
