package replay

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/store"
)

// shape is a table of records, with the pieces of SQL that compare it.
type shape struct {
	store.Shape
	all []string // the columns in the table's order

	// byUnify says that unifyevents fills the table too: its positions there
	// have to be accounted for like those of the hot topic.
	byUnify bool

	// logged says that the table's records are on unifyevents at all.
	logged bool

	// recordTime says that the row's time is its record's, which differs between
	// topics; it is then not part of what the record says.
	recordTime bool

	// clocked says that the row's identity has that time: a record's twin on
	// another topic is a second row then, and no duplicate.
	clocked bool

	// documented is the condition under which a row l of the platform's
	// documented shape tells of the same as the engine's g; "" where there is no
	// such shape. Its times end at the millisecond.
	documented string

	replacer *strings.Replacer
}

const (
	documentedTrade = `l.trade_id = g.trade_id AND l.ask_user_id IS NULL AND l.bid_user_id IS NULL AND l.ask_fee IS NULL AND l.bid_fee IS NULL
		AND l.ask_order_id = g.ask_order_id AND l.bid_order_id = g.bid_order_id AND l.market = g.market AND l.price = g.price
		AND l.amount = g.amount AND l.quote_amount = g.quote_amount AND l.taker_side = g.taker_side
		AND l.time BETWEEN g.time - interval '1 second' AND g.time + interval '1 second'`
	documentedOrder = `l.order_id = g.order_id AND l.frozen IS NULL AND l.maker_fee IS NULL AND l.taker_fee IS NULL AND l.update_time IS NULL
		AND l.event = g.event AND l.market = g.market AND l.side = g.side AND l.type = g.type AND l.user_id = g.user_id AND l.price = g.price
		AND l.amount = g.amount AND l.remain = g.remain AND l.finished_base = g.finished_base
		AND l.create_time BETWEEN g.create_time - interval '1 second' AND g.create_time + interval '1 second'`
)

// sources are the columns that say which record a row came from.
var sources = []string{"src_topic", "src_partition", "src_offset"}

// shapes describes the tables as they are in this database.
func (r *run) readShapes(ctx context.Context) error {
	for _, s := range store.Shapes() {
		rows, err := r.conn.Query(ctx, `SELECT attname::text FROM pg_attribute
			WHERE attrelid = ('dingir.' || $1)::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum`, s.Name)
		if err != nil {
			return fmt.Errorf("read the columns of dingir.%s: %w", s.Name, err)
		}
		all, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return fmt.Errorf("read the columns of dingir.%s: %w", s.Name, err)
		}
		r.shapes = append(r.shapes, newShape(s, all, r.unifyID(), r.Prune))
	}
	return nil
}

// unifyID is the id of unifyevents in dingir.topics; -1 where it was never read.
func (r *run) unifyID() int16 {
	if s := r.unifySpan(); s != nil {
		return s.TopicID
	}
	return -1
}

