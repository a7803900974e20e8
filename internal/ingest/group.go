package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/thaliumx/persistor/internal/httpserver"
	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/topics"
)

// membership is one time in the group: with the topics that exist now, until
// they change or ctx ends. kafka-go's group stops assigning anything when one of
// its topics is missing, so it is told only of those that exist.
func (d *Daemon) membership(ctx, hurry context.Context) error {
	cluster, err := d.kafka.Metadata(ctx, d.Options.topicNames())
	if err != nil {
		return err
	}
	d.kafkaUp()
	shape := existing(cluster)
	d.lookForMissing(ctx, cluster)
	if len(shape) == 0 {
		d.log.Debug("none of the topics can be read yet", "topics", d.Options.topicNames())
		sleep(ctx, topicPoll)
		return nil
	}
	member, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	c := d.Options.Consumer
	group, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: c.GroupID, Brokers: d.Options.Kafka.Brokers, Dialer: d.dialer, Topics: shape.names(),
		SessionTimeout: c.SessionTimeout, HeartbeatInterval: min(time.Second, c.SessionTimeout/3),
		// Members that drain join late; nobody waits longer than a drain takes.
		RebalanceTimeout: c.SessionTimeout + c.Drain(),
		JoinGroupBackoff: 500 * time.Millisecond,
		StartOffset:      kafka.FirstOffset, // a hint only: the ledger decides
	})
	if err != nil {
		return fmt.Errorf("join group %s: %w", c.GroupID, err)
	}
	var watcher sync.WaitGroup
	watcher.Go(func() { d.watchTopics(member, leave, shape) })
	defer watcher.Wait()
	defer leave(nil)
	defer d.leave(ctx, group)
	defer d.assign(nil, 0)
	for {
		gen, err := group.Next(member)
		if err != nil {
			if cause := context.Cause(member); cause != nil {
				if errors.Is(cause, errTopicsChanged) {
					return nil
				}
				return cause
			}
			d.setGroup("away", 0)
			d.kafkaDown(fmt.Errorf("join group %s: %w", c.GroupID, err))
			continue
		}
		d.kafkaUp()
		done := make(chan error, 1)
		gen.Start(func(genCtx context.Context) {
			done <- d.work(member, genCtx, hurry, gen, shape)
		})
		if err := <-done; err != nil {
			return err
		}
	}
}

// work is one generation: its partitions shared out to workers, until it ends.
// Its error ends the membership.
func (d *Daemon) work(member, genCtx, hurry context.Context, gen *kafka.Generation, shape topicShape) error {
	take, stop := context.WithCancelCause(member)
	defer stop(nil)
	defer context.AfterFunc(genCtx, func() { stop(errors.New("the group rebalances")) })()
	finish, cut := context.WithCancel(hurry)
	defer cut()
	defer context.AfterFunc(take, func() {
		time.AfterFunc(d.Options.Consumer.Drain(), cut)
	})()

	list := d.assignment(gen)
	d.assign(list, int(gen.ID))
	committer := newCommitter(gen, d.log)
	d.beginConflicts(take, list, wholeTopics(list, shape, d.Options.Kafka.TopicPrefix))

	if d.keeper != nil && d.keeperFor(list) == nil {
		d.keeper.Release()
		d.audit.Release()
	}
	var workers sync.WaitGroup
	var crew []*worker
	for i, part := range share(list, d.Options.Ingest.Workers) {
		for _, p := range part {
			p.show(func(v *httpserver.Partition) { v.Worker = i })
		}
		w := newWorker(d, i, part)
		w.committer, w.rejoin = committer, func() { stop(errNotOurs) }
		crew = append(crew, w)
		workers.Go(func() { w.run(take, finish) })
	}
	d.setCrew(crew)
	defer d.setCrew(nil)
	workers.Go(func() { committer.run(take) })
	workers.Go(func() { d.watchHalts(take, stop, list) })
	if d.keeper != nil && d.keeperFor(list) != nil {
		if every := d.Options.Ingest.AuditEvery; every > 0 {
			workers.Go(func() { d.audit.Run(take, every) })
		}
		if every := d.Options.Ingest.MergeEvery; every > 0 {
			workers.Go(func() { d.mergeSegments(take, every) })
		}
	}
	workers.Wait()
	committer.flush() // what is left
	if errors.Is(context.Cause(take), ErrAllHalted) {
		return ErrAllHalted
	}
	return nil
}

