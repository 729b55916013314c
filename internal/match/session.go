package match

import (
	"context"
	"sync"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

var _ scan.Session = (*Session)(nil)

// Session judges with one database. Close it after use.
type Session struct {
	db       *database
	matchers matcherIndex
	parallel int
	closing  sync.Once

	mu sync.Mutex
	// described are the records met while judging and not yet asked for.
	described map[vuln.Ref]vuln.Vulnerability
}

func newSession(db *database, matchers matcherIndex, parallel int) *Session {
	return &Session{db: db, matchers: matchers, parallel: parallel, described: map[vuln.Ref]vuln.Vulnerability{}}
}

// Build names the database and the engine (scan.Session).
func (s *Session) Build() vuln.Build { return s.db.build }

// Close lets go of the database. Closing again does nothing.
func (s *Session) Close() error {
	s.closing.Do(s.db.release)
	return nil
}

// Judge judges each package by itself (scan.Session). It stops at the first
// package that cannot be judged; a panic in a matcher counts as that.
func (s *Session) Judge(ctx context.Context, packages []inventory.Package) ([]inventory.Judgement, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out := make([]inventory.Judgement, len(packages))
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(s.parallel, len(packages)) {
		workers.Go(func() {
			for i := range next {
				j, err := s.judge(ctx, packages[i])
				if err != nil {
					cancel(err)
					continue // drain
				}
				out[i] = j
			}
		})
	}
	feed(ctx, next, len(packages))
	workers.Wait()
	if ctx.Err() != nil {
		return nil, errs.Op("match: judge", context.Cause(ctx))
	}
	return out, nil
}

// feed sends the numbers below n until the context ends.
func feed(ctx context.Context, next chan<- int, n int) {
	defer close(next)
	for i := range n {
		select {
		case next <- i:
		case <-ctx.Done():
			return
		}
	}
}

// Coverage tells what the database has no data for and when the distro's
// support ends (scan.Session).
func (s *Session) Coverage(ctx context.Context, inv *inventory.Inventory) ([]string, time.Time, error) {
	if err := ctx.Err(); err != nil {
		return nil, time.Time{}, errs.Op("match: coverage", err)
	}
	noData, err := s.db.coverage.missing(inv)
	if err != nil {
		return nil, time.Time{}, err
	}
	end, err := endOfLife(s.db.provider, inv.Distro)
	return noData, end, err
}
