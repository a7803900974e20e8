package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRequestOnTheWire(t *testing.T) {
	a, b := [16]byte{1}, [16]byte{2}
	tests := map[string]struct {
		req    Request
		topics [][]int32 // partitions by topic entry
	}{
		"one": {Request{Partitions: []Want{{TopicID: a, Partition: 3, Offset: 77, MaxBytes: 5}}, MaxBytes: 9, MinBytes: 2, MaxWait: 300 * time.Millisecond}, [][]int32{{3}}},
		"order is kept": {Request{Partitions: []Want{
			{TopicID: a, Partition: 3}, {TopicID: a, Partition: 1}, {TopicID: b, Partition: 0}, {TopicID: a, Partition: 2}}, MaxBytes: 9}, [][]int32{{3, 1}, {0}, {2}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var conn *fakeConn
			broker := &fakeBroker{alter: func(_ context.Context, c *fakeConn) {
				conn, c.answer = c, iotest.ErrReader(io.ErrUnexpectedEOF)
			}}
			client := NewClient(broker, kafka.TCP("fake:1"))
			client.ClientID = "persistor"
			var resp Response
			if err := client.Fetch(context.Background(), &tt.req, &resp); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatal(err)
			}
			sent := conn.sent
			// size 4, key 2, version 2, correlation 4, client id 2 + 9, tags 1
			if be.Uint32(sent) != uint32(len(sent)-4) || be.Uint16(sent[4:]) != 1 || be.Uint16(sent[6:]) != 13 || string(sent[14:23]) != "persistor" {
				t.Fatalf("header %x", sent[:24])
			}
			req := kmsg.NewFetchRequest()
			req.Version = 13
			if err := req.ReadFrom(sent[24:]); err != nil {
				t.Fatal(err)
			}
			if req.MaxBytes != 9 || req.MinBytes != tt.req.MinBytes || req.MaxWaitMillis != int32(tt.req.MaxWait.Milliseconds()) || req.IsolationLevel != 1 || req.SessionEpoch != -1 || req.ReplicaID != -1 {
				t.Errorf("%+v", req)
			}
			var topics [][]int32
			i := 0
			for _, topic := range req.Topics {
				var ps []int32
				for _, p := range topic.Partitions {
					w := tt.req.Partitions[i]
					i++
					if w.MaxBytes == 0 {
						w.MaxBytes = 9
					}
					if topic.TopicID != w.TopicID || p.FetchOffset != w.Offset || p.PartitionMaxBytes != w.MaxBytes || p.CurrentLeaderEpoch != -1 {
						t.Errorf("%+v instead of %+v", p, w)
					}
					ps = append(ps, p.Partition)
				}
				topics = append(topics, ps)
			}
			if !reflect.DeepEqual(topics, tt.topics) {
				t.Errorf("partitions %v, want %v", topics, tt.topics)
			}
		})
	}
}

