package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/thaliumx/persistor/internal/exchange"
	"github.com/thaliumx/persistor/internal/fetch"
	"github.com/thaliumx/persistor/internal/topics"
)

// exchangeInterval is short enough that an exchange at the latency run's rate does
// not outrun the clock.
const exchangeInterval = 500 * time.Microsecond

// exchangeSoFar is the exchange that made the backlog, to go on from there: another
// one would use the same ids for other orders, and the daemon looks each of those up.
func (b *bench) exchangeSoFar() (*exchange.Exchange, error) {
	c := exchange.DefaultConfig()
	c.Start, c.Interval = b.started, exchangeInterval
	x, err := exchange.New(c)
	if err != nil {
		return nil, err
	}
	for records := 0; records < b.records; {
		records += len(x.Step())
	}
	return x, nil
}

// makeBacklog creates the topics as documented and has a simulated exchange
// fill them as fast as it can.
func (b *bench) makeBacklog(ctx context.Context) error {
	say("topics %s* and a backlog of %d records", b.config.Kafka.TopicPrefix, b.records)
	const recordsPerOperation = 5
	b.started = time.Now().Add(-time.Duration(b.records/recordsPerOperation) * exchangeInterval).Truncate(time.Second)
	create := b.program(ctx, b.server.String(), "persistor", "topics", "create")
	if out, err := create.CombinedOutput(); err != nil {
		return fmt.Errorf("persistor topics create: %w: %s", err, bytes.TrimSpace(out))
	}
	if err := b.awaitLeaders(ctx); err != nil {
		return err
	}
	produce := b.program(ctx, b.server.String(), "simexchange",
		"--brokers", b.config.Kafka.Brokers[0], "--topic-prefix", b.config.Kafka.TopicPrefix, "--records", fmt.Sprint(b.records),
		"--start", b.started.Format(time.RFC3339), "--interval", exchangeInterval.String())
	produce.Stdout = os.Stderr
	var complaint bytes.Buffer
	produce.Stderr = &complaint
	if err := produce.Run(); err != nil {
		return fmt.Errorf("simexchange: %w: %s", err, bytes.TrimSpace(complaint.Bytes()))
	}
	if err := b.addBig(ctx); err != nil {
		return err
	}
	log, err := b.openLog(ctx)
	if err != nil {
		return err
	}
	defer log.close()
	for _, p := range log.partitions {
		b.total += p.end
	}
	b.report.Records = b.total
	return nil
}

// awaitLeaders waits until every new partition can be read: brokers show a
// leader a moment before it takes up its office.
func (b *bench) awaitLeaders(ctx context.Context) error {
	for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(poll) {
		log, err := b.openLog(ctx)
		if err == nil {
			log.close()
			return nil
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return err
		}
	}
}

// addBig adds big records to every other partition of orders and balances. Half
// of them are rejects, with all their bytes; the others are rows of which an
// unknown field is nearly all. Their text hardly compresses.
func (b *bench) addBig(ctx context.Context) error {
	if b.big == 0 {
		return nil
	}
	say("%d records of %d bytes besides", b.big, b.bigBytes)
	transport, err := b.config.Kafka.Transport(b.topicNames())
	if err != nil {
		return err
	}
	defer transport.CloseIdleConnections()
	client := b.config.Kafka.Client(transport)
	random := rand.New(rand.NewPCG(1, 2))
	raw := make([]byte, b.bigBytes*3/4-1024)
	for n := range b.big {
		for i := range raw {
			raw[i] = byte(random.Uint32())
		}
		head := `{"nonsense":"`
		if n%2 == 0 {
			head = fmt.Sprintf(`{"timestamp":1700000000.5,"user_id":%d,"asset":"BTC","business":"big","change":"1","balance":"1","ignored":"`, n)
		}
		value := base64.StdEncoding.AppendEncode([]byte(head), raw)
		answer, err := client.Produce(ctx, &kafka.ProduceRequest{
			Topic: b.config.Kafka.TopicPrefix + topics.Balances, Partition: n % 3, RequiredAcks: kafka.RequireAll, Compression: kafka.Snappy,
			Records: kafka.NewRecordReader(kafka.Record{Key: kafka.NewBytes([]byte{}), Value: kafka.NewBytes(append(value, `"}`...))}),
		})
		if err == nil {
			err = answer.Error
		}
		if err != nil {
			return fmt.Errorf("write a record of %d bytes: %w", len(value), err)
		}
	}
	return nil
}

// backlog is the log to be read: all partitions, from 0 to their ends.
type backlog struct {
	client     *fetch.Client
	cluster    *fetch.Cluster
	partitions []logPartition
	close      func()
}

type logPartition struct {
	topic string // without prefix
	fetch.Want
	end int64
}

func (b *bench) openLog(ctx context.Context) (*backlog, error) {
	transport, err := b.config.Kafka.Transport(b.topicNames())
	if err != nil {
		return nil, err
	}
	log := &backlog{client: fetch.NewClient(transport, b.config.Kafka.Addr()), close: transport.CloseIdleConnections}
	if log.cluster, err = log.client.Metadata(ctx, b.topicNames()); err != nil {
		log.close()
		return nil, err
	}
	var wants []fetch.Want
	for _, t := range topics.Consumed() {
		topic := log.cluster.Topic(b.config.Kafka.TopicPrefix + t.Name)
		for i := range topic.Partitions {
			want := fetch.Want{Topic: topic.Name, TopicID: topic.ID, Partition: int32(i)}
			wants = append(wants, want)
			log.partitions = append(log.partitions, logPartition{topic: t.Name, Want: want})
		}
	}
	marks, err := log.client.Watermarks(ctx, log.cluster, wants)
	if err != nil {
		log.close()
		return nil, err
	}
	for i, m := range marks {
		log.partitions[i].end = m.HighWatermark
	}
	return log, nil
}
