package replay

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// recordBytes is what one record takes in the run's schema at most times: its
// row, the same again where groups are made, positions, and the log of it all.
// Rows have 180 to 250 bytes.
const recordBytes = 900

// SpaceError says that the server's disk has too little room.
type SpaceError struct{ Needed, Free int64 }

// Error says how much is missing.
func (e *SpaceError) Error() string {
	return fmt.Sprintf("the comparison needs about %s beside the live tables, and the server's disk has %s free: make room, or compare less of it with --until-time", size(e.Needed), size(e.Free))
}

// checkSpace estimates what the run will need, and asks the server whether it
// has that.
func (r *run) checkSpace(ctx context.Context) error {
	records := int64(0)
	for _, s := range r.spans {
		records += max(s.end-s.start, 0)
	}
	needed := records * recordBytes
	free, err := r.freeBytes(ctx)
	switch {
	case err != nil:
		return err
	case free < 0:
		r.note("the server does not tell this role how much room its disk has; the comparison takes about %s beside the live tables", size(needed))
	case free < needed:
		return &SpaceError{needed, free}
	}
	return nil
}

// freeBytes asks the server for the free space of its data directory, which
// PostgreSQL has no function for: only who may run programs there can know. It
// returns -1 where this role may not, or the server has no df.
func (r *run) freeBytes(ctx context.Context) (int64, error) {
	var may bool
	var directory *string
	err := r.conn.QueryRow(ctx, `SELECT pg_has_role(current_user, 'pg_execute_server_program', 'USAGE'),
		(SELECT setting FROM pg_settings WHERE name = 'data_directory')`).Scan(&may, &directory)
	if err != nil {
		return 0, fmt.Errorf("ask the server for its free space: %w", err)
	}
	if !may || directory == nil || strings.ContainsAny(*directory, "'\\") {
		return -1, nil
	}
	free := int64(-1)
	// Whatever keeps the server from running it is no reason not to compare.
	_ = pgx.BeginFunc(ctx, r.conn, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "CREATE TEMP TABLE disk (line text) ON COMMIT DROP; COPY disk FROM PROGRAM 'df -Pk \""+*directory+"\"' (FORMAT csv, DELIMITER E'\\x01', QUOTE E'\\x02')")
		if err != nil {
			return err
		}
		var line string
		if err := tx.QueryRow(ctx, "SELECT line FROM disk OFFSET 1").Scan(&line); err != nil {
			return err
		}
		if fields := strings.Fields(line); len(fields) >= 6 {
			if kilobytes, err := strconv.ParseInt(fields[3], 10, 64); err == nil {
				free = kilobytes << 10
			}
		}
		return nil
	})
	return free, ctx.Err()
}

// size is a number of bytes for people.
func size(bytes int64) string {
	const unit = 1 << 10
	switch {
	case bytes < 10*unit:
		return fmt.Sprintf("%d bytes", bytes)
	case bytes < 10*unit*unit:
		return fmt.Sprintf("%d KiB", bytes/unit)
	case bytes < 10*unit*unit*unit:
		return fmt.Sprintf("%d MiB", bytes/unit/unit)
	}
	return fmt.Sprintf("%d GiB", bytes/unit/unit/unit)
}
