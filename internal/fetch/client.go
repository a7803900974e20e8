package fetch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// Client sends this package's requests through one transport. It is safe for
// concurrent use; its fields are to be changed before the first request only.
//
// Set the transport's MetadataTopics to the topics in use: left empty, the
// transport asks for all topics of the cluster every few seconds.
type Client struct {
	// ClientID names the program in the broker's logs and quotas. NewClient
	// takes it from the transport.
	ClientID string

	// RequestTimeout is how long a broker may take to answer, beyond the
	// MaxWait of a fetch. 30 s is also the Java client's choice.
	RequestTimeout time.Duration

	// MaxAnswerBytes bounds one answer, so that a wrong length cannot take all
	// memory. A broker exceeds Request.MaxBytes by one record batch at most, and
	// the platform's largest batch is 10 MiB: 64 MiB is ample.
	MaxAnswerBytes int

	// MaxBatchBytes bounds one inflated record batch. A 10 MiB batch of
	// repetitive JSON inflates to well below 128 MiB when a producer wrote it,
	// whose own buffer (32 MiB by default) held it before.
	MaxBatchBytes int

	transport   kafka.RoundTripper
	bootstrap   net.Addr
	correlation atomic.Int32
}

// NewClient returns a client of the cluster at bootstrap (see kafka.TCP). The
// transport, usually a *kafka.Transport, stays the caller's to close.
func NewClient(transport kafka.RoundTripper, bootstrap net.Addr) *Client {
	c := &Client{
		RequestTimeout: 30 * time.Second,
		MaxAnswerBytes: 64 << 20,
		MaxBatchBytes:  128 << 20,
		transport:      transport,
		bootstrap:      bootstrap,
	}
	if t, ok := transport.(*kafka.Transport); ok {
		c.ClientID = t.ClientID
	}
	return c
}

// Fetch asks one broker for records of the request's partitions and replaces
// what resp held. An error concerns the whole request; a refused partition has
// its own in Part.Err. After any error resp is empty and may be used again.
func (c *Client) Fetch(ctx context.Context, req *Request, resp *Response) error {
	resp.reset()
	if err := req.validate(c.MaxAnswerBytes); err != nil {
		return err
	}
	x := resp.exchange
	resp.exchange = nil // it comes back only with a complete answer
	if x == nil {
		x = new(routed)
	}
	c.prepare(&x.exchange, protocol.Fetch)
	x.broker = req.Broker
	req.encode(&x.exchange, c.ClientID)
	if err := c.roundTrip(ctx, x, req.MaxWait); err != nil {
		return fmt.Errorf("fetch %d partitions from broker %d: %w", len(req.Partitions), req.Broker, err)
	}
	resp.exchange = x
	resp.inflater.limit = c.MaxBatchBytes
	if err := resp.parse(req); err != nil {
		resp.reset()
		return fmt.Errorf("fetch %d partitions from broker %d: %w", len(req.Partitions), req.Broker, err)
	}
	return nil
}

// CheckVersions asks one broker whether it speaks this package's requests. An
// older one would just close the connection on them. The error is a *BrokerError
// (kafka.UnsupportedVersion), or why there was no answer.
func (c *Client) CheckVersions(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.RequestTimeout)
	defer cancel()
	client := kafka.Client{Addr: c.bootstrap, Transport: c.transport}
	answer, err := client.ApiVersions(ctx, &kafka.ApiVersionsRequest{Addr: c.bootstrap})
	if err == nil {
		err = answer.Error
	}
	if err != nil {
		return fmt.Errorf("ask the broker at %v for its versions: %w", c.bootstrap, err)
	}
	needed := map[protocol.ApiKey]int{protocol.Fetch: fetchVersion, protocol.Metadata: metadataVersion, protocol.ListOffsets: listOffsetsVersion}
	for _, api := range answer.ApiKeys {
		if version, ok := needed[protocol.ApiKey(api.ApiKey)]; ok && api.MinVersion <= version && version <= api.MaxVersion {
			delete(needed, protocol.ApiKey(api.ApiKey))
		}
	}
	if len(needed) > 0 {
		return &BrokerError{Offset: -1, Code: kafka.UnsupportedVersion}
	}
	return nil
}

func (c *Client) prepare(x *exchange, key protocol.ApiKey) {
	x.key, x.limit, x.correlation = key, c.MaxAnswerBytes, c.correlation.Add(1)
}

// roundTrip always sets a deadline, because the transport puts it on the
// connection: without one a half-open connection would hold the exchange and its
// memory for ever.
func (c *Client) roundTrip(ctx context.Context, x protocol.Message, wait time.Duration) error {
	bounded, cancel := context.WithTimeout(ctx, wait+c.RequestTimeout)
	defer cancel()
	_, err := c.transport.RoundTrip(bounded, c.bootstrap, x)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		// The connection notices the caller's deadline a moment before ctx does.
		if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
			return context.DeadlineExceeded
		}
		// Not wrapped: it is not the caller's deadline that passed.
		return fmt.Errorf("%w: %v", ErrNoAnswer, err) //nolint:errorlint // see above
	}
	return err
}
