// Package engine fills the table account in the matching engine's own database.
// The engine reads it when it starts and writes it nowhere: without somebody
// who fills it, the engine forgets its users.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/thaliumx/persistor/internal/store"
)

const (
	// pageSize is how many users are compared at once.
	pageSize = 1000

	// reach is how many of the highest ids a pass compares that somebody woke.
	// Ids count up, but users arrive in any order over the topic's partitions,
	// and an engine that restarted uses its last ids again.
	reach = 10 * pageSize

	// wholeEvery is how often all users are compared: that finds what reach
	// missed, and accounts that somebody changed or deleted.
	wholeEvery = 10 * time.Minute

	// pause is the least time between two passes, so that a backlog of
	// registrations costs one pass a second and not one a batch.
	pause = time.Second

	// After a failure the next attempt comes later and later.
	firstRetry, lastRetry = time.Second, 30 * time.Second

	// patience bounds each statement on either database.
	patience = 30 * time.Second
)

// Accounts copies registrations from dingir.users into the engine's table
// account. It needs no notes of its own about how far it is: it compares the
// two tables by id and writes what differs, so it goes on where it stopped and
// mends what was lost. Between passes it holds no connection.
type Accounts struct {
	ours, theirs store.Options
	log          *slog.Logger
	wake         chan struct{}

	outage  outage
	refused map[user]bool // users that the engine's table could not hold: reported, and not tried again
	whole   time.Time     // when all users were compared last; zero after a failure

	wholeEvery, pause, firstRetry time.Duration // shorter in tests
}

// NewAccounts copies from our database into theirs, the engine's.
func NewAccounts(ours, theirs store.Options, log *slog.Logger) *Accounts {
	return &Accounts{
		ours: ours, theirs: theirs, log: log,
		wake:       make(chan struct{}, 1),
		outage:     outage{log: log},
		refused:    map[user]bool{},
		wholeEvery: wholeEvery, pause: pause, firstRetry: firstRetry,
	}
}

// Wake says that users were stored. It never waits and may be called from
// anywhere.
func (a *Accounts) Wake() {
	select {
	case a.wake <- struct{}{}:
	default: // the pass to come will see these as well
	}
}

// Run copies until the context ends, then returns nil. Whatever happens to
// either database is logged and tried again; only a URL that cannot be read is
// an error.
func (a *Accounts) Run(ctx context.Context) error {
	for _, o := range []store.Options{a.ours, a.theirs} {
		if _, err := pgx.ParseConfig(o.URL); err != nil {
			return fmt.Errorf("read the database URL: %w", err)
		}
	}
	retry := a.firstRetry
	for {
		wait, woken := a.pause, a.wake
		if err := a.pass(ctx); err != nil {
			a.outage.report(ctx, err)
			a.whole = time.Time{} // who knows what they restored
			wait, woken = retry, nil
			retry = min(2*retry, lastRetry)
		} else {
			a.outage.over()
			retry = a.firstRetry
		}
		if !a.rest(ctx, wait, woken) {
			return nil
		}
	}
}

// rest returns when the next pass is due, false when the context has ended.
// Without a channel to be woken by, it is due after the wait.
func (a *Accounts) rest(ctx context.Context, wait time.Duration, woken <-chan struct{}) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(wait):
	}
	if woken == nil {
		return true
	}
	select {
	case <-ctx.Done():
		return false
	case <-woken:
	case <-time.After(time.Until(a.whole.Add(a.wholeEvery))):
	}
	return true
}

// pass compares the last users, or all of them where that is due.
func (a *Accounts) pass(ctx context.Context) error {
	ours, err := store.Connect(ctx, a.ours)
	if err != nil {
		return fmt.Errorf("read users: %w", err)
	}
	defer disconnect(ours) //nolint:contextcheck // The pass's context may have ended.
	theirs, err := store.Connect(ctx, a.theirs)
	if err != nil {
		return fmt.Errorf("fill the engine's accounts: %w", err)
	}
	defer disconnect(theirs) //nolint:contextcheck // As above.

	began, after := time.Now(), int64(-1)
	whole := began.Sub(a.whole) >= a.wholeEvery
	if !whole {
		if after, err = belowReach(ctx, ours); err != nil {
			return err
		}
	}
	var written int64
	for {
		page, err := newest(ctx, ours, after)
		if err != nil {
			return err
		}
		n, err := a.fill(ctx, theirs, page)
		if err != nil {
			return err
		}
		written += n
		if len(page) < pageSize {
			break
		}
		after = page[len(page)-1].id
	}
	if whole {
		a.whole = began
	}
	if written > 0 {
		a.log.Info("filled the engine's accounts", "accounts", written)
	}
	return nil
}

// disconnect has its own deadline: the pass's context may have ended.
func disconnect(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	// The server ends a session that is not closed properly as well.
	_ = conn.Close(ctx)
}

