// Package console tells a person at a terminal, or the reader of a log, how far
// the quickstart is.
//
// It is responsible for lines of progress and for running the Go compiler with
// them. It must stay within a small part of the standard library: it is
// compiled before the first word can be said.
package console

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// Console shows steps: on a terminal in one line that changes, elsewhere in
// lines, with a sign of life during long steps.
type Console struct {
	io.Writer
	terminal bool
}

// New returns a console on a file, which may be a terminal.
func New(f *os.File) *Console {
	info, err := f.Stat()
	return &Console{Writer: f, terminal: err == nil && info.Mode()&os.ModeCharDevice != 0}
}

// Plain returns a console that is no terminal.
func Plain(w io.Writer) *Console { return &Console{Writer: w} }

// Say prints a line.
func (c *Console) Say(format string, args ...any) { fmt.Fprintf(c, format+"\n", args...) }

// Step runs work under a name. What work reports is shown while it runs, what
// it returns is shown as its outcome.
func (c *Console) Step(name string, work func(report func(string)) (outcome string, err error)) error {
	s := &step{Console: c, name: name, started: time.Now()}
	if c.terminal {
		s.draw()
	}
	stop := s.tick()
	outcome, err := work(s.report)
	stop()
	if err != nil {
		s.finish("failed", "")
		return err
	}
	s.finish("ok", outcome)
	return nil
}

// step is one that is under way.
type step struct {
	*Console
	name    string
	started time.Time

	mu     sync.Mutex
	detail string
}

// report changes what is shown beside the name.
func (s *step) report(detail string) {
	s.mu.Lock()
	changed := s.detail != detail
	s.detail = detail
	s.mu.Unlock()
	if s.terminal && changed {
		s.draw()
	}
}

func (s *step) draw() {
	s.mu.Lock()
	defer s.mu.Unlock()
	elapsed := time.Since(s.started).Round(time.Second)
	if s.terminal {
		// Wrapping is off for the line: what wrapped could not be taken back.
		fmt.Fprintf(s, "\r\x1b[K\x1b[?7l  ..     %-18s %4s  %s\x1b[?7h", s.name, elapsed, Cut(s.detail, 150))
		return
	}
	fmt.Fprintf(s, "  ..     %-18s %4s  %s\n", s.name, elapsed, s.detail)
}

// tick draws from time to time until the returned function is called: every
// second on a terminal, elsewhere after two seconds and then now and again.
func (s *step) tick() (stop func()) {
	first, every := 2*time.Second, 15*time.Second
	if s.terminal {
		first, every = time.Second, time.Second
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(first)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				s.draw()
				ticker.Reset(every)
			}
		}
	}()
	return func() { close(done); <-ended }
}

func (s *step) finish(word, outcome string) {
	if s.terminal {
		fmt.Fprint(s, "\r\x1b[K")
	}
	elapsed := time.Since(s.started)
	fmt.Fprintf(s, "  %-6s %-18s %4s  %s\n", word, s.name, short(elapsed), outcome)
}

// short writes a duration in at most five characters: 0.3s, 12s, 4m10s.
func short(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// Cut shortens a text to n characters, so that a line stays one line.
func Cut(text string, n int) string {
	runes := []rune(text)
	if len(runes) <= n {
		return text
	}
	return string(runes[:n-1]) + "…"
}
