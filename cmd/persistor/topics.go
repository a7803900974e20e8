package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"

	"github.com/segmentio/kafka-go"

	"github.com/thaliumx/persistor/internal/config"
	"github.com/thaliumx/persistor/internal/topics"
)

func topicsCheckCommand() command {
	return command{
		name:    "topics check",
		summary: "compare the cluster's topics with the ones documented",
		detail: "Lists what differs, with what to do about it, and ends with exit code 3 then.\n" +
			"A difference marked GRAVE makes the data wrong; the others cost time, space or\n" +
			"history. Nothing is changed.",
		needs: config.NeedKafka,
		prepare: func(*flag.FlagSet) func(context.Context, *call) error {
			return checkTopics
		},
	}
}

func topicsCreateCommand() command {
	return command{
		name:    "topics create",
		summary: "create the documented topics that are missing (for development)",
		detail: "Topics that exist stay as they are, so this can be repeated; what they have\n" +
			"otherwise than documented is listed; `persistor topics check` compares.",
		needs: config.NeedKafka,
		prepare: func(fs *flag.FlagSet) func(context.Context, *call) error {
			replicas := fs.Int("replication-factor", 1, "`copies` of each partition; 1 is for development")
			return func(ctx context.Context, c *call) error {
				if *replicas < 1 || *replicas > 1000 {
					return usageError("--replication-factor: %d is not between 1 and 1000", *replicas)
				}
				return createTopics(ctx, c, *replicas)
			}
		},
	}
}

func checkTopics(ctx context.Context, c *call) error {
	want := topics.Documented(c.config.Kafka.TopicPrefix)
	client, closeClient, err := kafkaClient(c, want)
	if err != nil {
		return err
	}
	defer closeClient()
	diffs, err := topics.Check(ctx, client, want)
	if err != nil {
		return withKafkaHint(err)
	}
	listDifferences(c.stdout, want, diffs)
	grave := ""
	if topics.AnyGrave(diffs) {
		grave = ", grave ones among them"
	}
	switch len(diffs) {
	case 0:
		return nil
	case 1:
		return foundDifferences("1 difference from the documented topics%s", grave)
	}
	return foundDifferences("%d differences from the documented topics%s", len(diffs), grave)
}

func createTopics(ctx context.Context, c *call, replicas int) error {
	want := topics.Documented(c.config.Kafka.TopicPrefix)
	client, closeClient, err := kafkaClient(c, want)
	if err != nil {
		return err
	}
	defer closeClient()
	done, err := topics.Create(ctx, client, want, replicas)
	for _, name := range done.Made {
		fmt.Fprintln(c.stdout, "created", name)
	}
	for _, name := range done.Existed {
		fmt.Fprintln(c.stdout, "exists ", name)
	}
	if err != nil {
		return withKafkaHint(err)
	}
	listDifferences(c.stdout, want, done.Remained)
	return nil
}

func listDifferences(w io.Writer, want []topics.Topic, diffs []topics.Difference) {
	if len(diffs) == 0 {
		fmt.Fprintf(w, "all %d topics are as documented\n", len(want))
	}
	for _, d := range diffs {
		fmt.Fprintln(w, d)
	}
}

func kafkaClient(c *call, want []topics.Topic) (*kafka.Client, func(), error) {
	transport, err := c.config.Kafka.Transport(topics.Names(want))
	if err != nil {
		return nil, nil, err
	}
	return c.config.Kafka.Client(transport), transport.CloseIdleConnections, nil
}

// withKafkaHint adds what to look at when Kafka could not be reached. What a
// broker answers speaks for itself, but for a wrong password.
func withKafkaHint(err error) error {
	refused, answered := errors.AsType[kafka.Error](err)
	_, network := errors.AsType[net.Error](err)
	cut := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	if answered && refused != kafka.SASLAuthenticationFailed || !network && !cut {
		return err
	}
	return fmt.Errorf("%w; is Kafka up, and are PERSISTOR_KAFKA_BROKERS and the TLS and SASL settings right?", err)
}
