package ingest

import (
	"log/slog"
	"testing"
	"time"
)

// A record that comes to a partition after quiet hours is no backlog that
// nobody commits; one that is not stored in time is.
func TestStalledCountsFromWhereTheBacklogBegan(t *testing.T) {
	hoursAgo := time.Now().Add(-3 * time.Hour)
	d := &Daemon{kafkaLink: newLink("", "", "", slog.Default()), databaseLink: newLink("", "", "", slog.Default()), assigned: hoursAgo}
	d.kafkaUp()
	d.databaseUp()
	p := newPartition("trades", "", 0)
	d.partitions = []*partition{p}
	p.sawLog(0, 10)
	p.moved(10)
	p.view.LastCommit = hoursAgo
	p.sawLog(0, 11)
	if s := d.Status(); len(s.Unready) != 0 {
		t.Errorf("a record came just now: %+v", s.Unready)
	}
	p.view.BehindSince = time.Now().Add(-stalledAfter - time.Second)
	if s := d.Status(); len(s.Unready) != 1 || s.Unready[0].Code != "stalled" {
		t.Errorf("a record came long ago: %+v, want stalled", s.Unready)
	}
	p.moved(11)
	p.view.LastCommit = hoursAgo
	p.sawLog(0, 12)
	if s := d.Status(); len(s.Unready) != 0 {
		t.Errorf("the backlog was stored, and a record came just now: %+v", s.Unready)
	}
}
