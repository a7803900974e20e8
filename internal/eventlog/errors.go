package eventlog

import "fmt"

// RangeError says that a source does not have all the offsets asked for.
type RangeError struct {
	Source      string // "the archive", "topic unifyevents", a file's name
	From, Until int64  // asked for, without until
	First, Next int64  // what there is, without next
}

func (e *RangeError) Error() string {
	if e.First == e.Next {
		return fmt.Sprintf("%s has no records: offsets %d to %d are not there", e.Source, e.From, e.Until-1)
	}
	return fmt.Sprintf("%s has offsets %d to %d only: %d to %d are not all there", e.Source, e.First, e.Next-1, e.From, e.Until-1)
}

// HoleError says that a source lacks offsets which neither a record nor a gap
// explains.
type HoleError struct {
	Source      string
	First, Last int64 // what is missing, both included
}

func (e *HoleError) Error() string {
	if e.First == e.Last {
		return fmt.Sprintf("%s: offset %d is missing, and no gap explains it", e.Source, e.First)
	}
	return fmt.Sprintf("%s: offsets %d to %d are missing, and no gap explains them", e.Source, e.First, e.Last)
}
