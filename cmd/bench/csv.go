package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// filledTables are all that a batch writes, but for the ledger: psql keeps none.
var filledTables = []string{"trades", "order_events", "balance_changes", "deposits", "withdrawals", "internal_transfers", "users",
	"event_log", "gaps", "rejects", "duplicates"}

// exportCSV writes the tables that the daemon has filled to CSV files.
func (b *bench) exportCSV(ctx context.Context, database string) error {
	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	size := int64(0)
	for _, table := range filledTables {
		w := &splitter{path: filepath.Join(b.directory, table), rows: b.csvRows}
		_, err := conn.PgConn().CopyTo(ctx, w, "COPY (SELECT * FROM dingir."+table+") TO STDOUT (FORMAT csv)")
		if closing := w.close(); err == nil {
			err = closing
		}
		if err != nil {
			return fmt.Errorf("export dingir.%s: %w", table, err)
		}
		size += w.bytes
	}
	say("%d MB of CSV", size/1e6)
	return nil
}

// splitter writes CSV to path.0001.csv and so on, each of so many rows.
type splitter struct {
	path   string
	rows   int
	bytes  int64
	file   *os.File
	files  int
	left   int
	quoted bool // in the middle of a quoted field
}

func (w *splitter) Write(p []byte) (int, error) {
	n := len(p)
	w.bytes += int64(n)
	for len(p) > 0 {
		if w.left == 0 {
			if err := w.next(); err != nil {
				return 0, err
			}
		}
		end := w.rowEnd(p)
		if _, err := w.file.Write(p[:end]); err != nil {
			return 0, err
		}
		p = p[end:]
	}
	return n, nil
}

// rowEnd is where the file's last row ends in p, or p's length.
func (w *splitter) rowEnd(p []byte) int {
	for i, c := range p {
		switch {
		case c == '"':
			w.quoted = !w.quoted
		case c == '\n' && !w.quoted:
			if w.left--; w.left == 0 {
				return i + 1
			}
		}
	}
	return len(p)
}

func (w *splitter) next() (err error) {
	if err := w.close(); err != nil {
		return err
	}
	w.files++
	w.left = w.rows
	w.file, err = os.Create(fmt.Sprintf("%s.%04d.csv", w.path, w.files))
	return err
}

func (w *splitter) close() error {
	if w.file == nil {
		return nil
	}
	return w.file.Close()
}

// runCSV has n psql processes copy the files into a fresh database.
func (b *bench) runCSV(ctx context.Context, n int) (seconds float64, err error) {
	database, err := b.quietDatabase(ctx)
	if err != nil {
		return 0, err
	}
	psql, err := exec.LookPath("psql")
	if err != nil {
		b.report.PSQLNote = "no psql on this machine: the same statements sent by pgx"
	}
	scripts := make([]bytes.Buffer, n)
	turn := 0
	for _, table := range filledTables {
		files, err := filepath.Glob(filepath.Join(b.directory, table+".*.csv"))
		if err != nil {
			return 0, err
		}
		for _, file := range files {
			fmt.Fprintf(&scripts[turn%n], "\\copy dingir.%s from '%s' with (format csv)\n", table, file)
			turn++
		}
	}
	settle(ctx)
	start := time.Now()
	copying, copyingCtx := errgroup.WithContext(ctx)
	for i := range scripts {
		copying.Go(func() error {
			if psql == "" {
				return copyScript(copyingCtx, database, scripts[i].String())
			}
			cmd := exec.CommandContext(copyingCtx, psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", database) //nolint:gosec // found on PATH
			cmd.Stdin = &scripts[i]
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("psql: %w: %s", err, bytes.TrimSpace(out))
			}
			return nil
		})
	}
	if err := copying.Wait(); err != nil {
		return 0, err
	}
	seconds = time.Since(start).Seconds()
	say("psql, %d processes: %.2f s, %.0f records/s, load %s", n, seconds, float64(b.total)/seconds, loadAverage())
	return seconds, b.drop(ctx, database)
}

// copyScript does what psql does with such a script.
func copyScript(ctx context.Context, database, script string) error {
	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for line := range strings.Lines(script) {
		var table, path string
		if _, err := fmt.Sscanf(line, `\copy %s from %s with`, &table, &path); err != nil {
			return err
		}
		file, err := os.Open(strings.Trim(path, "'"))
		if err != nil {
			return err
		}
		_, err = conn.PgConn().CopyFrom(ctx, file, "COPY "+table+" FROM STDIN (FORMAT csv)")
		file.Close()
		if err != nil {
			return fmt.Errorf("copy %s: %w", table, err)
		}
	}
	return nil
}
