package fetch

import (
	"context"
	"errors"
	"fmt"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

const listOffsetsVersion = 6

// latest asks ListOffsets for a partition's end; under read_committed that is
// the last stable offset.
const latest = -1

// Watermarks are the ends of one partition's log: the records at LogStart and
// above are still there, those below LastStable readable under read_committed,
// those below HighWatermark replicated. Err is nil, a *BrokerError, or why the
// leader could not be asked.
type Watermarks struct {
	LogStart, LastStable, HighWatermark int64
	Err                                 error
}

// Watermarks asks the leaders named in cluster for the ends of partitions; the
// answers are in the order of wants, whose Offset is not looked at. They hold for
// the wanted topic ids: a topic that was made again answers with an error, not
// with its new log's ends. The error joins all those of single partitions.
func (c *Client) Watermarks(ctx context.Context, cluster *Cluster, wants []Want) ([]Watermarks, error) {
	marks := make([]Watermarks, len(wants))
	byLeader := map[int32][]int{}
	for i, w := range wants {
		marks[i] = Watermarks{-1, -1, -1, nil}
		leader, err := cluster.Leader(w.Topic, w.Partition)
		if err != nil {
			marks[i].Err = err
			continue
		}
		byLeader[leader] = append(byLeader[leader], i)
	}
	for leader, indexes := range byLeader {
		if err := c.leaderWatermarks(ctx, leader, wants, indexes, marks); err != nil {
			for _, i := range indexes {
				marks[i].Err = err
			}
		}
	}
	var all error
	for i := range marks {
		if err := marks[i].Err; err != nil {
			all = errors.Join(all, fmt.Errorf("watermarks of topic %s partition %d: %w", wants[i].Topic, wants[i].Partition, err))
		}
	}
	return marks, all
}

// leaderWatermarks takes two steps, because ListOffsets knows topics by name
// only while Fetch answers with all three ends by topic id, but only for an
// offset inside the log: so it fetches at the last stable offset, where there is
// nothing to send.
func (c *Client) leaderWatermarks(ctx context.Context, broker int32, wants []Want, indexes []int, marks []Watermarks) error {
	ends, err := c.listOffsets(ctx, broker, wants, indexes)
	if err != nil {
		return err
	}
	req := Request{Broker: broker, MaxBytes: 1}
	var asked []int
	for n, i := range indexes {
		if ends[n].err != nil {
			marks[i].Err = ends[n].err
			continue
		}
		w := wants[i]
		w.Offset, w.MaxBytes = ends[n].offset, 1
		req.Partitions = append(req.Partitions, w)
		asked = append(asked, i)
	}
	if len(asked) == 0 {
		return nil
	}
	var resp Response
	if err := c.Fetch(ctx, &req, &resp); err != nil {
		return err
	}
	for n, i := range asked {
		p := &resp.Partitions[n]
		marks[i] = Watermarks{p.LogStart, p.LastStable, p.HighWatermark, p.Err}
		if p.Err == nil && p.HighWatermark < 0 {
			// A broker that throttles answers without the partitions (KIP-219).
			marks[i].Err = ErrNoAnswer
		}
	}
	return nil
}

type offsetOrError struct {
	offset int64
	err    error
}

// listOffsets asks a leader for the last stable offsets of wants[indexes].
func (c *Client) listOffsets(ctx context.Context, broker int32, wants []Want, indexes []int) ([]offsetOrError, error) {
	x := &routed{broker: broker}
	c.prepare(&x.exchange, protocol.ListOffsets)
	b := x.begin(listOffsetsVersion, c.ClientID)
	b = appendInt32(b, -1) // a consumer, not a replica
	b = append(b, 1)       // read_committed
	b = appendArray(b, len(indexes))
	for _, i := range indexes {
		b = appendArray(appendString(b, wants[i].Topic), 1)
		b = appendInt32(b, wants[i].Partition)
		b = appendInt32(b, -1) // leader epoch unknown
		b = appendInt64(b, latest)
		b = append(b, 0, 0)
	}
	x.end(append(b, 0))
	if err := c.roundTrip(ctx, x, 0); err != nil {
		return nil, fmt.Errorf("list offsets of %d partitions on broker %d: %w", len(indexes), broker, err)
	}
	ends, err := parseListOffsets(&x.exchange, wants, indexes)
	if err != nil {
		return nil, fmt.Errorf("list offsets of %d partitions on broker %d: %w", len(indexes), broker, err)
	}
	return ends, nil
}

func parseListOffsets(x *exchange, wants []Want, indexes []int) ([]offsetOrError, error) {
	c, err := x.body()
	if err != nil {
		return nil, err
	}
	ends := make([]offsetOrError, len(indexes))
	for n := range ends {
		ends[n].err = fmt.Errorf("%w: the partition is not in it", ErrMalformed)
	}
	c.int32() // throttled for
	for topics := c.array(); topics > 0 && !c.bad; topics-- {
		topic := string(c.blob())
		for partitions := c.array(); partitions > 0 && !c.bad; partitions-- {
			partition, code := c.int32(), kafka.Error(c.int16())
			c.int64() // timestamp
			end := offsetOrError{offset: c.int64()}
			c.int32() // leader epoch
			c.tags()
			if code != 0 {
				end.err = &BrokerError{Topic: topic, Partition: partition, Offset: -1, Code: code}
			}
			for n, i := range indexes {
				if wants[i].Topic == topic && wants[i].Partition == partition {
					ends[n] = end
				}
			}
		}
		c.tags()
	}
	c.tags()
	if c.bad || len(c.b) != 0 {
		return nil, fmt.Errorf("%w: offsets in %d bytes", ErrMalformed, len(x.answer))
	}
	return ends, nil
}
