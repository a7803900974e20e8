package live

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/store"
)

// Audit compares the state's balances with what the engine says of them on the
// topic balances, piece by piece, over and over.
//
// The two topics are not read in step, so a difference may only be something on
// its way. It counts once two rounds have seen the same figures on both sides,
// each after both topics were stored up to where they ended when it began.
type Audit struct {
	Database store.Options
	Log      *slog.Logger

	// Settled tells whether everything is stored that was on both topics when it
	// was called; it may wait a little for that.
	Settled func(context.Context) (bool, error)

	user  int64 // where the next piece begins
	asset string
	doubt map[holding]figures // seen once or more
	sure  map[holding]bool

	mu     sync.Mutex
	report AuditReport
}

// AuditReport is what an audit has found.
type AuditReport struct {
	At          time.Time // of the last round; zero before the first
	Checked     int64     // balances compared, ever
	Differences int       // that stand now
}

type holding struct {
	user  int64
	asset string
}

type figures struct {
	balance, told string
	at            time.Time
}

// auditPiece is how many balances a round compares. On a hypertable of a year
// the newest row of a user who was long away takes a millisecond.
const auditPiece = 1000

// Report returns what was found last. It may be called by anybody.
func (a *Audit) Report() AuditReport {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.report
}

// Run makes a round every so often, until ctx ends.
func (a *Audit) Run(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := a.Round(ctx); err != nil && ctx.Err() == nil {
			a.Log.Warn("balances are not compared with balance_changes", "error", err)
		}
	}
}

// Round compares one piece, and what was in doubt before.
func (a *Audit) Round(ctx context.Context) error {
	settled, err := a.Settled(ctx)
	if err != nil || !settled {
		return err
	}
	conn, err := store.Connect(ctx, a.Database)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if a.doubt == nil {
		a.doubt, a.sure = map[holding]figures{}, map[holding]bool{}
	}
	checked, err := a.piece(ctx, conn)
	if err != nil {
		return fmt.Errorf("compare balances with balance_changes: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := len(a.sure); n > a.report.Differences {
		a.Log.Warn("balances are not what balance_changes says; SELECT * FROM dingir.balance_audit WHERE NOT agrees", "balances", n)
	}
	a.report = AuditReport{At: time.Now(), Checked: a.report.Checked + checked, Differences: len(a.sure)}
	return nil
}

// Release forgets what was found: another process goes on with it.
func (a *Audit) Release() {
	a.doubt, a.sure = nil, nil
	a.mu.Lock()
	defer a.mu.Unlock()
	a.report = AuditReport{}
}

// piece compares the next balances, and those in doubt.
func (a *Audit) piece(ctx context.Context, conn *pgx.Conn) (checked int64, err error) {
	users, assets := make([]int64, 0, len(a.doubt)), make([]string, 0, len(a.doubt))
	for h := range a.doubt {
		users, assets = append(users, h.user), append(assets, h.asset)
	}
	rows, err := conn.Query(ctx, `
		WITH piece AS (SELECT user_id, asset FROM dingir.balances WHERE (user_id, asset) > ($1, $2) ORDER BY user_id, asset LIMIT $3)
		SELECT a.user_id, a.asset, a.balance::text, a.told::text, a.told_at, a.agrees, true
		  FROM piece p JOIN LATERAL (SELECT * FROM dingir.balance_audit a WHERE a.user_id = p.user_id AND a.asset = p.asset) a ON true
		UNION ALL
		SELECT a.user_id, a.asset, a.balance::text, a.told::text, a.told_at, a.agrees, false
		  FROM unnest($4::bigint[], $5::text[]) k(u, s) JOIN LATERAL (SELECT * FROM dingir.balance_audit a WHERE a.user_id = k.u AND a.asset = k.s) a ON true
		UNION ALL
		(SELECT user_id, asset, '', '', now(), NULL, true FROM piece ORDER BY user_id DESC, asset DESC LIMIT 1)`,
		a.user, a.asset, auditPiece, users, assets)
	if err != nil {
		return 0, err
	}
	seen := map[holding]bool{}
	last := holding{-1, ""} // begin anew
	var h holding
	var f figures
	var agrees *bool
	var inPiece bool
	_, err = pgx.ForEachRow(rows, []any{&h.user, &h.asset, &f.balance, &f.told, &f.at, &agrees, &inPiece}, func() error {
		switch {
		case agrees == nil:
			last = h
		case !seen[h]:
			seen[h] = true
			a.judge(h, f, *agrees)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	for i := range users { // gone, or not known any more
		if h := (holding{users[i], assets[i]}); !seen[h] {
			a.judge(h, figures{}, true)
		}
	}
	a.user, a.asset = last.user, last.asset
	return int64(len(seen)), nil
}

func (a *Audit) judge(h holding, f figures, agrees bool) {
	before, doubted := a.doubt[h]
	switch {
	case agrees:
		delete(a.doubt, h)
		delete(a.sure, h)
	case doubted && before.balance == f.balance && before.told == f.told && before.at.Equal(f.at):
		a.sure[h] = true
	case len(a.doubt) < maxDoubts || doubted:
		a.doubt[h] = f
		delete(a.sure, h)
	}
}

// maxDoubts bounds what is looked at again in each round. With more differences
// than that their exact number does not matter.
const maxDoubts = 1000
