package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"github.com/thaliumx/persistor/internal/config"
	"github.com/thaliumx/persistor/internal/positions"
	"github.com/thaliumx/persistor/internal/store"
	"github.com/thaliumx/persistor/internal/topics"
)

func positionsCommand() command {
	return command{
		name:    "positions",
		summary: "show the ledger beside Kafka's offsets and watermarks",
		detail: "The ledger decides where reading goes on; the group's offsets are for lag tools.\n" +
			"A dash stands for what is not known.",
		needs: config.NeedKafka | config.NeedConsumer | config.NeedDatabase,
		prepare: func(*flag.FlagSet) func(context.Context, *call) error {
			return showPositions
		},
	}
}

func positionsSetCommand() command {
	return command{
		name:      "positions set",
		summary:   "move the ledger of one partition on purpose",
		arguments: "<topic> <partition> <offset>|earliest|latest",
		detail: "Back: records are read again, and rows that are there already stay single.\n" +
			"Forward: what is passed over is noted as a gap. The daemon may run meanwhile.",
		needs: config.NeedKafka | config.NeedConsumer | config.NeedDatabase,
		prepare: func(fs *flag.FlagSet) func(context.Context, *call) error {
			var w positions.Wish
			fs.BoolVar(&w.AcceptNewTopic, "accept-new-topic", false, "begin with a topic that was deleted and made again, or with another cluster's")
			fs.BoolVar(&w.AcceptLoss, "accept-loss", false, "go on with a log that lost or changed records that are stored")
			yes := fs.Bool("yes", false, "do not ask")
			return func(ctx context.Context, c *call) error { return setPosition(ctx, c, w, *yes) }
		},
	}
}

// partitions reads the ledger and Kafka's side of the named topics.
func partitions(ctx context.Context, c *call, conn *pgx.Conn, names []string) ([]positions.Partition, error) {
	// Without topics of its own the transport would learn about all there are.
	transport, err := c.config.Kafka.Transport(names)
	if err != nil {
		return nil, err
	}
	defer transport.CloseIdleConnections()
	list, err := positions.Look(ctx, conn, c.config.Kafka.Client(transport), c.config.Consumer.GroupID, names)
	if err != nil {
		return nil, withKafkaHint(err)
	}
	return list, nil
}

// connected runs a command's work with a session on a database of the right
// schema.
func connected(ctx context.Context, c *call, work func(*pgx.Conn) error) error {
	options := databaseOptions(c)
	if err := store.CheckSchema(ctx, options); err != nil {
		return withDatabaseHint(c, err)
	}
	conn, err := store.Connect(ctx, options)
	if err != nil {
		return withDatabaseHint(c, err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return work(conn)
}

func showPositions(ctx context.Context, c *call) error {
	return connected(ctx, c, func(conn *pgx.Conn) error {
		list, err := partitions(ctx, c, conn, c.config.Kafka.TopicNames(c.config.Consumer.Topics))
		if err != nil {
			return err
		}
		t := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "TOPIC\tPARTITION\tFIRST\tNEXT\tGROUP\tLOG START\tLOG END\tLAG\tSTATE")
		for _, p := range list {
			first, next := int64(-1), int64(-1)
			if p.Begun {
				first, next = p.Ledger.First, p.Ledger.Next
			}
			fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", p.Topic, p.ID, dash(first), dash(next),
				dash(p.Group), dash(p.LogStart), dash(p.High), dash(p.Lag()), p.State())
		}
		return t.Flush()
	})
}

// dash is a number, or a dash for one that is not known.
func dash(n int64) string {
	if n < 0 {
		return "-"
	}
	return strconv.FormatInt(n, 10)
}

func setPosition(ctx context.Context, c *call, w positions.Wish, yes bool) error {
	if len(c.args) != 3 {
		return usageError("want three arguments: <topic> <partition> <offset>|earliest|latest")
	}
	name, err := fullTopic(c, c.args[0])
	if err != nil {
		return err
	}
	number, err := strconv.ParseInt(c.args[1], 10, 32)
	if err != nil || number < 0 {
		return usageError("%q is no partition", c.args[1])
	}
	w.Offset = c.args[2]
	if _, err := strconv.ParseUint(w.Offset, 10, 63); err != nil && w.Offset != "earliest" && w.Offset != "latest" {
		return usageError("%q is no offset: want a number, earliest or latest", w.Offset)
	}
	if !yes && !isTerminal(os.Stdin) {
		return usageError("there is no terminal to ask on: add --yes")
	}
	return connected(ctx, c, func(conn *pgx.Conn) error {
		list, err := partitions(ctx, c, conn, []string{name})
		if err != nil {
			return err
		}
		p := positions.Partition{Topic: name, ID: int32(number)}
		if i := slices.IndexFunc(list, func(p positions.Partition) bool { return p.Topic == name && p.ID == int32(number) }); i >= 0 {
			p = list[i]
		}
		plan, err := positions.MakePlan(p, c.config.Kafka.TopicPrefix, w)
		if err != nil {
			return err
		}
		fmt.Fprintln(c.stdout, plan)
		if plan.Nothing() {
			return nil
		}
		if !yes && !confirmed(c) {
			return errors.New("nothing was changed")
		}
		done, err := positions.Move(ctx, conn, plan, c.config.Kafka.TopicPrefix, w)
		if err != nil {
			return err
		}
		fmt.Fprintf(c.stdout, "done: topic %s partition %d stands at offset %d\n", name, number, done.To)
		return nil
	})
}

// fullTopic takes a topic's name with or without the prefix.
func fullTopic(c *call, name string) (string, error) {
	known := topics.Names(topics.Consumed())
	switch prefix := c.config.Kafka.TopicPrefix; {
	case slices.Contains(known, strings.TrimPrefix(name, prefix)) && strings.HasPrefix(name, prefix):
		return name, nil
	case slices.Contains(known, name):
		return prefix + name, nil
	}
	return "", usageError("%q is no topic that the persistor knows; choose from %s", name, strings.Join(known, ", "))
}

// confirmed asks on the terminal.
func confirmed(c *call) bool {
	fmt.Fprint(c.stdout, "Do this? [y/N] ")
	answer, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil {
		return false
	}
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes"
}

// isTerminal tells whether somebody can be asked; /dev/null is a device too.
func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
