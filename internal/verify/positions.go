package verify

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// judgePositions accounts for every position below where the ledger stood when
// the audit began.
func (a *audit) judgePositions(ctx context.Context) error {
	missing, err := a.account(ctx)
	if err != nil {
		return err
	}
	if len(missing) > 0 && !a.options.Since.IsZero() {
		// Rows that are older than asked for may be at later positions: a message
		// may be older than the ones sent before it.
		err := a.run(ctx, func(u *unit) bool { return u.Older && missing[u.Table] })
		if err == nil {
			_, err = a.account(ctx)
		}
		if err != nil {
			return err
		}
	}
	for _, l := range sortedLogs(a.start) {
		if p := a.start[l]; p.reach >= 0 {
			a.reportPartition(l, p)
		}
	}
	slices.SortFunc(a.report.Partitions, func(x, y Partition) int {
		return cmp.Or(strings.Compare(x.Topic, y.Topic), int(x.Partition-y.Partition))
	})
	a.reportStrays()
	for id, rows := range a.history {
		a.report.History = append(a.report.History, History{a.names[id], id, rows})
	}
	slices.SortFunc(a.report.History, func(x, y History) int { return int(x.TopicID) - int(y.TopicID) })
	return nil
}

// stray is what claims to be of a partition that the ledger never had.
type stray struct {
	log
	what string // rows, rejects, duplicates or gaps
}

func (a *audit) reportStrays() {
	for _, s := range slices.SortedFunc(maps.Keys(a.strays), func(x, y stray) int {
		return cmp.Or(cmp.Compare(x.TopicID, y.TopicID), cmp.Compare(x.Partition, y.Partition), cmp.Compare(x.what, y.what))
	}) {
		topic := a.names[s.TopicID]
		if topic == "" {
			topic = fmt.Sprintf("of topics.id %d", s.TopicID)
		}
		of := a.strays[s]
		a.differ(fmt.Sprint(s.log), Difference{Kind: OutOfRange, Part: Positions, Place: &Place{topic, s.Partition, Range{of.First, of.Last}},
			Detail: fmt.Sprintf("%s are there (%d), but the ledger has no such partition", s.what, of.Count)})
	}
}

// account collects what there is about each partition and tells which tables
// lack rows.
func (a *audit) account(ctx context.Context) (missing map[tableID]bool, err error) {
	missing = map[tableID]bool{}
	err = a.snapshot(ctx, func() error { return a.gather(ctx) })
	for _, p := range a.start {
		judged := &p.cover
		if p.Live { // a reject is in the event log besides
			judged = &cover{gaps: p.gaps}
		}
		p.missing, p.doubled = judged.judge(p.first, p.next)
		p.missing = p.missing.without(p.settled)
		if len(p.missing) > 0 && !p.Live {
			missing[p.Table] = true
		}
	}
	return missing, err
}

// gather puts together what is known of each partition, as of now. The ledger
// may have moved since the audit began: forward, which does not matter; back,
// which leaves less to judge; or to another incarnation of the topic, which
// leaves nothing.
func (a *audit) gather(ctx context.Context) error {
	now, err := a.ledger(ctx)
	if err == nil {
		err = a.readTopics(ctx) // one may have been made again meanwhile
	}
	if err != nil {
		return err
	}
	for _, p := range a.start {
		p.cover, p.noted, p.tiles, p.settled = cover{}, nil, nil, &set{}
		p.reach, p.Archived = -1, 0
	}
	type place struct {
		topic     string
		partition int32
	}
	had, read := map[place]bool{}, map[string]bool{} // by the ledger, which loses none
	for _, n := range now {
		had[place{n.Topic, n.Partition}], read[n.Topic] = true, true
		if p := a.start[log{n.TopicID, n.Partition}]; p != nil {
			p.first = max(p.FirstOffset, n.FirstOffset)
			p.next = max(min(p.NextOffset, n.NextOffset), p.first)
			p.again = n.NextOffset < n.HighOffset
			p.reach = n.HighOffset
		}
	}
	rejects, err := a.notes(ctx, aReject)
	if err != nil {
		return err
	}
	duplicates, err := a.notes(ctx, aDuplicate)
	if err != nil {
		return err
	}
	for l, p := range a.start {
		for k, s := range map[kind]*set{aRow: a.state.Tally.Positions[l], aReject: rejects[l], aDuplicate: duplicates[l]} {
			if s != nil && (!p.Live || k != aDuplicate) {
				p.sets[k] = *s
			}
		}
		if p.dups = duplicates[l]; p.dups == nil {
			p.dups = &set{}
		}
		p.twice = slices.Clone(a.state.Tally.Twice[l])
		if before := a.state.Unresolved[l]; before != nil {
			p.settled = before.without(&p.sets[aReject])
		}
		if !a.options.Since.IsZero() && !p.Live {
			from, there := a.state.Tally.From[l]
			if !there {
				from = p.next
			}
			p.first = min(max(p.first, from), p.next)
		}
	}
	// Those of an earlier incarnation of a topic are no strays: where it had the same
	// partitions, or more, the ledger has a row for each.
	a.strays = map[stray]span{}
	astray := func(what string, l log, s span) bool {
		name := a.names[l.TopicID]
		if name != "" && (!read[name] || had[place{name, l.Partition}]) {
			return false
		}
		addSpan(a.strays, stray{l, what}, s)
		return true
	}
	err = a.readGaps(ctx, func(l log, r Range) {
		if p := a.start[l]; p != nil {
			p.gaps = append(p.gaps, r)
			p.noted = append(p.noted, r)
		}
		astray("gaps", l, span{1, r.First, r.Last})
	})
	if err != nil {
		return err
	}
	for what, noted := range map[string]map[log]*set{"rejects": rejects, "duplicates": duplicates} {
		for l, s := range noted {
			for position := range s.all() {
				if !astray(what, l, span{1, position, position}) {
					break
				}
			}
		}
	}
	a.history = map[int16]int64{}
	for l, s := range a.state.Tally.Others {
		if p := a.start[l]; !astray("rows", l, s) && (p == nil || p.reach < 0) {
			a.history[l.TopicID] += s.Count
		}
	}
	return a.readTiles(ctx, func(id int16, r Range, records int64) {
		// Segments and gaps are alike here: ranges that have to lie side by side.
		p := a.start[log{id, 0}]
		if p == nil || !p.Live || p.reach < 0 {
			a.history[id] += records
			return
		}
		p.Archived += records
		p.tiles = append(p.tiles, r)
		p.gaps = append(p.gaps, r)
	})
}

