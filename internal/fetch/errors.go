package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/segmentio/kafka-go"
)

// ErrNoAnswer means that a broker did not answer within Client.RequestTimeout
// (plus the request's own MaxWait), or could not be reached within the
// transport's DialTimeout. It is retriable.
var ErrNoAnswer = errors.New("no answer in time")

// ErrMalformed means that an answer as a whole does not follow the protocol;
// nothing of it is delivered.
var ErrMalformed = errors.New("malformed answer")

// BrokerError is a broker's refusal of one partition, or with an empty Topic of
// a whole request. errors.Is sees through to the kafka.Error.
type BrokerError struct {
	Topic     string
	Partition int32 // -1 where it is the topic as a whole
	Offset    int64 // asked for; -1 where the request names none
	Code      kafka.Error
}

func (e *BrokerError) Error() string {
	where := "the broker refused the request"
	if e.Topic != "" {
		where = "topic " + e.Topic
		if e.Partition >= 0 {
			where += fmt.Sprintf(" partition %d", e.Partition)
		}
		if e.Offset >= 0 {
			where += fmt.Sprintf(" offset %d", e.Offset)
		}
	}
	return where + ": " + describe(e.Code)
}

func (e *BrokerError) Unwrap() error { return e.Code }

// describe says what a code means to a reader of one partition, and leaves the
// codes that have no special meaning here to kafka-go's table.
func describe(code kafka.Error) string {
	var text string
	switch code {
	case kafka.OffsetOutOfRange:
		text = "the log does not reach this offset: retention went past it or the log was truncated below it; compare it with the watermarks"
	case kafka.UnknownTopicID:
		text = "no topic has this id: it was deleted, perhaps made again; read the metadata and compare the topic id"
	case kafka.InconsistentTopicID:
		text = "the topic has another id there: it was made again; read the metadata and compare the topic id"
	case kafka.UnknownTopicOrPartition:
		text = "unknown topic or partition: it was never made, is deleted, or is no longer on this broker"
	case kafka.NotLeaderForPartition:
		text = "this broker no longer leads the partition; read the metadata"
	case kafka.TopicAuthorizationFailed:
		text = "not authorized for the topic: the user needs READ and DESCRIBE on it"
	case kafka.UnsupportedVersion:
		text = "the broker does not speak the versions that are needed: Kafka 3.1 or newer"
	default:
		text = code.Title()
		if text == "" {
			text = "an error code that this program does not know"
		}
	}
	return fmt.Sprintf("%s (error %d)", text, int(code))
}

// BrokerUnknownError means that the transport's cached layout does not have the
// broker: it just started, is down, or the metadata in hand is old. The
// transport refreshes its layout by itself within its MetadataTTL.
type BrokerUnknownError struct{ ID int32 }

func (e *BrokerUnknownError) Error() string {
	return fmt.Sprintf("broker %d is not among the brokers that the cluster lists at present; read the metadata and try again", e.ID)
}

// CorruptError means that stored or transmitted bytes are wrong: a checksum, a
// length, a magic, a codec. The records before Offset were delivered; the same
// bytes give the same error, so the partition cannot go on by itself.
type CorruptError struct {
	Topic     string
	Partition int32
	Offset    int64 // position that could not be read
	Next      int64 // position behind the batch, as far as damaged bytes can tell; -1 where they cannot
	Reason    string
	Err       error // the decompressor's word, or nil
}

func (e *CorruptError) Error() string {
	s := fmt.Sprintf("topic %s partition %d offset %d: corrupt record batch: %s", e.Topic, e.Partition, e.Offset, e.Reason)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *CorruptError) Unwrap() error { return e.Err }

// JumpError means that the log goes on at another offset than the next one and
// no marker or aborted transaction explains it: a compacted topic, or records
// that are gone. The positions from Expected up to Found were never delivered.
type JumpError struct {
	Topic     string
	Partition int32
	Expected  int64
	Found     int64
}

func (e *JumpError) Error() string {
	return fmt.Sprintf("topic %s partition %d: the log jumps from offset %d to %d without saying why: records are missing (a compacted topic, or a damaged log)",
		e.Topic, e.Partition, e.Expected, e.Found)
}

// AnswerTooLargeError means that a broker announced more than
// Client.MaxAnswerBytes. Nothing of the answer was read.
type AnswerTooLargeError struct {
	Bytes, Limit int
}

func (e *AnswerTooLargeError) Error() string {
	return fmt.Sprintf("an answer of %d bytes is above the limit of %d: ask for less at once, or raise the limit if one record batch is this large", e.Bytes, e.Limit)
}

// BatchTooLargeError means that a record batch inflates to more than
// Client.MaxBatchBytes.
type BatchTooLargeError struct {
	Topic     string
	Partition int32
	Offset    int64 // first position of the batch that was not delivered
	Next      int64 // position behind the batch
	Limit     int
}

func (e *BatchTooLargeError) Error() string {
	return fmt.Sprintf("topic %s partition %d offset %d: a record batch inflates to more than %d bytes; raise the limit if such batches are meant to be there",
		e.Topic, e.Partition, e.Offset, e.Limit)
}

// Retriable reports whether the same request may succeed later without
// anybody's help: connection faults, a broker that did not answer, leadership on
// the move. A context that the caller ended is not, nor are corrupt data and
// OFFSET_OUT_OF_RANGE. UNKNOWN_TOPIC_ID is: a broker says so for a moment about a
// topic that was just made, so only metadata with another id is the final word.
func Retriable(err error) bool {
	var code kafka.Error
	if errors.As(err, &code) {
		return code == kafka.Unknown || code.Temporary() && code != kafka.InvalidMessage ||
			code == kafka.BrokerNotAvailable || code == kafka.ReplicaNotAvailable
	}
	return errors.Is(err, ErrNoAnswer) || unknownBroker(err) || connectionFault(err)
}

// NeedsMetadata reports whether the metadata should be read again before the
// next attempt: the leader may have moved or the topic may be another one.
func NeedsMetadata(err error) bool {
	var code kafka.Error
	if errors.As(err, &code) {
		switch code {
		case kafka.UnknownTopicOrPartition, kafka.UnknownTopicID, kafka.InconsistentTopicID,
			kafka.LeaderNotAvailable, kafka.NotLeaderForPartition, kafka.BrokerNotAvailable,
			kafka.ReplicaNotAvailable, kafka.KafkaStorageError, kafka.FencedLeaderEpoch,
			kafka.UnknownLeaderEpoch, kafka.ListenerNotFound:
			return true
		}
		return false
	}
	return errors.Is(err, ErrNoAnswer) || unknownBroker(err) || connectionFault(err)
}

func unknownBroker(err error) bool {
	var unknown *BrokerUnknownError
	return errors.As(err, &unknown)
}

func connectionFault(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	var netErr net.Error
	var errno syscall.Errno
	return errors.As(err, &netErr) || errors.As(err, &errno) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded)
}
