package httpserver

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// maxLimited bounds how many keys a limiter remembers.
const maxLimited = 10_000

// Limiter holds each key to a rate. It is safe for concurrent use.
type Limiter struct {
	limit rate.Limit
	burst int

	mu   sync.Mutex
	keys map[string]*rate.Limiter
}

// NewLimiter lets through perSecond events of a key, and as many as burst at once.
func NewLimiter(perSecond float64, burst int) *Limiter {
	return &Limiter{limit: rate.Limit(perSecond), burst: burst, keys: map[string]*rate.Limiter{}}
}

// Allow takes one event of the key and returns zero, or how long to pause when
// there are too many.
func (l *Limiter) Allow(key string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	of, ok := l.keys[key]
	if !ok {
		l.makeRoom()
		of = rate.NewLimiter(l.limit, l.burst)
		l.keys[key] = of
	}
	reservation := of.Reserve()
	pause := reservation.Delay()
	if pause > 0 {
		reservation.Cancel()
	}
	return pause
}

// Knows reports whether the key had an event lately.
func (l *Limiter) Knows(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.keys[key]
	return ok
}

// Forget drops a key.
func (l *Limiter) Forget(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.keys, key)
}

// Exhausted reports whether another event of the key would be too many.
func (l *Limiter) Exhausted(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	of, ok := l.keys[key]
	return ok && of.Tokens() < 1
}

// makeRoom forgets keys that have their full burst back, for which forgetting
// changes nothing; when all are busy, any.
func (l *Limiter) makeRoom() {
	if len(l.keys) < maxLimited {
		return
	}
	for key, of := range l.keys {
		if of.Tokens() >= float64(l.burst) {
			delete(l.keys, key)
		}
	}
	for key := range l.keys {
		if len(l.keys) < maxLimited {
			return
		}
		delete(l.keys, key)
	}
}

// TooMany is the error for what came too often: of kind RateLimited, with the
// pause to make, of a second at least.
func TooMany(pause time.Duration, format string, args ...any) error {
	err := errs.New(errs.RateLimited, format, args...)
	err.RetryAfter = max(pause, time.Second)
	return err
}