// errNoTable is no fault: the engine's migrations create its tables, and fail
// where somebody else has done so before.
var errNoTable = errors.New("waiting for the engine's migrations to create its table account")

type user struct {
	id                  int64
	l1Address, l2Pubkey string
}

// belowReach returns the id above which the last registrations are, -1 for all.
// It counts rows, since a single odd id may be far above all others.
func belowReach(ctx context.Context, ours *pgx.Conn) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var id int64
	err := ours.QueryRow(ctx, "SELECT coalesce((SELECT user_id FROM dingir.users ORDER BY user_id DESC OFFSET $1 LIMIT 1), -1)", reach).Scan(&id)
	if err != nil {
		return 0, fmt.Errorf("read users: %w", err)
	}
	return id, nil
}

// newest returns a page of users above an id, by id. Where an id was registered
// more than once, the engine had restarted and used it again: the newest
// registration is the one that it knows, the same as in dingir_compat.account.
func newest(ctx context.Context, ours *pgx.Conn, after int64) ([]user, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	found, err := ours.Query(ctx, `
		SELECT DISTINCT ON (user_id) user_id, l1_address, l2_pubkey
		  FROM dingir.users
		 WHERE user_id > $1
		 ORDER BY user_id, registered_at DESC, src_offset DESC, content_hash DESC
		 LIMIT $2`, after, pageSize)
	if err != nil {
		return nil, fmt.Errorf("read users: %w", err)
	}
	page, err := pgx.CollectRows(found, func(row pgx.CollectableRow) (u user, err error) {
		return u, row.Scan(&u.id, &u.l1Address, &u.l2Pubkey)
	})
	if err != nil {
		return nil, fmt.Errorf("read users: %w", err)
	}
	return page, nil
}

// fill writes what differs and returns how many accounts that were. A user that
// the engine's table cannot hold is reported and left out; the others are not
// held up.
func (a *Accounts) fill(ctx context.Context, theirs *pgx.Conn, page []user) (int64, error) {
	var fitting []user
	for _, u := range page {
		switch {
		case a.refused[u]:
		case u.id > math.MaxInt32:
			a.refuse(u, errors.New("its ids end at 2147483647"))
		default:
			fitting = append(fitting, u)
		}
	}
	n, err := upsert(ctx, theirs, fitting)
	if !badRow(err) {
		return n, err
	}
	for _, u := range fitting {
		one, err := upsert(ctx, theirs, []user{u})
		switch {
		case badRow(err):
			a.refuse(u, err)
		case err != nil:
			return n, err
		}
		n += one
	}
	return n, nil
}

// upsert leaves rows that are as they should be untouched and unlocked. Where
// theirs differs ours wins: the engine does not write the table itself, so what
// differs is an older registration under an id that was used again.
func upsert(ctx context.Context, theirs *pgx.Conn, users []user) (int64, error) {
	if len(users) == 0 {
		return 0, nil
	}
	ids := make([]int32, len(users))
	addresses, keys := make([]string, len(users)), make([]string, len(users))
	for i, u := range users { // fill has checked that the ids fit
		ids[i], addresses[i], keys[i] = int32(u.id), u.l1Address, u.l2Pubkey
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tag, err := theirs.Exec(ctx, `
		INSERT INTO account (id, l1_address, l2_pubkey)
		SELECT id, l1_address, l2_pubkey
		  FROM unnest($1::int[], $2::text[], $3::text[]) ours (id, l1_address, l2_pubkey)
		 WHERE NOT EXISTS (
		       SELECT FROM account theirs
		        WHERE (theirs.id, theirs.l1_address, theirs.l2_pubkey) = (ours.id, ours.l1_address, ours.l2_pubkey))
		 ORDER BY id
		    ON CONFLICT (id) DO UPDATE
		   SET l1_address = excluded.l1_address, l2_pubkey = excluded.l2_pubkey`, ids, addresses, keys)
	if code(err) == "42P01" { // undefined_table
		return 0, fmt.Errorf("%w: %w", errNoTable, err)
	}
	if err != nil {
		return 0, fmt.Errorf("fill %d of the engine's accounts from id %d on: %w", len(users), users[0].id, err)
	}
	return tag.RowsAffected(), nil
}

// badRow is true where a value is at fault: too long (class 22), or against a
// constraint of the engine's (class 23).
func badRow(err error) bool {
	return strings.HasPrefix(code(err), "22") || strings.HasPrefix(code(err), "23")
}

// code is the SQLSTATE, empty for what is no server's answer.
func code(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

// refuse reports a user once, and keeps one that does not fit from costing every
// pass an error and its page a statement a row.
func (a *Accounts) refuse(u user, why error) {
	a.refused[u] = true
	a.log.Error("the engine's table account cannot hold a user, whom the engine will not know after it restarts; restart the persistor once the table can",
		"user_id", u.id, "error", why)
}
