package fetch

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/segmentio/kafka-go"
)

func TestResumeAcrossParts(t *testing.T) {
	for _, c := range codecs {
		t.Run(c.name, func(t *testing.T) {
			var wants []Want
			var parts []answerPart
			for i := range int32(3) {
				w := Want{Topic: "trades", TopicID: testID, Partition: i, Offset: int64(100 * i)}
				wants = append(wants, w)
				parts = append(parts, answerPart{want: w, records: encodeAll(
					testBatch{base: w.Offset, codec: c.codec, bareBlock: c.bare, records: records(int(5 + i))},
					testBatch{base: w.Offset + int64(5+i), codec: c.codec, bareBlock: c.bare, records: records(4)})})
			}
			slices.Reverse(parts) // brokers may answer in another order
			client := NewClient(&fakeBroker{body: fetchAnswer(0, parts...)}, kafka.TCP("fake:1"))
			var resp Response
			if err := client.Fetch(context.Background(), &Request{Partitions: wants, MaxBytes: 1}, &resp); err != nil {
				t.Fatal(err)
			}
			got := make([][]item, 3)
			for open := 3; open > 0; { // one item from each part in turn
				open = 0
				for i := range resp.Partitions {
					p := &resp.Partitions[i]
					kind, err := p.Next()
					if err != nil {
						t.Fatal(err)
					}
					if kind != Done {
						got[i] = append(got[i], p.item(kind))
						open++
					}
				}
			}
			for i := range got {
				var want []item
				for _, a := range parts {
					if a.want.Partition == int32(i) {
						want, _ = drain(partOf(t, wants[i].Offset, nil, a.records))
					}
				}
				if !slices.Equal(got[i], want) || len(want) != 9+i {
					t.Errorf("partition %d: %v, want %v", i, got[i], want)
				}
			}
		})
	}
}

func TestAnswerOfOnePartition(t *testing.T) {
	want := Want{Topic: "trades", TopicID: testID, Partition: 4, Offset: 7}
	client := NewClient(&fakeBroker{body: fetchAnswer(0, answerPart{want: want, code: 100, records: []byte("ignored")})}, kafka.TCP("fake:1"))
	var resp Response
	if err := client.Fetch(context.Background(), &Request{Partitions: []Want{want}, MaxBytes: 1}, &resp); err != nil {
		t.Fatal(err)
	}
	p := &resp.Partitions[0]
	if !errors.Is(p.Err, kafka.UnknownTopicID) || p.HighWatermark != 1000 || p.LastStable != 900 || p.LogStart != 3 {
		t.Errorf("%+v", p)
	}
	if kind, err := p.Next(); kind != Done || !errors.Is(err, p.Err) {
		t.Errorf("next: %v %v, want the refusal", kind, err)
	}
	if !Retriable(p.Err) || !NeedsMetadata(p.Err) {
		t.Error("an unknown topic id asks for metadata")
	}
}

func TestMalformedAnswers(t *testing.T) {
	want := Want{Topic: "trades", TopicID: testID, Partition: 4}
	other, wrong := want, want
	other.Partition = 5
	wrong.TopicID[15] = 9
	whole := fetchAnswer(0, answerPart{want: want, aborted: []abortedTxn{{1, 2}}, records: []byte("abc")})
	tests := map[string][]byte{
		"empty":              {},
		"another partition":  fetchAnswer(0, answerPart{want: other}),
		"another topic":      fetchAnswer(0, answerPart{want: wrong}),
		"answered twice":     fetchAnswer(0, answerPart{want: want}, answerPart{want: want}),
		"bytes behind":       append(slices.Clone(whole), 0),
		"endless topics":     append(make([]byte, 10), 0xff, 0xff, 0xff, 0xff, 0x07),
		"endless array size": append(make([]byte, 10), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01),
	}
	for n := range whole {
		tests[string(rune('0'+n/10))+" cut"] = whole[:n]
	}
	for name, body := range tests {
		t.Run(name, func(t *testing.T) {
			client := NewClient(&fakeBroker{body: body}, kafka.TCP("fake:1"))
			var resp Response
			err := client.Fetch(context.Background(), &Request{Partitions: []Want{want}, MaxBytes: 1}, &resp)
			if !errors.Is(err, ErrMalformed) || len(resp.Partitions) != 0 {
				t.Errorf("%v with %d parts, want %v and none", err, len(resp.Partitions), ErrMalformed)
			}
		})
	}
	t.Run("left out", func(t *testing.T) {
		client := NewClient(&fakeBroker{body: fetchAnswer(0, answerPart{want: other})}, kafka.TCP("fake:1"))
		var resp Response
		err := client.Fetch(context.Background(), &Request{Partitions: []Want{want, other}, MaxBytes: 1}, &resp)
		if err != nil || resp.Partitions[0].HighWatermark != -1 || resp.Partitions[1].HighWatermark != 1000 {
			t.Fatalf("%+v, %v", resp.Partitions, err)
		}
		if kind, err := resp.Partitions[0].Next(); kind != Done || err != nil {
			t.Errorf("%v %v", kind, err)
		}
	})
	t.Run("refused as a whole", func(t *testing.T) {
		client := NewClient(&fakeBroker{body: fetchAnswer(35)}, kafka.TCP("fake:1"))
		var resp Response
		err := client.Fetch(context.Background(), &Request{Partitions: []Want{want}, MaxBytes: 1}, &resp)
		if !errors.Is(err, kafka.UnsupportedVersion) {
			t.Errorf("got %v", err)
		}
	})
}

func TestMemoryIsGivenBack(t *testing.T) {
	want := Want{Topic: "trades", TopicID: testID}
	broker := &fakeBroker{body: fetchAnswer(0, answerPart{want: want, records: testBatch{codec: codecSnappy, records: []testRecord{{value: make([]byte, 10<<20)}}}.encode()})}
	client := NewClient(broker, kafka.TCP("fake:1"))
	var resp Response
	fetch := func() {
		t.Helper()
		if err := client.Fetch(context.Background(), &Request{Partitions: []Want{want}, MaxBytes: 1}, &resp); err != nil {
			t.Fatal(err)
		}
		if _, err := drain(&resp.Partitions[0]); err != nil {
			t.Fatal(err)
		}
	}
	fetch()
	large := resp.Memory()
	if large < 10<<20 {
		t.Fatalf("only %d bytes for a record of 10 MiB", large)
	}
	broker.body = fetchAnswer(0, answerPart{want: want})
	for range 2 * shrinkAfter {
		fetch()
	}
	if n := resp.Memory(); n > 1<<20 {
		t.Errorf("still %d bytes after %d small answers", n, 2*shrinkAfter)
	}
}
