package intake

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
)

const (
	// committers is how many transactions accept at a time.
	committers = 2
	// maxTogether bounds the deliveries of one transaction, beyond those of its
	// first request.
	maxTogether = 200
	// commitTimeout ends a transaction that hangs. It carries the requests of
	// several senders, so none of their contexts bounds it.
	commitTimeout = 10 * time.Second
)

// together puts requests that arrive while others are being stored into one
// transaction: a burst costs one commit for many. A request that finds nobody at
// work is stored at once, alone.
type together struct {
	store func(ctx context.Context, requests []postgres.Request) error

	mu      sync.Mutex
	waiting []*visitor
	working int
}

// visitor is a request that waits to be stored.
type visitor struct {
	request postgres.Request
	// word ends the waiting: lead asks the visitor to store what waits, himself
	// first; otherwise he was stored, or err says why not.
	word chan word
	// leading is set, under the mutex, from when he is asked to lead: nobody else
	// stores him then.
	leading bool
}

type word struct {
	lead bool
	err  error
}

// toLead asks a visitor to lead; under the mutex.
func (v *visitor) toLead() {
	v.leading = true
	v.word <- word{lead: true}
}

// accept stores a request with others and returns once it is durable. The error
// is of kind Timeout or Canceled when ctx ends first; what was handed in may be
// stored all the same.
func (t *together) accept(ctx context.Context, request postgres.Request) error {
	v := &visitor{request: request, word: make(chan word, 1)}
	t.mu.Lock()
	if t.working < committers {
		t.working++
		v.toLead()
	}
	t.waiting = append(t.waiting, v)
	t.mu.Unlock()
	select {
	case w := <-v.word:
		if w.lead {
			return t.lead(ctx, v)
		}
		return w.err
	case <-ctx.Done():
		return t.leave(ctx, v)
	}
}

// leave takes a visitor out who waits no longer. One whose word is on its way
// hears it: who was asked to lead has to, and who is being stored will be told.
func (t *together) leave(ctx context.Context, v *visitor) error {
	t.mu.Lock()
	i := slices.Index(t.waiting, v)
	if i >= 0 && !v.leading {
		t.waiting = slices.Delete(t.waiting, i, i+1)
		t.mu.Unlock()
		return errs.Op("intake: wait for the store", ctx.Err())
	}
	t.mu.Unlock()
	w := <-v.word
	if w.lead {
		return t.lead(ctx, v)
	}
	return w.err
}

// lead stores what waits, its own request among it, and hands the work on.
func (t *together) lead(ctx context.Context, own *visitor) error {
	group := t.take(own)
	requests := make([]postgres.Request, len(group))
	for i, v := range group {
		requests[i] = v.request
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	err := t.store(ctx, requests)
	if err != nil && len(group) > 1 && errs.KindOf(err) != errs.Unavailable && errs.KindOf(err) != errs.Timeout {
		// Something is wrong with one of them, perhaps: each for itself.
		for _, v := range group {
			v.word <- word{err: t.store(ctx, []postgres.Request{v.request})}
		}
	} else {
		for _, v := range group {
			v.word <- word{err: err}
		}
	}
	t.handOn()
	return (<-own.word).err
}

// take removes from the waiting the leader's own request and as many others, in
// their order, as go together.
func (t *together) take(own *visitor) []*visitor {
	t.mu.Lock()
	defer t.mu.Unlock()
	group, rest, size := []*visitor{own}, t.waiting[:0:0], 0
	for _, v := range t.waiting {
		switch n := len(v.request.Deliveries); {
		case v == own:
		case size+n <= maxTogether && !v.leading: // one who leads stores himself
			group, size = append(group, v), size+n
		default:
			rest = append(rest, v)
		}
	}
	t.waiting = rest
	return group
}

// handOn asks the first who waits to lead, or ends the work.
func (t *together) handOn() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, v := range t.waiting {
		if !v.leading {
			v.toLead()
			return
		}
	}
	t.working--
}
