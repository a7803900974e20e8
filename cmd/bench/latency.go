package main

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/segmentio/kafka-go"
	"golang.org/x/sync/errgroup"
)

// latencyFigures are milliseconds from the producer's call to the first look at
// the ledger that shows the record committed. A look comes some 2 ms after the
// last, so up to as much of each figure is the prober's.
type latencyFigures struct {
	Records int     `json:"records"`
	Rate    float64 `json:"records_per_second"`
	P50     float64 `json:"p50_ms"`
	P90     float64 `json:"p90_ms"`
	P99     float64 `json:"p99_ms"`
	P999    float64 `json:"p999_ms"`
	Max     float64 `json:"max_ms"`
	Load    string  `json:"load_average"`

	// What a machine that is busy with others still tells: the CPU seconds of the
	// run, its warm-up included, and the transactions that they went into.
	Batches  int     `json:"batches"`
	Daemon   float64 `json:"daemon_cpu_seconds"`
	Sessions float64 `json:"database_cpu_seconds"` // of the daemon's sessions
	Broker   float64 `json:"broker_cpu_seconds"`
	Bench    float64 `json:"bench_cpu_seconds"` // producer and prober
}

const (
	// pace is how often records are sent; those of one pace go together, and of each
	// topic to one partition: the engine's producer lingers for 1 ms and keeps the
	// partition of records without a key for 2 (wire format, section 1.1). Requests as
	// small as that would take most of two cores for themselves.
	pace = 5 * time.Millisecond
	// probe is the pause between two looks at the ledger.
	probe = 2 * time.Millisecond
	// warmUp comes before the steady run and does not count: the broker's virtual
	// machine compiles what the first produce requests need. Right after its start
	// that takes so much of two cores that they fall behind for some ten seconds.
	warmUp = 20 * time.Second
)

// where is one partition.
type where struct {
	topic     string // full name
	partition int
}

// sent is what one produce request carried: records first to first+n-1.
type sent struct {
	where
	first int64
	n     int
	at    time.Time
}

// seen is a ledger's move, when it was first seen.
type seen struct {
	next int64
	at   time.Time
}

// measureLatency has the daemon drain the backlog, so that the tables are not
// empty, and then the exchange go on at the present time and a steady rate.
func (b *bench) measureLatency(ctx context.Context) error {
	say("latency: %d records/s for %v", b.rate, b.paced)
	database, err := b.database(ctx)
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	d, err := b.startDaemon(ctx, database)
	if err != nil {
		return err
	}
	defer d.kill()
	for stored := int64(0); stored < b.total; time.Sleep(poll) {
		if stored, err = storedRecords(ctx, conn); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if err := b.checkpoint(ctx); err != nil {
		return err
	}
	probing, stopProbing := context.WithCancel(ctx)
	defer stopProbing()
	before, err := b.usage(ctx, conn, d)
	if err != nil {
		return err
	}
	var moves map[where][]seen
	var batches int
	var group errgroup.Group
	var expected sync.Map // where -> the end of what has been sent
	done := make(chan struct{})
	group.Go(func() (err error) {
		moves, batches, err = watchLedger(probing, conn, &expected, done)
		return err
	})
	steady := time.Now().Add(warmUp)
	list, err := b.producePaced(ctx, &expected)
	took := time.Since(steady)
	close(done)
	if err != nil {
		stopProbing()
		return errors.Join(err, group.Wait())
	}
	time.AfterFunc(10*time.Second, stopProbing)
	if err := group.Wait(); err != nil {
		return err
	}
	after, err := b.usage(ctx, conn, d)
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(s sent) bool { return s.at.Before(steady) })
	values, err := latencies(list, moves)
	if err != nil {
		return err
	}
	at := func(q float64) float64 { return values[min(len(values)-1, int(q*float64(len(values))))] }
	b.report.Latency = &latencyFigures{Records: len(values), Rate: float64(len(values)) / took.Seconds(),
		P50: at(.5), P90: at(.9), P99: at(.99), P999: at(.999), Max: at(1), Load: loadAverage(),
		Batches: batches, Daemon: after.daemon - before.daemon, Sessions: after.sessions - before.sessions,
		Broker: after.broker - before.broker, Bench: after.bench - before.bench}
	return d.stop()
}

// usage is the CPU seconds so far of all that take part.
type usage struct{ daemon, sessions, broker, bench float64 }

func (b *bench) usage(ctx context.Context, conn *pgx.Conn, d *daemon) (u usage, err error) {
	u.sessions, err = sessionSeconds(ctx, conn)
	u.daemon, u.broker, u.bench = cpuSeconds(d.cmd.Process.Pid), cpuSeconds(b.broker), cpuSeconds(os.Getpid())
	return u, err
}

