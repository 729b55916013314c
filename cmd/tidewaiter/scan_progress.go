package main

import (
	"fmt"
	"io"
	"os"
	"time"
)

// progress tells on a terminal which step runs, and how long the ones before
// took. Anywhere else it is silent.
type progress struct {
	w     io.Writer // nil for silence; takes what is written as it is
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
	p.step, p.since = line(step), time.Now()
	if p.w != nil {
		_, _ = fmt.Fprintf(p.w, "  … %s", p.step)
	}
}

// update changes the text of the step that runs.
func (p *progress) update(text string) {
	if p.w != nil && p.step != "" {
		_, _ = fmt.Fprintf(p.w, "\r\x1b[K  … %s: %s", p.step, line(text))
	}
}

// done ends the step that runs, if any.
func (p *progress) done() {
	if p.w != nil && p.step != "" {
		_, _ = fmt.Fprintf(p.w, "\r\x1b[K  %s (%.1f s)\n", p.step, time.Since(p.since).Seconds())
	}
	p.step = ""
}
