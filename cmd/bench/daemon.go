package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/thaliumx/persistor/internal/store"
)

// daemonFigures are those of one run of the daemon.
type daemonFigures struct {
	Workers         int     `json:"workers"`
	Seconds         float64 `json:"seconds"`          // from the process's start to the commit of the last record
	AssignedSeconds float64 `json:"assigned_seconds"` // of those, from the partitions' assignment on
	DaemonCPU       float64 `json:"daemon_cpu_seconds"`
	BrokerCPU       float64 `json:"broker_cpu_seconds"`
	DatabaseCPU     float64 `json:"database_cpu_seconds"` // of the daemon's sessions; 0 where the server is elsewhere
	OtherCPU        float64 `json:"other_cpu_seconds"`    // of the machine besides
	PeakMemory      int64   `json:"peak_memory_bytes"`
	Load            string  `json:"load_average"`
}

// poll is how often something is looked at that takes its time.
const poll = 20 * time.Millisecond

// untilNextLook is how soon the ledger is asked again during a run: rarely enough
// to cost nothing, but often at its end.
func untilNextLook(stored, total int64) time.Duration {
	if stored < total/100*95 {
		return 200 * time.Millisecond
	}
	return 5 * time.Millisecond
}

// runDaemon has `persistor run` drain the backlog into a fresh database. The first
// run is audited, and what psql is to copy is made of it.
func (b *bench) runDaemon(ctx context.Context, workers int, first bool) (seconds float64, err error) {
	database, err := b.quietDatabase(ctx)
	if err != nil {
		return 0, err
	}
	f, err := b.drain(ctx, database, workers)
	if err != nil {
		return 0, err
	}
	b.report.Daemon = append(b.report.Daemon, f)
	if first {
		if out, err := b.program(ctx, database, "persistor", "verify").CombinedOutput(); err != nil {
			return 0, fmt.Errorf("persistor verify finds fault with the run: %w: %s", err, out)
		}
	}
	if first && !b.skipped("psql") {
		if err := b.exportCSV(ctx, database); err != nil {
			return 0, err
		}
	}
	return f.Seconds, b.drop(ctx, database)
}

// runPlain has it do without the archive and the state of unifyevents.
func (b *bench) runPlain(ctx context.Context, workers int) error {
	database, err := b.quietDatabase(ctx)
	if err != nil {
		return err
	}
	archived := b.archived
	f, err := b.drain(ctx, database, workers, "--event-log=false")
	if err != nil {
		return err
	}
	b.archived, b.report.Plain = archived, append(b.report.Plain, f)
	return b.drop(ctx, database)
}

// drain runs the daemon until all of the backlog is in the database.
func (b *bench) drain(ctx context.Context, database string, workers int, args ...string) (f daemonFigures, err error) {
	args = append(args, "--workers="+strconv.Itoa(workers))
	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		return f, err
	}
	defer conn.Close(ctx)
	settle(ctx)
	brokerBefore, machineBefore := cpuSeconds(b.broker), machineSeconds()
	d, err := b.startDaemon(ctx, database, args...)
	if err != nil {
		return f, err
	}
	defer d.kill()
	for stored := int64(0); stored < b.total; {
		select {
		case <-d.ended:
			return f, fmt.Errorf("the daemon ended with %d of %d records stored; its last words: %s", stored, b.total, d.lastWords())
		case <-time.After(untilNextLook(stored, b.total)):
		case <-ctx.Done():
			return f, ctx.Err()
		}
		if stored, err = storedRecords(ctx, conn); err != nil {
			return f, err
		}
	}
	end := time.Now()
	f = daemonFigures{
		Workers:   workers,
		Seconds:   end.Sub(d.started).Seconds(),
		DaemonCPU: cpuSeconds(d.cmd.Process.Pid), BrokerCPU: cpuSeconds(b.broker) - brokerBefore,
		PeakMemory: peakMemory(d.cmd.Process.Pid), Load: loadAverage(),
	}
	if f.DatabaseCPU, err = sessionSeconds(ctx, conn); err != nil {
		return f, err
	}
	if b.archived, err = archiveSize(ctx, conn); err != nil {
		return f, err
	}
	f.OtherCPU = machineSeconds() - machineBefore - f.DaemonCPU - f.BrokerCPU - f.DatabaseCPU
	if err := d.stop(); err != nil {
		return f, err
	}
	if !d.assigned.IsZero() {
		f.AssignedSeconds = end.Sub(d.assigned).Seconds()
	}
	say("daemon%s: %.2f s, %.0f records/s (%.0f once assigned), CPU s: daemon %.2f, sessions %.2f, Kafka %.2f, others %.2f; %d MiB, load %s", strings.Join(append([]string{""}, args...), " "), f.Seconds, float64(b.total)/f.Seconds,
		float64(b.total)/f.AssignedSeconds, f.DaemonCPU, f.DatabaseCPU, f.BrokerCPU, f.OtherCPU, f.PeakMemory>>20, f.Load)
	return f, nil
}

// sessionSeconds is the CPU time of our sessions in the connection's database.
func sessionSeconds(ctx context.Context, conn *pgx.Conn) (sum float64, err error) {
	rows, err := conn.Query(ctx, "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1", store.ApplicationName)
	if err != nil {
		return 0, err
	}
	pids, err := pgx.CollectRows(rows, pgx.RowTo[int])
	for _, pid := range pids {
		sum += cpuSeconds(pid)
	}
	return sum, err
}

// daemon is a running `persistor run`.
type daemon struct {
	cmd      *exec.Cmd
	log      string // its log file
	started  time.Time
	assigned time.Time // zero until it has its partitions; to be read once it has ended
	ended    chan struct{}
	err      error // after ended
}

func (b *bench) startDaemon(ctx context.Context, database string, args ...string) (*daemon, error) {
	d := &daemon{
		cmd:   b.program(ctx, database, "persistor", append([]string{"run", "--listen", "127.0.0.1:0", "--log-format", "text"}, args...)...),
		log:   filepath.Join(b.directory, "daemon.log"),
		ended: make(chan struct{}),
	}
	file, err := os.Create(d.log)
	if err != nil {
		return nil, err
	}
	stderr, err := d.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	d.started = time.Now()
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(d.ended)
		defer file.Close()
		for lines := bufio.NewScanner(io.TeeReader(stderr, file)); lines.Scan(); {
			if strings.Contains(lines.Text(), "partitions assigned") {
				d.assigned = time.Now()
			}
		}
		d.err = d.cmd.Wait()
	}()
	return d, nil
}

// stop ends the daemon as an operator would.
func (d *daemon) stop() error {
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	<-d.ended
	if d.err != nil {
		return fmt.Errorf("the daemon did not stop well: %w; its last words: %s", d.err, d.lastWords())
	}
	return nil
}

// kill is for when something has gone wrong.
func (d *daemon) kill() {
	select {
	case <-d.ended:
	default:
		_ = d.cmd.Process.Kill()
		<-d.ended
	}
}

func (d *daemon) lastWords() string {
	text, _ := os.ReadFile(d.log)
	return strings.TrimSpace(string(text[max(0, len(text)-2000):]))
}