// producePaced sends an exchange's records at the rate, one request a partition
// and pace, and does not wait for one answer before it sends the next pace's.
func (b *bench) producePaced(ctx context.Context, expected *sync.Map) ([]sent, error) {
	transport, err := b.config.Kafka.Transport(b.topicNames())
	if err != nil {
		return nil, err
	}
	defer transport.CloseIdleConnections()
	client := b.config.Kafka.Client(transport)
	log, err := b.openLog(ctx)
	if err != nil {
		return nil, err
	}
	defer log.close()
	counts := map[string]int{}
	for _, p := range log.partitions {
		counts[p.Topic]++
	}
	x, err := b.exchangeSoFar()
	if err != nil {
		return nil, err
	}

	var mu sync.Mutex
	var list []sent
	queues := map[where]chan batchToSend{}
	group, groupCtx := errgroup.WithContext(ctx)
	finish := func() {
		for _, q := range queues {
			close(q)
		}
	}
	started := time.Now()
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for records := 0; time.Since(started) < warmUp+b.paced; {
		pending, kept := map[where][]kafka.Record{}, map[string]int{}
		x.AdvanceTo(time.Now())
		for float64(records) < time.Since(started).Seconds()*float64(b.rate) {
			for _, m := range x.Step() {
				topic := b.config.Kafka.TopicPrefix + m.Topic
				w := where{topic, int(crc32.ChecksumIEEE(m.Key) % uint32(counts[topic]))}
				if len(m.Key) == 0 {
					if _, ok := kept[topic]; !ok {
						kept[topic] = rand.IntN(counts[topic])
					}
					w.partition = kept[topic]
				}
				pending[w] = append(pending[w], kafka.Record{Time: m.Time, Key: kafka.NewBytes(m.Key), Value: kafka.NewBytes(m.Value)})
				records++
			}
		}
		for w, records := range pending {
			q := queues[w]
			if q == nil {
				q = make(chan batchToSend, 1024)
				queues[w] = q
				group.Go(func() error {
					for batch := range q {
						answer, err := client.Produce(groupCtx, &kafka.ProduceRequest{Topic: w.topic, Partition: w.partition,
							RequiredAcks: kafka.RequireAll, Compression: kafka.Snappy, Records: kafka.NewRecordReader(batch.records...)})
						if err == nil {
							err = answer.Error
						}
						if err != nil {
							return fmt.Errorf("write to %s partition %d: %w", w.topic, w.partition, err)
						}
						expected.Store(w, answer.BaseOffset+int64(len(batch.records)))
						mu.Lock()
						list = append(list, sent{w, answer.BaseOffset, len(batch.records), batch.at})
						mu.Unlock()
					}
					return nil
				})
			}
			select {
			case q <- batchToSend{records, time.Now()}:
			case <-groupCtx.Done():
				finish()
				return nil, group.Wait()
			}
		}
		<-tick.C
	}
	finish()
	err = group.Wait()
	return list, err
}

type batchToSend struct {
	records []kafka.Record
	at      time.Time
}

// watchLedger notes when each position of the ledger is first seen, until all
// that was sent is stored, and counts the transactions that it sees.
func watchLedger(ctx context.Context, conn *pgx.Conn, expected *sync.Map, done <-chan struct{}) (map[where][]seen, int, error) {
	moves := map[where][]seen{}
	last := map[where]int64{}
	batches := map[string]bool{}
	for {
		rows, err := conn.Query(ctx, "SELECT topic, partition, next_offset, xmin::text FROM dingir.ledger")
		if err != nil {
			return nil, 0, err
		}
		var w where
		var next int64
		var transaction string
		_, err = pgx.ForEachRow(rows, []any{&w.topic, &w.partition, &next, &transaction}, func() error {
			if next != last[w] {
				last[w] = next
				moves[w] = append(moves[w], seen{next, time.Now()})
				batches[transaction] = true
			}
			return nil
		})
		if err != nil {
			return nil, 0, err
		}
		select {
		case <-done:
			missing := false
			expected.Range(func(w, end any) bool {
				missing = last[w.(where)] < end.(int64)
				return !missing
			})
			if !missing {
				return moves, len(batches), nil
			}
		default:
		}
		time.Sleep(probe)
	}
}

// latencies matches each record with the first look that showed it, and returns
// the sorted times in between in ms.
func latencies(list []sent, moves map[where][]seen) ([]float64, error) {
	var values []float64
	for _, s := range list {
		for n := range s.n {
			offset := s.first + int64(n)
			m := moves[s.where]
			i, _ := slices.BinarySearchFunc(m, offset+1, func(m seen, next int64) int { return int(m.next - next) })
			if i == len(m) {
				return nil, fmt.Errorf("%s partition %d: offset %d was never seen stored", s.topic, s.partition, offset)
			}
			values = append(values, float64(m[i].at.Sub(s.at).Microseconds())/1000)
		}
	}
	slices.Sort(values)
	return values, nil
}
