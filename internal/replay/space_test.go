package replay

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/testenv"
)

// A server that can tell its free space is asked; one that does not tell this
// role is no reason to stop.
func TestSpace(t *testing.T) {
	conn, err := pgx.Connect(t.Context(), testenv.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	small := &run{conn: conn, spans: []*span{{end: 10}}}
	if err := small.checkSpace(t.Context()); err != nil || len(small.report.Notes) != 0 {
		t.Errorf("%v, %q", err, small.report.Notes)
	}
	big := &run{conn: conn, spans: []*span{{end: 1 << 50}}}
	var lack *SpaceError
	if err := big.checkSpace(t.Context()); !errors.As(err, &lack) || lack.Free <= 0 || !strings.Contains(err.Error(), "GiB") {
		t.Errorf("%v", err)
	}
	role := fmt.Sprintf("replay_space_%d", os.Getpid()) // roles are the whole server's
	if _, err := conn.Exec(t.Context(), "CREATE ROLE "+role+"; SET ROLE "+role); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if _, err := conn.Exec(t.Context(), "RESET ROLE; DROP ROLE "+role); err != nil {
			t.Error(err)
		}
	}()
	if err := big.checkSpace(t.Context()); err != nil || len(big.report.Notes) != 1 || !strings.Contains(big.report.Notes[0], "does not tell this role") {
		t.Errorf("%v, %q", err, big.report.Notes)
	}
}