func TestRequestsRefusedHere(t *testing.T) {
	good := Want{Topic: "trades", TopicID: testID}
	bad := func(change func(*Want)) Request {
		w := good
		change(&w)
		return Request{Partitions: []Want{w}, MaxBytes: 1}
	}
	tests := map[string]Request{
		"no partition":    {MaxBytes: 1},
		"no limit":        {Partitions: []Want{good}},
		"beyond answers":  {Partitions: []Want{good}, MaxBytes: 1 << 30},
		"negative wait":   {Partitions: []Want{good}, MaxBytes: 1, MaxWait: -1},
		"no topic id":     bad(func(w *Want) { w.TopicID = [16]byte{} }),
		"negative offset": bad(func(w *Want) { w.Offset = -2 }),
		"negative limit":  bad(func(w *Want) { w.MaxBytes = -1 }),
	}
	for name, req := range tests {
		t.Run(name, func(t *testing.T) {
			if err := NewClient(nil, nil).Fetch(context.Background(), &req, new(Response)); err == nil || Retriable(err) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// slowTransport behaves as kafka-go's: the exchange runs on a goroutine of its
// own, which an ended context does not stop.
type slowTransport struct {
	fakeBroker
	release chan struct{}
	done    chan struct{}
}

func (s *slowTransport) RoundTrip(ctx context.Context, addr net.Addr, m kafka.Request) (kafka.Response, error) {
	result := make(chan error, 1)
	go func() {
		defer close(s.done)
		<-s.release
		_, err := s.fakeBroker.RoundTrip(ctx, addr, m)
		result <- err
	}()
	select {
	case err := <-result:
		return nil, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// TestAbandonedAnswer is for the race detector: an answer that comes after its
// context ended must not write where the next fetch's records are.
func TestAbandonedAnswer(t *testing.T) {
	want := Want{Topic: "trades", TopicID: testID}
	req := &Request{Partitions: []Want{want}, MaxBytes: 1}
	log := testBatch{records: records(50)}.encode()
	good := &fakeBroker{body: fetchAnswer(0, answerPart{want: want, records: log})}
	var resp Response
	if err := NewClient(good, kafka.TCP("fake:1")).Fetch(context.Background(), req, &resp); err != nil {
		t.Fatal(err)
	}
	slow := &slowTransport{fakeBroker{body: make([]byte, 5000), alter: nil}, make(chan struct{}), make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := NewClient(slow, kafka.TCP("fake:1")).Fetch(ctx, req, &resp); !errors.Is(err, context.Canceled) || Retriable(err) {
		t.Fatalf("got %v, want the caller's own cancellation", err)
	}
	if err := NewClient(good, kafka.TCP("fake:1")).Fetch(context.Background(), req, &resp); err != nil {
		t.Fatal(err)
	}
	close(slow.release)
	items, err := drain(&resp.Partitions[0])
	if err != nil || len(items) != 50 || items[49].value != string(records(50)[49].value) {
		t.Errorf("%d items, %v", len(items), err)
	}
	<-slow.done
}

func TestNoAnswer(t *testing.T) {
	slow := &slowTransport{release: make(chan struct{}), done: make(chan struct{})}
	client := NewClient(slow, kafka.TCP("fake:1"))
	client.RequestTimeout = time.Millisecond
	err := client.Fetch(context.Background(), &Request{Partitions: []Want{{TopicID: testID}}, MaxBytes: 1}, new(Response))
	if !errors.Is(err, ErrNoAnswer) || !Retriable(err) {
		t.Errorf("got %v", err)
	}
	close(slow.release)
	<-slow.done
}

func TestAnswersBeyondTheLimit(t *testing.T) {
	client := NewClient(&fakeBroker{body: make([]byte, 2000)}, kafka.TCP("fake:1"))
	client.MaxAnswerBytes = 1000
	err := client.Fetch(context.Background(), &Request{Partitions: []Want{{TopicID: testID}}, MaxBytes: 1}, new(Response))
	var large *AnswerTooLargeError
	if !errors.As(err, &large) || large.Limit != 1000 || Retriable(err) {
		t.Errorf("got %v", err)
	}
}

func TestAnswerToAnotherRequest(t *testing.T) {
	client := NewClient(&fakeBroker{alter: func(_ context.Context, c *fakeConn) {
		c.answer = iotest.HalfReader(bytes.NewReader([]byte{0, 0, 0, 5, 0, 0, 0, 99, 0}))
	}}, kafka.TCP("fake:1"))
	if _, err := client.Metadata(context.Background(), nil); !errors.Is(err, ErrMalformed) {
		t.Errorf("got %v", err)
	}
}

func TestRouting(t *testing.T) {
	x := &routed{broker: 2}
	b, err := x.Broker(protocol.Cluster{Brokers: map[int32]protocol.Broker{2: {ID: 2, Host: "b"}}})
	if err != nil || b.Host != "b" {
		t.Errorf("%v %v", b, err)
	}
	_, err = x.Broker(protocol.Cluster{})
	if !Retriable(err) || !NeedsMetadata(err) {
		t.Errorf("got %v", err)
	}
}

func TestMetadataAnswer(t *testing.T) {
	answer := kmsg.NewPtrMetadataResponse()
	answer.Version = metadataVersion
	answer.ClusterID = kmsg.StringPtr("the-cluster")
	answer.Brokers = []kmsg.MetadataResponseBroker{{NodeID: 3, Host: "c", Port: 9093, Rack: kmsg.StringPtr("r")}}
	partition := func(code int16, id, leader int32) kmsg.MetadataResponseTopicPartition {
		p := kmsg.NewMetadataResponseTopicPartition()
		p.ErrorCode, p.Partition, p.Leader = code, id, leader
		p.Replicas, p.ISR, p.OfflineReplicas = []int32{1, 2}, []int32{1}, []int32{2}
		return p
	}
	topic := func(name string, code int16, id byte, partitions ...kmsg.MetadataResponseTopicPartition) kmsg.MetadataResponseTopic {
		m := kmsg.NewMetadataResponseTopic()
		m.Topic, m.ErrorCode, m.TopicID, m.Partitions = kmsg.StringPtr(name), code, [16]byte{id}, partitions
		return m
	}
	answer.Topics = []kmsg.MetadataResponseTopic{
		topic("gone", 3, 0),
		topic("trades", 0, 1, partition(0, 1, 3), partition(5, 0, -1)),
	}
	broker := &fakeBroker{body: answer.AppendTo(nil)}
	client := NewClient(broker, kafka.TCP("fake:1"))
	c, err := client.Metadata(context.Background(), []string{"trades", "gone"})
	if err != nil {
		t.Fatal(err)
	}
	if c.ID != "the-cluster" || c.Brokers[0] != (Broker{3, "c", 9093}) || c.Topics[0].Name != "trades" || c.Topics[0].ID != [16]byte{1} {
		t.Errorf("%+v", c)
	}
	if leader, err := c.Leader("trades", 1); leader != 3 || err != nil {
		t.Errorf("leader %d, %v", leader, err)
	}
	for name, want := range map[string]struct {
		topic     string
		partition int32
		code      kafka.Error
	}{
		"no leader":      {"trades", 0, kafka.LeaderNotAvailable},
		"no partition":   {"trades", 7, kafka.UnknownTopicOrPartition},
		"missing topic":  {"gone", 0, kafka.UnknownTopicOrPartition},
		"never asked of": {"other", 0, kafka.UnknownTopicOrPartition},
	} {
		if _, err := c.Leader(want.topic, want.partition); !errors.Is(err, want.code) || !NeedsMetadata(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for n := range broker.body {
		client := NewClient(&fakeBroker{body: broker.body[:n]}, kafka.TCP("fake:1"))
		if _, err := client.Metadata(context.Background(), nil); !errors.Is(err, ErrMalformed) {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
}

func TestErrorClasses(t *testing.T) {
	refusal := func(code kafka.Error) error {
		return fmt.Errorf("wrapped: %w", &BrokerError{Topic: "t", Offset: 5, Code: code})
	}
	tests := map[string]struct {
		err                 error
		retriable, metadata bool
	}{
		"offset out of range":   {refusal(1), false, false},
		"unknown topic":         {refusal(3), true, true},
		"no leader":             {refusal(5), true, true},
		"not leader":            {refusal(6), true, true},
		"not authorized":        {refusal(29), false, false},
		"storage":               {refusal(56), true, true},
		"fenced epoch":          {refusal(74), true, true},
		"offset not available":  {refusal(78), true, false},
		"unknown topic id":      {refusal(100), true, true},
		"inconsistent topic id": {refusal(103), true, true},
		"unknown to everybody":  {refusal(9999), false, false},
		"server error":          {refusal(-1), true, false},
		"corrupt on the broker": {refusal(2), false, false},
		"connection refused":    {&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, true, true},
		"connection closed":     {io.EOF, true, true},
		"caller's end":          {context.DeadlineExceeded, false, false},
		"corrupt":               {&CorruptError{}, false, false},
		"jump":                  {&JumpError{}, false, false},
		"other":                 {errors.New("x"), false, false},
	}
	for name, tt := range tests {
		if got := Retriable(tt.err); got != tt.retriable {
			t.Errorf("%s: retriable %v", name, got)
		}
		if got := NeedsMetadata(tt.err); got != tt.metadata {
			t.Errorf("%s: needs metadata %v", name, got)
		}
		if tt.err.Error() == "" {
			t.Errorf("%s: no message", name)
		}
	}
}
