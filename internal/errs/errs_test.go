package errs_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

func TestEveryKindHasAMeaning(t *testing.T) {
	for _, k := range errs.Kinds() {
		m := k.Meaning()
		if m.Status < 400 || m.Title == "" {
			t.Errorf("%s: %+v", k, m)
		}
		if k != errs.Internal && m == errs.Internal.Meaning() {
			t.Errorf("%s has no row of its own", k)
		}
	}
	if errs.Kind("made up").Meaning() != errs.Internal.Meaning() {
		t.Error("an unknown kind does not count as internal")
	}
}

func TestKindOf(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want errs.Kind
	}{
		{"nil", nil, ""},
		{"plain", errors.New("x"), errs.Internal},
		{"deadline", fmt.Errorf("read: %w", context.DeadlineExceeded), errs.Timeout},
		{"canceled", context.Canceled, errs.Canceled},
		{"wrapped", fmt.Errorf("outer: %w", errs.New(errs.NotFound, "inner")), errs.NotFound},
		{"the outermost kind wins", errs.Wrap(errs.Timeout, "scan", errs.New(errs.NotFound, "inner")), errs.Timeout},
		{"Op keeps the kind", errs.Op("scan", errs.New(errs.TooLarge, "inner")), errs.TooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := errs.KindOf(c.err); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestChainKeepsTheCauseTheHintAndTheWish(t *testing.T) {
	cause := errors.New("connection reset")
	inner := &errs.Error{Kind: errs.RateLimited, Op: "registry: pull", Err: cause, Hint: "wait", RetryAfter: time.Minute}
	err := errs.Op("scan: catalogue", errs.Wrap(errs.RateLimited, "catalog", inner))
	if got, want := err.Error(), "scan: catalogue: catalog: registry: pull: connection reset"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !errors.Is(err, cause) || errs.Hint(err) != "wait" || errs.RetryAfter(err) != time.Minute {
		t.Errorf("lost on the way: is %v, hint %q, wish %v", errors.Is(err, cause), errs.Hint(err), errs.RetryAfter(err))
	}
	if errs.Op("x", nil) != nil || errs.Wrap(errs.Internal, "x", nil) != nil || errs.Is(nil, errs.Internal) {
		t.Error("nil does not stay nil")
	}
}
