package reconcile

import (
	"context"
	"errors"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// refusal is what the registry answered, as opposed to what is our own trouble.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

func isRefusal(err error) bool {
	var r refusal
	return errors.As(err, &r)
}

// isSilence reports whether the registry did not answer, or not yet.
func isSilence(err error) bool {
	switch errs.KindOf(err) {
	case errs.Unavailable, errs.Timeout, errs.RateLimited:
		return isRefusal(err)
	}
	return false
}

// ask puts a question to the registry, again after a pause when it may be
// answered then. The error is a refusal, unless ctx ended or the registry has
// limited requests for longer than it is obeyed: that ends the run.
func (w *walk) ask(ctx context.Context, question func() error) error {
	for try := 0; ; try++ {
		w.requests.Add(1)
		err := question()
		if ctx.Err() != nil {
			return err
		}
		obeyed := w.obeyed(err)
		switch {
		case err == nil:
			return nil
		case obeyed >= w.Obedience:
			return errs.Op("reconcile: too many requests is all the registry has answered for "+obeyed.Round(time.Second).String(), err)
		}
		pause := w.patience(err, try)
		if pause == 0 {
			return refusal{err}
		}
		if err := w.wait(ctx, pause, "the registry asks to slow down, or does not answer"); err != nil {
			return err
		}
	}
}

// obeyed tells for how long the registry has answered nothing but that there are
// too many requests, whatever was asked: as many questions as there are, each
// put again and again, would hold the run for weeks.
func (w *walk) obeyed(err error) time.Duration {
	if errs.KindOf(err) != errs.RateLimited {
		w.limited.Store(0)
		return 0
	}
	now := time.Now()
	w.limited.CompareAndSwap(0, now.UnixNano())
	return now.Sub(time.Unix(0, w.limited.Load()))
}

// patience is how long to wait before a question is put again; 0 when it is not.
// A registry that limits requests is obeyed for long (obeyed); one that does not answer is
// outlasted elsewhere.
func (w *walk) patience(err error, try int) time.Duration {
	const obedience, blips = 20, 2
	const longest = time.Hour
	wish := errs.RetryAfter(err)
	switch kind := errs.KindOf(err); {
	case kind == errs.RateLimited && try < obedience:
		return min(max(wish, w.Pause<<min(try, 5)), longest)
	case (kind == errs.Unavailable || kind == errs.Timeout) && try < blips:
		return min(max(wish, w.Pause/16<<try), longest)
	}
	return 0
}

// outlast waits for a registry that seems down, ever longer. It returns the
// error when it has waited enough.
func (w *walk) outlast(ctx context.Context, down error) error {
	const enough = 5
	if w.pauses >= enough {
		return errs.Op("reconcile: the registry does not answer", down)
	}
	w.pauses++
	return w.wait(ctx, w.Pause<<(w.pauses-1), "the registry does not answer: "+down.Error())
}

// wait pauses and says for what. The error is that of ctx.
func (w *walk) wait(ctx context.Context, pause time.Duration, note string) error {
	w.waits.Store(&note)
	defer w.waits.Store(new(string))
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