func newShape(s store.Shape, all []string, unify int16, prune bool) *shape {
	sh := &shape{
		Shape: s, all: all,
		byUnify:    s.Name == "deposits" || s.Name == "withdrawals",
		logged:     s.Name != "balance_changes",
		recordTime: s.Name == "order_events" || s.Name == "users",
		documented: map[string]string{"trades": documentedTrade, "order_events": documentedOrder}[s.Name],
	}
	// What makes one group of records: the identity, but for order_events, whose
	// time differs between topics.
	group := sh.Identity
	if sh.Name == "order_events" {
		group = []string{"order_id", "content_hash"}
	}
	twin, twinOfNew := "NULL::timestamptz", "NULL::timestamptz"
	if sh.Name == "order_events" {
		twin, twinOfNew = fmt.Sprintf("CASE WHEN s.src_topic <> %d THEN s.time END", unify), "(g.new).time"
	}
	sh.clocked = sh.recordTime && slices.Contains(sh.Identity, sh.Time)
	settled, told := "true", "false"
	if sh.clocked {
		settled = "s." + sh.Time + " <= $1"
		// The same bytes can be told twice, by an engine that crashed between: then
		// one topic may have one of them only, and the other topic the other.
		told = fmt.Sprintf(`count(*) FILTER (WHERE NOT home) OVER every = 1
         AND coalesce(max(s.%[1]s) FILTER (WHERE rank < 2 AND covered) OVER every >= s.%[1]s - interval '%[2]d ms'
                  AND min(s.%[1]s) FILTER (WHERE rank < 2 AND covered) OVER every <= s.%[1]s + interval '%[2]d ms', false)`, sh.Time, lateness.Milliseconds())
	}
	left := "('read', 'nowhere', 'expired')"
	if !sh.logged {
		left = "('read', 'nowhere')"
	}
	home := fmt.Sprintf("s.src_topic <> %d", unify)
	if sh.byUnify {
		home = "true"
	}
	// Columns of what the record says.
	values := slices.DeleteFunc(slices.Clone(all), func(c string) bool {
		return slices.Contains(sources, c) || sh.recordTime && c == sh.Time
	})
	content := slices.DeleteFunc(slices.Clone(values), func(c string) bool { return c == "content_hash" })
	kept := "ROW(" + join(all, ", ", func(c string) string {
		if slices.Contains(sources, c) || sh.recordTime && c == sh.Time {
			return "(p.old)." + c
		}
		return "(p.new)." + c
	}) + ")::" + Schema + "." + sh.Name
	row := func(alias string) string {
		return "ROW(" + prefixed(alias, all) + ")::" + Schema + "." + sh.Name
	}
	sh.replacer = strings.NewReplacer(
		"{t}", sh.Name,
		"{s}", Schema+"."+sh.Name,
		"{groups}", Schema+"."+sh.Name+"_groups",
		"{plan}", Schema+"."+sh.Name+"_plan",
		"{final}", Schema+"."+sh.Name+"_final",
		"{schema}", Schema,
		"{time}", sh.Time,
		"{pruned}", strconv.FormatBool(prune),
		"{key}", sh.Identity[0],
		"{home}", home,
		"{settled}", settled, "{told}", told,
		"{twin}", twin,
		"{twin:g}", twinOfNew,
		"{columns}", strings.Join(all, ", "),
		"{identity}", strings.Join(sh.Identity, ", "),
		"{group}", strings.Join(group, ", "),
		"{row:l}", row("l"), "{row:g}", row("g"), "{row:u}", row("u"), "{row:s}", row("s"), "{row:kept}", kept,
		"{new}", prefixed("(p.new)", all),
		"{l=g:identity}", equal("l.", "g.", sh.Identity),
		"{l=g:group}", equal("l.", "g.", group),
		"{l=u:group}", equal("l.", "u.", group),
		"{l=old:identity}", equal("l.", "(p.old).", sh.Identity),
		"{s=new:group}", equal("s.", "(p.new).", group),
		"{s=gnew:group}", equal("s.", "(g.new).", group),
		"{l=gnew:group}", equal("l.", "(g.new).", group),
		"{s=lold:source}", equal("s.", "(l.old).", sources),
		"{l=g:values}", "ROW("+prefixed("l", values)+")::record *= ROW("+prefixed("g", values)+")::record",
		"{l=u:values}", "ROW("+prefixed("l", values)+")::record *= ROW("+prefixed("u", values)+")::record",
		"{old:content}", "ROW("+prefixed("(l.old)", content)+")::record",
		"{new:content}", "ROW("+prefixed("(g.new)", content)+")::record",
		"{l=g:documented}", sh.documented,
		"{l=g:source}", equal("l.", "g.", sources),
		"{l=u:source}", equal("l.", "u.", sources),
		"{s=old:source}", equal("s.", "(p.old).", sources),
		// Where a live row says that it came from.
		"{zone}", fmt.Sprintf(`
			LEFT JOIN %s.zones z ON z.topic_id = l.src_topic AND z.partition = l.src_partition
			     AND l.src_offset >= z.first AND l.src_offset < z.until AND '%s' = ANY (z.home)
			LEFT JOIN %[1]s.history h ON h.topic_id = l.src_topic AND '%[2]s' = ANY (h.home)`, Schema, sh.Name),
		"{class}", "coalesce(z.class, CASE WHEN h.topic_id IS NOT NULL THEN 'history' ELSE 'nowhere' END)",
		// These cannot be looked at, so they may be what the row says.
		"{believed}", "('expired', 'later', 'history', 'cut')",
		// Where a row that no record accounts for may be surplus.
		"{left}", left,
	)
	return sh
}

func (s *shape) sql(text string) string { return s.replacer.Replace(text) }

func join(list []string, separator string, fn func(string) string) string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = fn(v)
	}
	return strings.Join(out, separator)
}

func prefixed(alias string, columns []string) string {
	return join(columns, ", ", func(c string) string { return alias + "." + c })
}

func equal(a, b string, columns []string) string {
	return join(columns, " AND ", func(c string) string { return a + c + " = " + b + c })
}
