package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/thaliumx/persistor/internal/exchange"
)

// files writes a dump: unifyevents.jsonl with one {"type":…,"value":…} a line, as
// the engine's own dump tool does, and the bare values of every other topic.
type files struct {
	open map[string]*file
	line []byte
}

type file struct {
	f *os.File
	w *bufio.Writer
}

// tags are the types of a dump, by the key on unifyevents (wire 2).
var tags = map[string]string{
	"registeruser": "UserMessage", "deposits": "DepositMessage", "withdraws": "WithdrawMessage",
	"internaltransfer": "TransferMessage", "orders": "OrderMessage", "trades": "TradeMessage",
}

func createFiles(directory string) (*files, error) {
	if err := os.MkdirAll(directory, 0o750); err != nil { //nolint:gosec // the caller's own choice of a directory
		return nil, err
	}
	s := &files{open: map[string]*file{}}
	for _, topic := range exchange.Topics() {
		f, err := os.Create(filepath.Join(directory, topic+".jsonl")) //nolint:gosec // the caller's own choice of a directory
		if err != nil {
			return nil, errors.Join(err, s.close())
		}
		s.open[topic] = &file{f, bufio.NewWriterSize(f, 1<<20)}
	}
	return s, nil
}

func (s *files) write(messages []exchange.Message) error {
	for _, m := range messages {
		line := s.line[:0]
		if m.Topic == exchange.UnifyTopic {
			line = append(append(line, `{"type":"`...), tags[string(m.Key)]...)
			line = append(append(line, `","value":`...), m.Value...)
			line = append(line, '}')
		} else {
			line = append(line, m.Value...)
		}
		line = append(line, '\n')
		s.line = line
		if _, err := s.open[m.Topic].w.Write(line); err != nil {
			return fmt.Errorf("write %s: %w", m.Topic, err)
		}
	}
	return nil
}

func (s *files) send() error { return nil }

func (s *files) close() error {
	var problems []error
	for _, f := range s.open {
		problems = append(problems, f.w.Flush(), f.f.Close())
	}
	return errors.Join(problems...)
}
