package sandbox

import (
	"context"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// Why a child is started, for the metrics.
const (
	startFirst  = "first"
	startAged   = "aged"
	startFailed = "failed"
)

// place is where one child at a time lives. Who took it from the pool has it
// alone.
type place struct {
	next *start // nil when no child was asked for
}

// start is a child on its way, or there.
type start struct {
	done  chan struct{}
	child *child
	err   error
}

// begin starts a child unless one is there or on its way.
func (p *Pool) begin(place *place, why string) {
	if place.next != nil || p.ctx.Err() != nil {
		return
	}
	s := &start{done: make(chan struct{})}
	place.next = s
	p.options.Metrics.start(why)
	p.moving.Go(func() {
		defer close(s.done)
		if s.child, s.err = p.startChild(); s.err != nil && p.ctx.Err() == nil {
			p.options.Logger.Warn("worker process does not start", "error", s.err)
		}
	})
}

// await returns the child of a place when it is ready. One whose start takes
// longer than ctx is left to the next who asks.
func (p *Pool) await(ctx context.Context, place *place) (*child, error) {
	p.begin(place, startFirst)
	if place.next == nil {
		return nil, errClosed()
	}
	select {
	case <-ctx.Done():
		return nil, errs.Op("sandbox: wait for a worker", context.Cause(ctx))
	case <-place.next.done:
	}
	if err := place.next.err; err != nil {
		place.next = nil
		return nil, err
	}
	// One that died while it had nothing to do is nobody's fault.
	if place.next.child.gone() {
		p.replace(place, startFailed)
		return p.await(ctx, place)
	}
	return place.next.child, nil
}

// replace gets rid of the child of a place and starts the next one.
func (p *Pool) replace(place *place, why string) {
	p.retire(place)
	p.begin(place, why)
}

// retire gets rid of the child of a place, in the background.
func (p *Pool) retire(place *place) {
	old := place.next
	place.next = nil
	if old == nil {
		return
	}
	p.moving.Go(func() {
		<-old.done
		if old.child != nil {
			old.child.end()
		}
	})
}
