package reconcile

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// LeaseRenewal is how often a run renews its lease.
const LeaseRenewal = 10 * time.Second

// Reconciler does runs. Registry and Store are required; the rest has defaults.
// It is safe for concurrent use.
type Reconciler struct {
	Registry Registry
	Store    Store
	// Rules say which images of a registry are wanted, by its configured name.
	Rules map[string]scan.Rules
	// Logger takes the beginning, progress and end of runs; nil discards them.
	Logger *slog.Logger
	// Observe is told what a run came across since it was told last, and how many
	// scans it queued for what reason. Nil for nobody.
	Observe func(registry string, since Counts, queued map[Why]int)

	// MaxQueued bounds how many scans of a registry wait because of runs; 1,000.
	MaxQueued int
	// Parallel is how many tags are asked for at a time; 8.
	Parallel int
	// Pause is the first of the ever longer ones in which a registry that seems
	// down may come back, five in all; 30 seconds.
	Pause time.Duration
	// Obedience is for how long a registry that answers only that there are too many
	// requests is obeyed before the run fails; 2 hours.
	Obedience time.Duration
	// Look is how often to see whether there is room for more scans; 1 second.
	Look time.Duration
}

func (r Reconciler) withDefaults() Reconciler {
	if r.Logger == nil {
		r.Logger = slog.New(slog.DiscardHandler)
	}
	if r.Observe == nil {
		r.Observe = func(string, Counts, map[Why]int) {}
	}
	r.MaxQueued = cmp.Or(r.MaxQueued, 1000)
	r.Parallel = cmp.Or(r.Parallel, 8)
	r.Pause = cmp.Or(r.Pause, 30*time.Second)
	r.Obedience = cmp.Or(r.Obedience, 2*time.Hour)
	r.Look = cmp.Or(r.Look, time.Second)
	return r
}

// Run does a claimed run to its end and records the outcome, which it returns:
// nil when everything was looked at. When ctx ends, the lease is lost or the
// store does not answer, the run stays open and somebody else goes on with it;
// the error is then of kind Canceled.
func (r Reconciler) Run(ctx context.Context, run Run) (Counts, error) {
	w := newWalk(r, run)
	w.Logger.InfoContext(ctx, "reconciliation begins", "repository", run.Repository, "goes_on", run.Position != Position{})
	start := time.Now()
	err := w.underLease(ctx)
	w.run.Counts.Requests = w.requests.Load()
	w.observe()
	w.end(ctx, err, time.Since(start))
	return w.run.Counts, err
}

// end records the outcome, also when ctx is over.
func (w *walk) end(ctx context.Context, err error, took time.Duration) {
	const deadline = 10 * time.Second
	settle, cancel := context.WithTimeout(context.WithoutCancel(ctx), deadline)
	defer cancel()
	attrs := append([]any{"seconds", took.Seconds()}, w.run.Counts.attrs()...)
	var failed error
	switch {
	case err == nil:
		failed = w.Store.FinishReconciliation(settle, w.run, nil)
		w.Logger.InfoContext(ctx, "reconciliation finished", attrs...)
	case w.troubled:
		// Not given back, or it would be taken again at once: its lease runs out.
		w.Logger.WarnContext(ctx, "reconciliation interrupted; it goes on later", append(attrs, "error", err)...)
	case errs.Is(err, errs.Canceled):
		failed = w.Store.ReleaseReconciliation(settle, w.run)
		w.Logger.InfoContext(ctx, "reconciliation interrupted; it goes on later", attrs...)
	default:
		failed = w.Store.FinishReconciliation(settle, w.run, err)
		w.Logger.WarnContext(ctx, "reconciliation failed", append(attrs, "kind", errs.KindOf(err), "error", err, "hint", errs.Hint(err))...)
	}
	if failed != nil && !errs.Is(failed, errs.Canceled) {
		// Its lease runs out and it is done again from where it was saved.
		w.Logger.WarnContext(ctx, "outcome of reconciliation not recorded", "error", failed)
	}
}

func (c Counts) attrs() []any {
	return []any{"repositories", c.Repositories, "tags", c.Tags, "new", c.New, "moved", c.Moved, "gone", c.Gone,
		"excluded", c.Excluded, "retried", c.Retried, "errors", c.Errors, "queued", c.Queued, "requests", c.Requests}
}

// underLease does the work while it renews the lease, and stops when that is
// lost.
func (w *walk) underLease(ctx context.Context) (err error) {
	ctx, lost := context.WithCancelCause(ctx)
	beating := make(chan struct{})
	go func() {
		defer close(beating)
		w.heartbeat(ctx, lost)
	}()
	defer func() { lost(nil); <-beating }()
	defer func() {
		if p := recover(); p != nil {
			w.Logger.ErrorContext(ctx, "reconciliation panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = errs.New(errs.Internal, "reconcile: run %d panicked: %v", w.run.ID, p)
		}
	}()
	err = w.everything(ctx)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return errs.Wrap(errs.Canceled, "reconcile: run was stopped", err)
	case isTrouble(err):
		w.troubled = true
		return errs.Wrap(errs.Canceled, "reconcile: the store does not answer", err)
	}
	return err
}

// isTrouble reports whether our own store failed for a reason that passes.
func isTrouble(err error) bool {
	switch errs.KindOf(err) {
	case errs.Unavailable, errs.Timeout, errs.Conflict:
		return !isRefusal(err)
	}
	return false
}

// heartbeat renews the lease, tells what the run waits for, and logs progress
// now and then.
func (w *walk) heartbeat(ctx context.Context, lost context.CancelCauseFunc) {
	const tell = 6 // renewals
	ticker := time.NewTicker(LeaseRenewal)
	defer ticker.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		note := *w.waits.Load()
		within, cancel := context.WithTimeout(ctx, LeaseRenewal)
		err := w.Store.RenewReconciliation(within, Run{ID: w.run.ID, Lease: w.run.Lease}, note)
		cancel()
		if errs.Is(err, errs.Canceled) && ctx.Err() == nil {
			lost(err)
			return
		}
		if n%tell == 0 {
			w.Logger.InfoContext(ctx, "reconciling", append(w.progress.Load().attrs(), "waits", note)...)
		}
	}
}
