package eventlog

import "fmt"

// RangeError says that a source does not have all the offsets asked for.
type RangeError struct {
	Source      string // "the archive", "topic unifyevents", a file's name
	From, Until int64  // asked for, without until
	First, Next int64  // what there is, without next
}

// Error names what was asked for and what there is.
func (e *RangeError) Error() string {
	what := fmt.Sprintf("offsets %d to %d", e.From, e.Until-1)
	if e.Until == End {
		what = fmt.Sprintf("offset %d", e.From)
	}
	if e.First == e.Next {
		return fmt.Sprintf("%s has no records, so not %s", e.Source, what)
	}
	return fmt.Sprintf("%s has offsets %d to %d, so not all of %s", e.Source, e.First, e.Next-1, what)
}

// HoleError says that a source lacks offsets which neither a record nor a gap
// explains.
type HoleError struct {
	Source      string
	First, Last int64 // what is missing, both included
}

// Error names the offsets.
func (e *HoleError) Error() string {
	if e.First == e.Last {
		return fmt.Sprintf("%s: offset %d is missing, and no gap explains it", e.Source, e.First)
	}
	return fmt.Sprintf("%s: offsets %d to %d are missing, and no gap explains them", e.Source, e.First, e.Last)
}

// SeamError says that the archive and the topic do not have the same at an
// offset. One of them was changed: usually the topic, by an unclean election of
// a leader that lacked records.
type SeamError struct {
	Topic   string
	Offset  int64 // the first that differs
	Differs string
}

// Error says where, and what to do.
func (e *SeamError) Error() string {
	return fmt.Sprintf("topic %s differs from the archive from offset %d on: %s either the topic lost or changed records (an unclean leader election, a restored cluster), "+
		"or the archive was altered. Read one of them alone (--from archive, --from kafka) and compare; to go on with the topic's records, "+
		"`persistor positions set` with --accept-loss gives the archive's to history", e.Topic, e.Offset, e.Differs)
}

// OtherTopicError says that the topic is not the one that the archive is of.
type OtherTopicError struct{ Topic string }

// Error says so, and what to do.
func (e *OtherTopicError) Error() string {
	return fmt.Sprintf("topic %s was deleted and made again since, or is another cluster's: the archive is of the one before. "+
		"Read one of them alone (--from archive, --from kafka); `persistor positions` tells how the daemon goes on", e.Topic)
}
