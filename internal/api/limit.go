package api

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxLimited bounds how many keys a limiter remembers.
const maxLimited = 10_000

// limiter holds each key to a rate.
type limiter struct {
	limit rate.Limit
	burst int

	mu   sync.Mutex
	keys map[string]*rate.Limiter
}

func newLimiter(limit rate.Limit, burst int) *limiter {
	return &limiter{limit: limit, burst: burst, keys: map[string]*rate.Limiter{}}
}

// allow takes one event of the key and returns zero, or how long to pause when
// there are too many.
func (l *limiter) allow(key string) time.Duration {
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

// knows reports whether the key had an event lately.
func (l *limiter) knows(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.keys[key]
	return ok
}

// forget drops a key.
func (l *limiter) forget(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.keys, key)
}

// exhausted reports whether another event of the key would be too many.
func (l *limiter) exhausted(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	of, ok := l.keys[key]
	return ok && of.Tokens() < 1
}

// makeRoom forgets keys that have their full burst back, for which forgetting
// changes nothing; when all are busy, any.
func (l *limiter) makeRoom() {
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
