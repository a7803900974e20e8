package ingest

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/store"
)

// answerTime is how long a server may keep silent that is asked whether it is
// there: one that is frozen still acknowledges what it is sent.
const answerTime = 10 * time.Second

// pendingRejects asks for the number of rejects of some topics that wait for an
// operator, over a session that it keeps.
type pendingRejects struct {
	database store.Options
	topics   []string  // in full
	conn     *pgx.Conn // nil: none
}

func (p *pendingRejects) count(ctx context.Context) (int64, error) {
	if err := p.connect(ctx); err != nil {
		return 0, err
	}
	n, err := store.PendingRejects(ctx, p.conn, p.topics)
	if err != nil {
		p.close(ctx)
	}
	return n, err
}

// connect looks whether the session is still there. One that has ended says
// nothing about the server: a new one does.
func (p *pendingRejects) connect(ctx context.Context) (err error) {
	if p.conn != nil {
		bounded, cancel := context.WithTimeout(ctx, answerTime)
		defer cancel()
		if err = p.conn.Ping(bounded); err == nil {
			return nil
		}
		p.close(ctx)
		if bounded.Err() != nil {
			return err
		}
	}
	p.conn, err = store.Connect(ctx, p.database)
	return err
}

func (p *pendingRejects) close(ctx context.Context) {
	if p.conn != nil {
		_ = p.conn.Close(context.WithoutCancel(ctx)) // nothing is lost with a session
		p.conn = nil
	}
}
