package harness

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// GroupState is what the coordinator says about the site's group, such as
// "Stable" or "PreparingRebalance", and how many members it counts.
func (s *Site) GroupState() (state string, members int) {
	s.t.Helper()
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups = []string{s.Group}
	answer, err := req.RequestWith(s.t.Context(), s.kafka)
	if err != nil {
		s.t.Fatalf("describe group %s: %v", s.Group, err)
	}
	g := answer.Groups[0]
	// A group that nobody has joined yet is "Dead", in newer brokers with an error.
	if err := kerr.ErrorForCode(g.ErrorCode); err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		s.t.Fatalf("describe group %s: %v", s.Group, err)
	}
	return g.State, len(g.Members)
}

// GroupOffsets are the offsets that the group has committed in Kafka.
func (s *Site) GroupOffsets() map[Place]int64 {
	s.t.Helper()
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group = s.Group
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = s.Group
	req.Groups = append(req.Groups, g)
	answer, err := req.RequestWith(s.t.Context(), s.kafka)
	if err != nil {
		s.t.Fatalf("ask for the offsets of group %s: %v", s.Group, err)
	}
	offsets := map[Place]int64{}
	for _, g := range answer.Groups {
		if err := kerr.ErrorForCode(g.ErrorCode); err != nil {
			s.t.Fatalf("ask for the offsets of group %s: %v", s.Group, err)
		}
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				offsets[Place{t.Topic, p.Partition}] = p.Offset
			}
		}
	}
	return offsets
}
