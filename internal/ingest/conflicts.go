package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/topics"
)

// A conflict is a trade's id, an order's PUT or a user's id that returns with
// other content, as after an engine's crash. Both rows are kept; the conflict
// is counted and logged. Asking the database about every id would cost some
// 7 % of the throughput, so it is asked only about ids that may have been there:
// all others lie above what was stored when we began and were not seen since.
type conflicts struct {
	log     *slog.Logger
	metrics *metrics
	count   *atomic.Int64
	prefix  string // of topics' full names

	mu    sync.Mutex
	seen  map[string]*seen // by topic; nil: ask about every id
	whole map[string]bool  // topics that nobody else reads in this generation
	again time.Time        // when to try begin anew, if it failed
}

// candidate is an id that one record brought.
type candidate struct {
	topic string
	id    int64
	src   store.Source
}

// identified are the topics whose rows have an id that should not return, with
// their tables, how to ask for the highest id there, and for another row of the
// same id.
var identified = map[string]struct {
	hypertable     string // empty: a plain table
	highest, other string
}{
	topics.Trades: {"trades",
		"SELECT coalesce(max(trade_id), -1) FROM dingir.trades r",
		"SELECT FROM dingir.trades r WHERE r.trade_id = k.id AND r.content_hash <> k.hash"},
	topics.Orders: {"order_events",
		"SELECT coalesce(max(order_id), -1) FROM dingir.order_events r",
		"SELECT FROM dingir.order_events r WHERE r.order_id = k.id AND r.event = 'PUT' AND r.content_hash <> k.hash"},
	topics.RegisterUser: {"",
		"SELECT coalesce(max(user_id), -1) FROM dingir.users r",
		"SELECT FROM dingir.users r WHERE r.user_id = k.id AND r.content_hash <> k.hash"},
}

// resume is begin, if that has not succeeded in this generation; now and then.
func (c *conflicts) resume(ctx context.Context, conn *pgx.Conn) error {
	c.mu.Lock()
	due := c.seen == nil && time.Now().After(c.again)
	if due {
		c.again = time.Now().Add(5 * time.Second)
	}
	c.mu.Unlock()
	if !due {
		return nil
	}
	return c.begin(ctx, conn)
}

// begin finds the floor of a generation: whoever else wrote until now, it is what
// is stored. Topics that others read as well are asked about always.
func (c *conflicts) begin(ctx context.Context, conn *pgx.Conn) error {
	fresh := map[string]*seen{}
	for topic := range identified {
		floor, err := highest(ctx, conn, topic, "")
		if err != nil {
			return err
		}
		s := &seen{floor: floor, pages: map[int64]*[pageWords]uint64{}, shared: !c.whole[topic]}
		if s.recent, err = recently(ctx, conn, topic); err != nil {
			return err
		}
		if s.recent != "" {
			if s.old, err = highest(ctx, conn, topic, " WHERE r.time < "+s.recent); err != nil {
				return err
			}
		}
		fresh[topic] = s
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen == nil { // else another worker was quicker, and has seen ids since
		c.seen = fresh
	}
	return nil
}

// raise moves a topic's floor up to what is stored now: a former owner has stored
// a batch since we began.
func (c *conflicts) raise(ctx context.Context, conn *pgx.Conn, topic string) error {
	if identified[topic].highest == "" {
		return nil
	}
	floor, err := highest(ctx, conn, topic, "")
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.seen[topic]; s != nil {
		s.floor = max(s.floor, floor)
	}
	return nil
}

// highest is the highest id that is stored, of the rows that a condition leaves.
func highest(ctx context.Context, conn *pgx.Conn, topic, where string) (id int64, err error) {
	if err = conn.QueryRow(ctx, identified[topic].highest+where).Scan(&id); err != nil {
		return 0, fmt.Errorf("look for the highest id of %s: %w", topic, err)
	}
	return id, nil
}

// recently is where the two newest chunks of a topic's table begin, as a constant:
// a question about later times looks into no other. It is empty where there are no
// older ones.
func recently(ctx context.Context, conn *pgx.Conn, topic string) (constant string, err error) {
	err = conn.QueryRow(ctx, `SELECT quote_literal(range_start) || '::timestamptz' FROM timescaledb_information.chunks
		WHERE hypertable_schema = 'dingir' AND hypertable_name = $1 ORDER BY range_start DESC OFFSET 1 LIMIT 1`, identified[topic].hypertable).Scan(&constant)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return "", fmt.Errorf("look for the newest chunks of %s: %w", topic, err)
	}
	return constant, nil
}

