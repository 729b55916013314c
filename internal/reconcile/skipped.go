package reconcile

import (
	"context"
	"sync"
)

// skipped collects what lists leave out while one is read.
type skipped struct {
	mu      sync.Mutex
	details []string
}

type skippedKey struct{}

// Skip notes that a list which a run reads under ctx leaves something out, in
// words. Under any other context it does nothing and returns false.
func Skip(ctx context.Context, detail string) bool {
	s, ok := ctx.Value(skippedKey{}).(*skipped)
	if !ok {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.details = append(s.details, detail)
	return true
}

func (s *skipped) into(ctx context.Context) context.Context {
	return context.WithValue(ctx, skippedKey{}, s)
}

// take returns what was collected and forgets it.
func (s *skipped) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	details := s.details
	s.details = nil
	return details
}
