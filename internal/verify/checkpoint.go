package verify

import (
	"bufio"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// work is the plan and what is done of it: all that a run needs to go on.
type work struct {
	Version  int
	Database string // what the work is of
	Since    time.Time

	Ledger     []Partition
	Unresolved map[log]*set // rejects
	Units      []unit
	Done       []bool // of Units
	Slots      []slot
	Exchange   exchangePlan
	Tally      *tally

	saved time.Time
}

// checkpointVersion changes with the meaning of what a checkpoint holds.
const checkpointVersion = 4

// checkpointEvery bounds what a kill costs, and what writing costs.
const checkpointEvery = 10 * time.Second

// resume takes up the work of the checkpoint, where there is one.
func (a *audit) resume(ctx context.Context) (bool, error) {
	a.state = work{Version: checkpointVersion, Since: a.options.Since, Tally: newTally(), saved: time.Now()}
	err := a.tx.QueryRow(ctx, `SELECT current_database() || ' ' || coalesce(string_agg(cluster_id || topic_uuid, ' ' ORDER BY id), '')
		FROM dingir.topics`).Scan(&a.state.Database)
	if err != nil {
		return false, fmt.Errorf("read the topics: %w", err)
	}
	if a.options.Checkpoint == "" {
		return false, nil
	}
	f, err := os.Open(a.options.Checkpoint)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read the checkpoint: %w", err)
	}
	defer f.Close()
	var before work
	if err := gob.NewDecoder(bufio.NewReader(f)).Decode(&before); err != nil {
		return false, fmt.Errorf("read the checkpoint %s: %w: remove it to begin again", a.options.Checkpoint, err)
	}
	if a.options.SinceAbout && !before.Since.IsZero() && before.Since.Before(a.state.Since) {
		a.state.Since, a.options.Since = before.Since, before.Since
	}
	switch {
	case before.Version != a.state.Version:
		return false, fmt.Errorf("the checkpoint %s is another version's: remove it to begin again", a.options.Checkpoint)
	case before.Database != a.state.Database:
		return false, fmt.Errorf("the checkpoint %s is of another database: remove it to begin again", a.options.Checkpoint)
	case !before.Since.Equal(a.state.Since) && before.Since.IsZero():
		return false, fmt.Errorf("the checkpoint %s is of an audit of everything: go on without a time, or remove it to begin again", a.options.Checkpoint)
	case !before.Since.Equal(a.state.Since):
		return false, fmt.Errorf("the checkpoint %s is of an audit since %s: go on with that time, or remove it to begin again",
			a.options.Checkpoint, before.Since.UTC().Format(time.RFC3339))
	}
	before.Tally.restore()
	before.saved = a.state.saved
	a.state = before
	return true, nil
}

// save writes the checkpoint, if it is time to.
func (a *audit) save(now bool) error {
	if a.options.Checkpoint == "" || (!now && time.Since(a.state.saved) < a.options.every) {
		return nil
	}
	if err := a.write(); err != nil {
		return fmt.Errorf("write the checkpoint: %w", err)
	}
	a.state.saved = time.Now()
	return nil
}

// write puts the whole checkpoint in the place of the one before.
func (a *audit) write() (err error) {
	name := a.options.Checkpoint + ".new"
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	out := bufio.NewWriterSize(f, 1<<20)
	if err := gob.NewEncoder(out).Encode(&a.state); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return os.Rename(name, a.options.Checkpoint)
}

// forget removes the checkpoint of an audit that has come to its end.
func (a *audit) forget() {
	if a.options.Checkpoint != "" {
		_ = os.Remove(a.options.Checkpoint)
	}
}
