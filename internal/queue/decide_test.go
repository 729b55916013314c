package queue

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

func TestDecide(t *testing.T) {
	limited := &errs.Error{Kind: errs.RateLimited, Op: "registry: pull", RetryAfter: 2 * time.Minute}
	for _, c := range []struct {
		name     string
		cause    error
		attempt  int
		again    bool
		counts   bool
		min, max time.Duration
	}{
		{name: "success", cause: nil, attempt: 1},
		{name: "gone for good", cause: errs.New(errs.NotFound, "no"), attempt: 1},
		{name: "too large", cause: errs.New(errs.TooLarge, "no"), attempt: 1},
		{name: "damaged", cause: errs.New(errs.Malformed, "no"), attempt: 1},
		{name: "first outage", cause: errs.New(errs.Unavailable, "no"), attempt: 1, again: true, counts: true, min: 5 * time.Second, max: 6 * time.Second},
		{name: "third outage", cause: errs.New(errs.Unavailable, "no"), attempt: 3, again: true, counts: true, min: 45 * time.Second, max: 50 * time.Second},
		{name: "last outage", cause: errs.New(errs.Unavailable, "no"), attempt: 6},
		{name: "refused credential", cause: errs.New(errs.Unauthorized, "no"), attempt: 1, again: true, counts: true, min: 5 * time.Second, max: 6 * time.Second},
		{name: "Retry-After is honoured", cause: errs.Op("scan: resolve", limited), attempt: 1, again: true, counts: true, min: 2 * time.Minute, max: 133 * time.Second},
		{name: "another scan has the digest", cause: errs.New(errs.Conflict, "busy"), attempt: 6, again: true, min: time.Second, max: time.Second},
		{name: "stopped", cause: context.Canceled, attempt: 6, again: true},
		{name: "deadline", cause: context.DeadlineExceeded, attempt: 1, again: true, counts: true, min: 5 * time.Second, max: 6 * time.Second},
		{name: "an image takes too long", cause: errs.Wrap(errs.Timeout, "read", scan.ErrOutOfTime), attempt: 1, again: true, counts: true, min: 5 * time.Second, max: 6 * time.Second},
		{name: "an image takes too long again", cause: errs.Wrap(errs.Timeout, "read", scan.ErrOutOfTime), attempt: 2},
		{name: "no kind", cause: errors.New("?"), attempt: 1, again: true, counts: true, min: 5 * time.Second, max: 6 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := decide(scan.Job{Attempt: c.attempt}, c.cause, 6)
			if d.again != c.again || d.counts != c.counts || d.pause < c.min || d.pause > c.max {
				t.Errorf("got %+v", d)
			}
		})
	}
}

func TestBackoffIsBounded(t *testing.T) {
	for attempt := range 100 {
		if p := backoff(attempt, 0); p < 5*time.Second || p > 11*time.Minute {
			t.Errorf("attempt %d waits %v", attempt, p)
		}
	}
	if p := backoff(1, 100*time.Hour); p > 66*time.Minute {
		t.Errorf("a wish of 100 h makes us wait %v", p)
	}
}