// forget has every id asked about until begin. No worker may be at work.
func (c *conflicts) forget(whole map[string]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen, c.whole, c.again = nil, whole, time.Time{}
}

// look notes the ids that a committed batch brought and counts those that were
// there with other content.
func (c *conflicts) look(ctx context.Context, conn *pgx.Conn, b *store.Batch, list []candidate) {
	type where struct{ topic, recent string }
	doubtful := map[where][]candidate{}
	c.mu.Lock()
	for _, e := range list {
		s := c.seen[e.topic]
		if b.Merged(e.src) || s != nil && s.add(e.id) {
			continue
		}
		at := where{topic: e.topic}
		if s != nil && e.id > s.old {
			at.recent = s.recent
		}
		doubtful[at] = append(doubtful[at], e)
	}
	c.mu.Unlock()
	for at, list := range doubtful {
		if err := c.ask(ctx, conn, at.topic, at.recent, list); err != nil {
			// The rows are stored; what is lost is a line in the log.
			c.log.Warn("cannot look for ids that returned with other content", "topic", at.topic, "records", len(list), "error", err)
		}
	}
}

// ask asks whether rows have the ids of these with other content; only rows of
// recent times, if that is not empty.
func (c *conflicts) ask(ctx context.Context, conn *pgx.Conn, topic, recent string, list []candidate) error {
	found, err := others(ctx, conn, topic, recent, list)
	if err != nil {
		return err
	}
	for _, n := range found {
		e := list[n-1]
		c.log.Warn("an id returned with other content; both rows are kept", "topic", c.prefix+topic, "id", e.id,
			"partition", e.src.Partition, "offset", e.src.Offset)
	}
	c.metrics.conflict(c.prefix+topic, len(found))
	c.count.Add(int64(len(found)))
	return nil
}

// others are which of these, counted from 1, have rows of their id with other content.
func others(ctx context.Context, conn *pgx.Conn, topic, recent string, list []candidate) ([]int64, error) {
	ids, hashes := make([]int64, len(list)), make([]int64, len(list))
	for i, e := range list {
		ids[i], hashes[i] = e.id, e.src.Hash
	}
	other := identified[topic].other
	if recent != "" {
		other += " AND r.time >= " + recent
	}
	rows, err := conn.Query(ctx, "SELECT k.n FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS k(id, hash, n) WHERE EXISTS ("+
		other+")", ids, hashes)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int64])
}

// Conflicts tells whether the id of the record decoded last is there with other
// content, for who stores a single one. It forgets the record.
func (d *Decoder) Conflicts(ctx context.Context, conn *pgx.Conn) (bool, error) {
	list := d.ids
	d.ids = d.ids[:0]
	if len(list) == 0 {
		return false, nil
	}
	found, err := others(ctx, conn, list[len(list)-1].topic, "", list[len(list)-1:])
	if err != nil {
		return false, fmt.Errorf("look for rows of the same id: %w", err)
	}
	return len(found) > 0, nil
}

const (
	pageWords = 1024
	pageIDs   = pageWords * 64
	maxPages  = 1024 // 8 MiB of bits, 67 million ids
)

// seen is a set of ids. What it has forgotten counts as seen.
type seen struct {
	floor  int64 // ids up to here may be stored
	shared bool  // others write ids that we do not see
	// Ids above old are in no chunk before recent, as far as ids follow times:
	// without that, two processes would look for every id in every chunk.
	old    int64
	recent string
	pages  map[int64]*[pageWords]uint64
}

// add adds an id and tells whether it certainly was not there.
func (s *seen) add(id int64) (isNew bool) {
	if s.shared || id <= s.floor {
		return false
	}
	page := s.pages[id/pageIDs]
	if page == nil {
		if len(s.pages) >= maxPages {
			s.forget()
		}
		page = new([pageWords]uint64)
		s.pages[id/pageIDs] = page
	}
	word, bit := id%pageIDs/64, uint64(1)<<(id%64)
	isNew = page[word]&bit == 0
	page[word] |= bit
	return isNew
}

// forget drops the page of the lowest ids.
func (s *seen) forget() {
	lowest := int64(-1)
	for n := range s.pages {
		if lowest < 0 || n < lowest {
			lowest = n
		}
	}
	delete(s.pages, lowest)
	s.floor = max(s.floor, (lowest+1)*pageIDs-1)
}
