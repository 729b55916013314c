package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// progress tells on a terminal which step runs, and how long the ones before
// took. Anywhere else it is silent.
type progress struct {
	w io.Writer // nil for silence; takes what is written as it is

	mu    sync.Mutex
	step  string
	since time.Time
}

func newProgress(stderr people, quiet bool) *progress {
	file, ok := stderr.raw.(*os.File)
	if !ok || quiet {
		return &progress{}
	}
	if info, err := file.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return &progress{}
	}
	return &progress{w: file}
}

// start ends the step that runs and begins the next.
func (p *progress) start(step string) {
	p.done()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.step, p.since = line(step), time.Now()
	if p.w != nil {
		_, _ = fmt.Fprintf(p.w, "  … %s", p.step)
	}
}

// update changes the text of the step that runs.
func (p *progress) update(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.w != nil && p.step != "" {
		_, _ = fmt.Fprintf(p.w, "\r\x1b[K  … %s: %s", p.step, line(text))
	}
}

// follow changes the text of the step that runs again and again, until the
// returned function is called.
func (p *progress) follow(text func() string) (stop func()) {
	if p.w == nil {
		return func() {}
	}
	const every = 200 * time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	var following sync.WaitGroup
	following.Go(func() {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				p.update(text())
			}
		}
	})
	return func() { cancel(); following.Wait() }
}

// done ends the step that runs, if any.
func (p *progress) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.w != nil && p.step != "" {
		_, _ = fmt.Fprintf(p.w, "\r\x1b[K  %s (%.1f s)\n", p.step, time.Since(p.since).Seconds())
	}
	p.step = ""
}