// reportPartition puts into the report what there is about one partition.
func (a *audit) reportPartition(l log, p *partition) {
	differ := func(kind string, r Range, detail string) {
		a.differ(fmt.Sprint(l), Difference{Kind: kind, Part: Positions, Place: &Place{p.Topic, l.Partition, r}, Detail: detail})
	}
	outside := func(r Range, what string) {
		differ(OutOfRange, r, fmt.Sprintf("%s, but the ledger goes from %d up to %d", what, p.FirstOffset, p.NextOffset))
	}
	within := func(r Range) bool { return r.First >= p.FirstOffset && r.Last < p.reach }
	for _, r := range p.noted {
		if !within(r) {
			outside(r, "a gap is there")
		}
		p.Gaps += max(min(r.Last+1, p.next)-max(r.First, p.first), 0)
	}
	for k := range kinds {
		out, inside := p.sets[k].outside(p.first, p.next)
		switch kind(k) {
		case aRow:
			p.Rows = inside + int64(len(p.twice))
		case aReject:
			p.Rejects = inside
		case aDuplicate:
			p.Duplicates = inside
		}
		for _, r := range out.clip(p.FirstOffset, p.reach) {
			outside(r, "a "+kind(k).String()+" is there")
		}
	}
	for _, r := range p.tiles {
		if !within(r) {
			outside(r, "a segment of the event log is there")
		}
	}
	for _, d := range a.state.Tally.Damaged {
		if p.Live && d.TopicID == l.TopicID {
			a.differ(fmt.Sprint(l), Difference{Kind: EventLog, Part: Archive, Place: &Place{p.Topic, l.Partition, d.Range}, Detail: d.Detail})
		}
	}
	if s := a.state.Tally.Others[l]; p.Live && s.Count > 0 {
		p.Rows = s.Count
		if r := (Range{s.First, s.Last}); !within(r) {
			outside(r, "rows are there from one of these to the other")
		}
	}
	for _, m := range a.state.Tally.Misplaced {
		if m.Log == l {
			p.Rows++
			differ(Misplaced, Range{m.Offset, m.Offset}, "its row is in dingir."+hot[m.Table].name+" and belongs into dingir."+hot[p.Table].name)
		}
	}
	absence := "no row, reject, duplicate or gap"
	if p.Live {
		absence = "neither in the event log nor in a gap"
	}
	for _, r := range p.missing {
		differ(Missing, r, absence)
	}
	for _, d := range p.doubled {
		if d.as == twoGaps && p.Live {
			d.as = "two segments of the event log, or a segment and a gap"
		}
		differ(Doubled, d.Range, d.as)
	}
	if p.NextOffset = p.next; !p.again {
		p.HighOffset = p.next
	}
	if !a.options.Since.IsZero() {
		p.JudgedFrom = &p.first
	}
	a.report.Partitions = append(a.report.Partitions, p.Partition)
}