// beginConflicts sets the floor of ids; without a database the workers wait
// anyway, and set it themselves. The ledger is read first:
// what others store behind that shows when the partition is admitted.
func (d *Daemon) beginConflicts(ctx context.Context, list []*partition, whole map[string]bool) {
	d.conflicts.forget(whole)
	conn, err := store.Connect(ctx, d.Options.Database)
	if err != nil {
		return
	}
	defer conn.Close(context.WithoutCancel(ctx))
	ledger, err := store.Positions(ctx, conn)
	if err == nil {
		err = d.conflicts.begin(ctx, conn)
	}
	if err != nil {
		d.log.Debug("every id will be asked about", "error", err)
		return
	}
	for _, pos := range ledger {
		for _, p := range list {
			if p.name == pos.Topic && p.id == pos.Partition {
				p.committed = pos.Next
			}
		}
	}
}

// haltedFor is how long all partitions have to stay halted before the process
// ends: each is looked at every few seconds, and trouble may pass.
const haltedFor = 3 * haltRetry

// watchHalts ends the process's work when none of its partitions can go on.
func (d *Daemon) watchHalts(ctx context.Context, stop context.CancelCauseFunc, list []*partition) {
	var since time.Time
	for sleep(ctx, time.Second) {
		halted := 0
		for _, p := range list {
			if p.halted() {
				halted++
			}
		}
		switch {
		case halted == 0 || halted < len(list):
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		case time.Since(since) > haltedFor:
			stop(ErrAllHalted)
			return
		}
	}
}

func (d *Daemon) assignment(gen *kafka.Generation) []*partition {
	prefix := d.Options.Kafka.TopicPrefix
	var list []*partition
	for name, parts := range gen.Assignments {
		for _, a := range parts {
			p := newPartition(name[len(prefix):], prefix, int32(a.ID))
			p.groupOffset = a.Offset
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b *partition) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.id, b.id))
	})
	d.log.Info("partitions assigned", "generation", gen.ID, "partitions", len(list))
	return list
}

func (d *Daemon) assign(list []*partition, generation int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.partitions, d.assigned = list, time.Now()
	d.group.Generation, d.group.State = generation, "stable"
	if list == nil {
		d.group.State = "joining"
	}
}

// leave leaves the group. At the end of the process it does not wait long for
// brokers that do not answer: the session expires, and the ledger fences.
func (d *Daemon) leave(ctx context.Context, group *kafka.ConsumerGroup) {
	left := make(chan struct{})
	go func() {
		defer close(left)
		if err := group.Close(); err != nil {
			d.log.Debug("left the group", "error", err)
		}
	}()
	if ctx.Err() == nil {
		<-left
		return
	}
	select {
	case <-left:
	case <-time.After(leaveTime):
		d.log.Warn("the group's coordinator does not answer; leaving without its word")
	}
}

// leaveTime bounds how long the end of the process waits for the coordinator.
const leaveTime = 5 * time.Second

func (d *Daemon) setCrew(crew []*worker) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.crew = crew
}

func (d *Daemon) setGroup(state string, generation int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.group.State, d.group.Generation = state, generation
}

// share spreads the partitions over workers by the load that each is expected
// to bring, the heaviest first to whoever has least.
func share(list []*partition, workers int) [][]*partition {
	byLoad := slices.Clone(list)
	slices.SortStableFunc(byLoad, func(a, b *partition) int { return cmp.Compare(load(b.topic), load(a.topic)) })
	shares := make([][]*partition, min(workers, len(list)))
	loads := make([]int, len(shares))
	for _, p := range byLoad {
		least := 0
		for i := range loads {
			if loads[i] < loads[least] {
				least = i
			}
		}
		shares[least] = append(shares[least], p)
		loads[least] += load(p.topic)
	}
	return shares
}

// load is about the share of the work that one partition of a topic brings, of
// the engine's mix (wire format, section 1.1): 1 trade, 4 balances, 3 to 4
// orders, and all but balances once more on unifyevents.
func load(topic string) int {
	switch topic {
	case topics.UnifyEvents:
		return 100
	case topics.Balances:
		return 40
	case topics.Orders:
		return 25
	case topics.Trades:
		return 12
	}
	return 1
}
