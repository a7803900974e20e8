package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/thaliumx/persistor/internal/event"
	"github.com/thaliumx/persistor/internal/fetch"
	"github.com/thaliumx/persistor/internal/ingest"
	"github.com/thaliumx/persistor/internal/live"
	"github.com/thaliumx/persistor/internal/state"
	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/topics"
)

// maxBatchBytes is the daemon's.
const maxBatchBytes = 8 << 20

// runLimit stores the whole backlog over n connections, in batches that were
// read, decoded and encoded before the clock starts: what the database could
// take if the daemon cost nothing.
func (b *bench) runLimit(ctx context.Context, n int) (seconds float64, err error) {
	database, err := b.quietDatabase(ctx)
	if err != nil {
		return 0, err
	}
	log, err := b.openLog(ctx)
	if err != nil {
		return 0, err
	}
	defer log.close()
	batches := make([][]*store.Batch, n)
	conns := make([]*pgx.Conn, n)
	for i := range conns {
		if conns[i], err = store.Connect(ctx, store.Options{URL: database, SynchronousCommit: true}); err != nil {
			return 0, err
		}
		defer conns[i].Close(ctx)
	}
	logs, err := enter(ctx, conns[0], log)
	if err != nil {
		return 0, err
	}
	encoding, encodingCtx := errgroup.WithContext(ctx)
	encoding.SetLimit(2)
	for i, part := range log.share(n) {
		encoding.Go(func() (err error) {
			batches[i], err = b.encode(encodingCtx, log, part, logs)
			return err
		})
	}
	if err := encoding.Wait(); err != nil {
		return 0, err
	}
	if err := b.checkpoint(ctx); err != nil {
		return 0, err
	}

	// This process's collector has no part in the limit.
	runtime.GC()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	settle(ctx)
	machineBefore := machineSeconds()
	start := time.Now()
	writing, writingCtx := errgroup.WithContext(ctx)
	for i, conn := range conns {
		writing.Go(func() error {
			for _, batch := range batches[i] {
				if err := store.Write(writingCtx, conn, batch); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err = writing.Wait()
	seconds = time.Since(start).Seconds()
	machine := machineSeconds() - machineBefore
	if err != nil {
		return 0, err
	}
	if stored, err := storedRecords(ctx, conns[0]); err != nil || stored != b.total {
		return 0, fmt.Errorf("limit: %d of %d records are stored: %w", stored, b.total, err)
	}
	sessions, err := sessionSeconds(ctx, conns[0])
	if err != nil {
		return 0, err
	}
	say("limit, %d connections: %.2f s, %.0f records/s, CPU s: sessions %.2f, others %.2f; load %s", n, seconds, float64(b.total)/seconds,
		sessions, machine-sessions, loadAverage())
	return seconds, b.drop(ctx, database)
}

// enter begins every partition in the ledger, as the daemon does.
func enter(ctx context.Context, conn *pgx.Conn, log *backlog) (map[fetch.Want]store.Log, error) {
	for _, p := range log.partitions {
		if err := store.Begin(ctx, conn, p.Topic, p.Partition, log.cluster.ID, p.TopicID, 0); err != nil {
			return nil, err
		}
	}
	positions, err := store.Positions(ctx, conn)
	if err != nil {
		return nil, err
	}
	logs := map[fetch.Want]store.Log{}
	for _, p := range positions {
		logs[fetch.Want{Topic: p.Topic, TopicID: p.TopicUUID, Partition: p.Partition}] = p.Log
	}
	return logs, nil
}

// share spreads the partitions over n connections, the longest first to whoever
// has least. A record of unifyevents weighs a fifth: most are archived only.
func (l *backlog) share(n int) [][]logPartition {
	weight := func(p logPartition) int64 {
		if p.topic == topics.UnifyEvents {
			return p.end
		}
		return 5 * p.end
	}
	byWeight := slices.SortedFunc(slices.Values(l.partitions), func(p, q logPartition) int { return cmp.Compare(weight(q), weight(p)) })
	shares, weights := make([][]logPartition, n), make([]int64, n)
	for _, p := range byWeight {
		least := slices.Index(weights, slices.Min(weights))
		shares[least] = append(shares[least], p)
		weights[least] += weight(p)
	}
	return shares
}

// encode reads partitions to their ends as a worker of the daemon would, into
// batches of the daemon's size.
func (b *bench) encode(ctx context.Context, log *backlog, part []logPartition, logs map[fetch.Want]store.Log) ([]*store.Batch, error) {
	committed, next := make([]int64, len(part)), make([]int64, len(part))
	var (
		batches  []*store.Batch
		batch    = store.NewBatch()
		decoder  ingest.Decoder
		events   event.Decoder
		unify    event.Unify
		exchange = state.New(0)
		answer   fetch.Response
		archived = int64(0)
	)
	finish := func() {
		for _, p := range batch.Progress() {
			if p.Topic == b.config.Kafka.TopicPrefix+topics.UnifyEvents {
				live.Put(batch, p, 0, exchange, time.Time{})
				exchange.Committed()
			}
		}
		batches, batch = append(batches, batch), store.NewBatch()
		copy(committed, next)
	}
	for turn := 0; ; turn++ {
		req := fetch.Request{MinBytes: 1, MaxBytes: int32(min(b.config.Ingest.BatchBytes, math.MaxInt32)), MaxWait: time.Second}
		var asked []int
		for i := range part {
			i = (i + turn) % len(part)
			if next[i] >= part[i].end {
				continue
			}
			leader, err := log.cluster.Leader(part[i].Topic, part[i].Partition)
			if err != nil {
				return nil, err
			}
			if len(asked) > 0 && leader != req.Broker {
				continue
			}
			req.Broker = leader
			want := part[i].Want
			want.Offset = next[i]
			req.Partitions, asked = append(req.Partitions, want), append(asked, i)
		}
		if len(asked) == 0 {
			break
		}
		if err := log.client.Fetch(ctx, &req, &answer); err != nil {
			return nil, err
		}
		for n, i := range asked {
			p, records := part[i], &answer.Partitions[n]
			for {
				kind, err := records.Next()
				if err != nil {
					return nil, err
				}
				if kind == fetch.Done {
					break
				}
				if kind != fetch.Data {
					return nil, fmt.Errorf("topic %s partition %d has a gap at offset %d; a backlog of this benchmark has none", p.Topic, p.Partition, records.Gap.First)
				}
				rec := &records.Record
				id := logs[p.Want]
				progress := batch.Partition(id, committed[i], archived)
				hash := ingest.Hash(rec.Value)
				if p.topic == topics.UnifyEvents {
					if err := batch.Archive(progress, rec.Offset, rec.Timestamp, rec.Key, rec.Value, rec.Headers); err != nil {
						return nil, err
					}
					if err := live.Apply(exchange, &events, &unify, rec.Offset, rec.Timestamp, rec.Key, rec.Value); err != nil {
						return nil, err
					}
				}
				batch.Record(progress, rec.Offset, hash)
				next[i] = rec.Offset + 1
				err = decoder.Add(batch, id, p.topic, ingest.Record{Offset: rec.Offset, Time: rec.Timestamp, Key: rec.Key, Value: rec.Value}, hash)
				if err != nil {
					batch.Reject(progress, store.RejectedRecord{Offset: rec.Offset, Time: store.ClampTime(rec.Timestamp),
						Key: rec.Key, Value: rec.Value, Reason: err.Error()})
				}
				if batch.Records() >= b.config.Ingest.BatchRecords || batch.Bytes() >= maxBatchBytes {
					finish()
				}
			}
		}
	}
	if !batch.Empty() {
		finish()
	}
	return batches, nil
}

// storedRecords is how many records the ledger accounts for.
func storedRecords(ctx context.Context, conn *pgx.Conn) (n int64, err error) {
	err = conn.QueryRow(ctx, "SELECT coalesce(sum(next_offset - first_offset), 0) FROM dingir.ledger").Scan(&n)
	return n, err
}
