package api

import (
	"context"
	"net/http"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/httpserver"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// Bounds of waiting for an answer.
const (
	maxWait = 2 * time.Minute // less than a server may take to write an answer
	// unknownFor is how long a waiting caller's image may be unknown: its
	// delivery may still be on the way.
	unknownFor = 10 * time.Second
	pollFirst  = 100 * time.Millisecond
	pollMost   = 2 * time.Second
)

// image answers GET /image. With wait it answers when the state is final, or
// with the present one when the time is over.
func (h *handler) image(w http.ResponseWriter, r *http.Request, who report.Principal) error {
	q := readQuery(r)
	target := h.referenceParameter(q).target()
	wait := q.duration("wait", maxWait)
	if err := q.done(); err != nil {
		return err
	}
	found, err := h.awaitImage(r.Context(), who.Access, target, wait)
	return reply(w, found, err)
}

// referenceParameter reads the required parameter ref.
func (h *handler) referenceParameter(q *query) located {
	given := q.text("ref")
	if given == "" {
		q.fail("ref", "parameter ref is missing: write it as HOST/NAME:TAG or HOST/NAME@DIGEST")
		return located{}
	}
	return h.located(q, "ref", given, h.reference)
}

// awaitImage looks again and again, ever more slowly, until the image is settled
// or the time is over. A scan it waits for goes ahead of pushes.
func (h *handler) awaitImage(ctx context.Context, access report.Access, target report.Target, wait time.Duration) (report.Image, error) {
	start := time.Now()
	if wait > 0 {
		leave, err := h.startWaiting()
		if err != nil {
			return report.Image{}, err
		}
		defer leave()
	}
	var hurried int64
	for pause := pollFirst; ; pause = min(pause*3/2, pollMost) {
		found, err := h.lookAtImage(ctx, access, target)
		waited := time.Since(start)
		switch {
		case err != nil && (!errs.Is(err, errs.NotFound) || waited >= min(wait, unknownFor)):
			return found, err
		case err == nil && (found.Settled() || waited >= wait):
			return found, nil
		case err == nil:
			if hurried, err = h.hurry(ctx, found.LastScan, hurried); err != nil {
				return found, err
			}
		}
		select {
		case <-ctx.Done():
			return found, errs.Wrap(errs.KindOf(ctx.Err()), "api: wait for image", ctx.Err())
		case <-time.After(min(pause, max(wait-waited, 0))):
		}
	}
}

// hurry lets a queued scan go ahead, once, and returns which was hurried last.
func (h *handler) hurry(ctx context.Context, last *report.ScanState, hurried int64) (int64, error) {
	if last == nil || last.State != report.RunQueued || last.ID == hurried {
		return hurried, nil
	}
	ctx, cancel := context.WithTimeout(ctx, h.RequestTimeout)
	defer cancel()
	return last.ID, timely(ctx, h.Requests.Hurry(ctx, last.ID))
}

func (h *handler) lookAtImage(ctx context.Context, access report.Access, target report.Target) (report.Image, error) {
	ctx, cancel := context.WithTimeout(ctx, h.RequestTimeout)
	defer cancel()
	found, err := h.Reader.Image(ctx, access, target)
	if err != nil {
		err = timely(ctx, err)
	}
	return found, err
}

// startWaiting takes one of the places for waiting callers.
func (h *handler) startWaiting() (leave func(), err error) {
	select {
	case h.waiting <- struct{}{}:
		h.metrics.waiting.Inc()
		return func() { <-h.waiting; h.metrics.waiting.Dec() }, nil
	default:
		h.metrics.reject("rate_limited")
		return nil, httpserver.TooMany(5*time.Second, "too many requests wait for an answer")
	}
}
