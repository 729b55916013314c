package registry

import (
	"context"
	"sync"
	"time"
)

// attempt is one small request with all it takes: logging in, repeating after a
// blip, reading the answer. It may take a limited time, in which waiting in line
// for the registry's limits is not counted: that is not the registry being slow.
type attempt struct {
	mu      sync.Mutex
	timer   *time.Timer
	left    time.Duration
	since   time.Time
	waiting int   // how many of its requests wait in line
	refused error // the registry asked to come back later
}

type attemptKey struct{}

// begin starts an attempt that fails with late when the limit is over.
func begin(ctx context.Context, limit time.Duration, late error) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	a := &attempt{left: limit, since: time.Now()}
	a.timer = time.AfterFunc(limit, func() { cancel(late) })
	return context.WithValue(ctx, attemptKey{}, a), func() {
		a.timer.Stop()
		cancel(nil)
	}
}

// attemptOf returns the attempt that a request belongs to; nil for none, which
// all methods take.
func attemptOf(ctx context.Context) *attempt {
	a, _ := ctx.Value(attemptKey{}).(*attempt)
	return a
}

// pause stops the clock until resume was called as often.
func (a *attempt) pause() {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiting++; a.waiting == 1 && a.timer.Stop() {
		a.left -= time.Since(a.since)
	}
}

func (a *attempt) resume() {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiting--; a.waiting == 0 {
		a.since = time.Now()
		a.timer.Reset(max(a.left, 0))
	}
}

// refuse notes that the registry asked to come back later. Whatever else the
// attempt wants would only wait in line to hear the same.
func (a *attempt) refuse(err error) {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refused = err
}

func (a *attempt) refusal() error {
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refused
}
