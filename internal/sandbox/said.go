package sandbox

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"syscall"
)

const (
	// mostLines of a job go to the log, each cut to longestLine.
	mostLines   = 20
	longestLine = 1000
	// mostText is kept for the reason: the beginning, where a crash has its cause.
	mostText = 4 << 10
)

// said is what a child writes to standard error: read to the end, kept in part.
type said struct {
	logger *slog.Logger

	mu    sync.Mutex
	head  strings.Builder
	lines int
}

// begin forgets what was said before.
func (s *said) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.head.Reset()
	s.lines = 0
}

func (s *said) read(r io.Reader) {
	lines := bufio.NewReaderSize(r, longestLine)
	for {
		line, more, err := lines.ReadLine()
		if len(line) > 0 {
			s.add(string(line))
		}
		for more && err == nil {
			_, more, err = lines.ReadLine()
		}
		if err != nil {
			return
		}
	}
}

func (s *said) add(line string) {
	line = strings.ToValidUTF8(line, "\uFFFD")
	s.mu.Lock()
	if s.head.Len()+len(line) < mostText {
		s.head.WriteString(line + "\n")
	}
	s.lines++
	log := s.lines <= mostLines
	s.mu.Unlock()
	if log {
		s.logger.LogAttrs(context.Background(), slog.LevelWarn, "worker process writes", slog.String("line", line))
	}
}

func (s *said) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.TrimSpace(s.head.String())
}

// errGone: the line ended.
var errGone = errors.New("the worker process is gone")

// isPipeEnd tells a pipe whose other end is closed.
func isPipeEnd(err error) bool { return errors.Is(err, syscall.EPIPE) }
