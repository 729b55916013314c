package intake

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
)

// ledger is a store that counts what it was given, and fails or waits as told.
type ledger struct {
	mu      sync.Mutex
	stored  map[string]int
	commits int
	poison  string        // a request that cannot be stored
	gate    chan struct{} // when set, each commit waits for it
}

func (l *ledger) store(_ context.Context, requests []postgres.Request) error {
	if l.gate != nil {
		<-l.gate
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range requests {
		if r.Registry == l.poison {
			return errs.New(errs.Invalid, "poison")
		}
	}
	l.commits++
	for _, r := range requests {
		l.stored[r.Registry]++
	}
	return nil
}

func request(n int) postgres.Request {
	return postgres.Request{Registry: fmt.Sprint(n), Deliveries: make([]postgres.Delivery, 3)}
}

// waitFor waits until as many requests wait beside those that are being stored.
func (t *together) waitFor(test *testing.T, n int) {
	test.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		t.mu.Lock()
		waiting, working := len(t.waiting), t.working
		t.mu.Unlock()
		if waiting == n && working == committers {
			return
		}
		if time.Now().After(deadline) {
			test.Fatalf("%d requests wait, want %d", waiting, n)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestABurstIsStoredOnceInFewCommits(t *testing.T) {
	l := &ledger{stored: map[string]int{}}
	together := &together{store: l.store}
	const senders, each = 50, 40
	var group sync.WaitGroup
	for s := range senders {
		group.Go(func() {
			for n := range each {
				if err := together.accept(t.Context(), request(s*each+n)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	for name, n := range l.stored {
		if n != 1 {
			t.Errorf("request %s was stored %d times", name, n)
		}
	}
	if len(l.stored) != senders*each || together.working != 0 || len(together.waiting) != 0 {
		t.Errorf("%d of %d stored; %d working, %d waiting", len(l.stored), senders*each, together.working, len(together.waiting))
	}
}

func TestWhatWaitsGoesTogether(t *testing.T) {
	l := &ledger{stored: map[string]int{}, gate: make(chan struct{})}
	together := &together{store: l.store}
	var group sync.WaitGroup
	begin := func(n int) { group.Go(func() { _ = together.accept(t.Context(), request(n)) }) }
	for n := range committers {
		begin(n)
	}
	together.waitFor(t, 0)
	for n := range 30 {
		begin(committers + n)
	}
	together.waitFor(t, 30)
	close(l.gate)
	group.Wait()
	if l.commits > committers+committers || len(l.stored) != committers+30 {
		t.Errorf("%d commits for %d requests", l.commits, len(l.stored))
	}
}

func TestOneThatCannotBeStoredHurtsNoOther(t *testing.T) {
	l := &ledger{stored: map[string]int{}, gate: make(chan struct{}), poison: "5"}
	together := &together{store: l.store}
	failed := make([]error, 20)
	var group sync.WaitGroup
	begin := func(from, to int) {
		for n := from; n < to; n++ {
			group.Go(func() { failed[n] = together.accept(t.Context(), request(n)) })
		}
	}
	begin(0, committers)
	together.waitFor(t, 0)
	begin(committers, len(failed))
	together.waitFor(t, len(failed)-committers)
	close(l.gate)
	group.Wait()
	for n, err := range failed {
		if (err != nil) != (n == 5) {
			t.Errorf("request %d: %v", n, err)
		}
	}
}

func TestWhoLeavesIsNotStoredLater(t *testing.T) {
	l := &ledger{stored: map[string]int{}, gate: make(chan struct{})}
	together := &together{store: l.store}
	var group sync.WaitGroup
	for n := range committers {
		group.Go(func() { _ = together.accept(t.Context(), request(n)) })
	}
	together.waitFor(t, 0)
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() { left <- together.accept(ctx, request(99)) }()
	together.waitFor(t, 1)
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("accept returned %v", err)
	}
	close(l.gate)
	group.Wait()
	if l.stored["99"] != 0 {
		t.Error("the request that left was stored")
	}
}
