package sandbox

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// brokenError is the end of a child that nobody ordered, or of a line on which
// nothing sensible came any more.
type brokenError struct {
	what  string
	err   error
	state *os.ProcessState // nil when it had to be killed
	said  string
}

// Error says what is known.
func (b *brokenError) Error() string {
	text := fmt.Sprintf("%s: %v", b.what, b.err)
	if b.state != nil {
		text = b.state.String()
	}
	if line := b.cause(); line != "" {
		text += ": " + line
	}
	return text
}

// Unwrap returns the failure on the line.
func (b *brokenError) Unwrap() error { return b.err }

// cause is the line in which the Go runtime says why a program ended.
func (b *brokenError) cause() string {
	for line := range strings.Lines(b.said) {
		for _, begin := range []string{"panic: ", "fatal error: ", "runtime: ", "SIG"} {
			if strings.HasPrefix(line, begin) {
				return strings.TrimSpace(line)
			}
		}
	}
	return ""
}

// verdict is what is told when it happened twice over one job.
func (b *brokenError) verdict() error {
	switch cause := b.cause(); {
	case strings.Contains(cause, "out of memory"), strings.Contains(cause, "cannot allocate memory"):
		return errs.New(errs.TooLarge, "sandbox: two worker processes could not get the memory they needed")
	case b.state != nil && killedBySystem(b.state):
		return errs.New(errs.Unavailable, "sandbox: two worker processes were killed by the system").
			WithHint("this machine may be short of memory: lower workers.count or limits.memory")
	}
	// What it says while it falls is for the log.
	return errs.New(errs.Malformed, "sandbox: two worker processes crashed over it")
}

func isBroken(err error) bool {
	var broken *brokenError
	return errors.As(err, &broken)
}
