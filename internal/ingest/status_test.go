package ingest

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/thaliumx/persistor/internal/fetch"
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

// A partition that never came into work has no lag that anybody knows.
func TestAPartitionThatIsNotInWorkShows(t *testing.T) {
	d := &Daemon{kafkaLink: newLink("", "", "", slog.Default()), databaseLink: newLink("", "", "", slog.Default()), assigned: time.Now()}
	d.kafkaUp()
	d.databaseUp()
	p := newPartition("trades", "", 0)
	d.partitions = []*partition{p}
	p.waits("Leader Not Available")
	if s := d.Status(); len(s.Unready) != 0 {
		t.Errorf("it was assigned just now: %+v", s.Unready)
	}
	d.assigned = time.Now().Add(-stalledAfter - time.Second)
	if s := d.Status(); len(s.Unready) != 1 || s.Unready[0].Code != "stalled" || !strings.Contains(s.Unready[0].Message, "Leader Not Available") {
		t.Errorf("%+v, want stalled, and why", s.Unready)
	}
}

// Against a database that does not answer a restart does not help: the next
// process would wait just so.
func TestASilentDatabaseIsNoReasonToRestart(t *testing.T) {
	d := &Daemon{log: slog.Default(), kafkaLink: newLink("", "", "", slog.Default()), databaseLink: newLink("", "", "", slog.Default())}
	d.kafkaUp()
	d.databaseUp()
	w := newWorker(d, 0, nil)
	d.crew = []*worker{w}
	long := time.Now().Add(-stuckAfter - time.Minute).Unix()
	w.turned.Store(long)
	w.asks()
	w.asking.Store(long)
	if s := d.Status(); !s.Healthy() || s.Ready() || s.Unready[0].Code != "database_silent" {
		t.Errorf("unhealthy %+v, unready %+v, want database_silent and healthy", s.Unhealthy, s.Unready)
	}
	w.answered()
	if s := d.Status(); !s.Healthy() || !s.Ready() {
		t.Errorf("unhealthy %+v, unready %+v: it has been answered", s.Unhealthy, s.Unready)
	}
	w.turned.Store(long)
	if s := d.Status(); s.Healthy() || len(s.Unready) != 0 {
		t.Errorf("unhealthy %+v, unready %+v: a worker that waits for nobody and does not turn is stuck", s.Unhealthy, s.Unready)
	}
}

// What cannot be read although it should is no topic that nobody has made yet.
func TestATopicThatMayNotBeReadShows(t *testing.T) {
	var text bytes.Buffer
	d := &Daemon{log: slog.New(slog.NewTextHandler(&text, nil)), kafkaLink: newLink("", "", "", slog.Default()), databaseLink: newLink("", "", "", slog.Default())}
	d.Options.Consumer.Topics = []string{"trades", "orders"}
	d.kafkaUp()
	d.databaseUp()
	cluster := &fetch.Cluster{Topics: []fetch.Topic{{Name: "orders"},
		{Name: "trades", Err: &fetch.BrokerError{Topic: "trades", Partition: -1, Offset: -1, Code: kafka.TopicAuthorizationFailed}}}}
	for range 3 {
		d.lookForMissing(t.Context(), cluster)
	}
	if s := d.Status(); len(s.Unready) != 1 || s.Unready[0].Code != "topic_unreadable" || strings.Count(text.String(), "topic trades cannot be read") != 1 {
		t.Errorf("%+v, want topic_unreadable, said once:\n%s", s.Unready, &text)
	}
	cluster.Topics[1].Err = nil
	d.lookForMissing(t.Context(), cluster)
	if s := d.Status(); len(s.Unready) != 0 {
		t.Errorf("it can be read: %+v", s.Unready)
	}
}
