package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/riverqueue/river"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/telemetry"
)

// permitWorker turns a permit into runs of scans.
type permitWorker struct {
	river.WorkerDefaults[permit]
	options  Options
	stopping <-chan struct{}
	scanning *atomic.Int32
}

// longestPermit is after which time a worker lets River look at its permit
// again: River takes a job for stuck after an hour, and one scan may take long.
const longestPermit = 10 * time.Minute

// Work takes scans, whichever has its turn, until none is left that may start. A
// scan that waits for another one, or for a place at its registry, so is taken by
// the worker that ended what was in its way.
func (w *permitWorker) Work(ctx context.Context, _ *river.Job[permit]) error {
	for started := time.Now(); time.Since(started) < longestPermit; {
		if w.options.Ready != nil && !w.options.Ready(ctx) {
			const pause = 2 * time.Second
			return river.JobSnooze(pause)
		}
		job, err := w.options.Scans.ClaimScan(ctx)
		if err != nil || job == nil {
			return err
		}
		w.scan(ctx, *job)
		select {
		case <-w.stopping: // another process goes on with the permit
			return river.JobSnooze(0)
		default:
		}
	}
	return river.JobSnooze(0)
}

// scan runs a claimed scan and records how it went.
func (w *permitWorker) scan(ctx context.Context, job scan.Job) {
	w.scanning.Add(1)
	defer w.scanning.Add(-1)
	ctx, span := telemetry.Continue(ctx, "scan", job.Traces, slog.Int64("scan", job.ID), slog.String("registry", job.Registry),
		slog.String("image", job.Ref.String()), slog.String("cause", string(job.Cause)), slog.Int("attempt", job.Attempt))
	result, cause := w.run(ctx, job)
	// The outcome is written even when the run was canceled to stop.
	const deadline = 10 * time.Second
	settle, cancel := context.WithTimeout(context.WithoutCancel(ctx), deadline)
	defer cancel()
	d := decide(job, cause, w.options.MaxAttempts)
	err := w.settle(settle, job, result, cause, d)
	if _, canceled := scan.CanceledBy(err); canceled {
		// Somebody canceled it, and has said so to everybody already.
		d, cause, err = decision{canceled: true}, err, nil
	}
	w.options.Metrics.observe(result, d, cause)
	span.Set(slog.String("digest", string(result.Digest)), slog.String("outcome", d.String()), slog.Int64("pulled_bytes", result.Pulled))
	span.End(cause)
	if err != nil {
		// The lease runs out and the scan is revived: nothing is lost.
		w.options.Logger.WarnContext(ctx, "outcome of scan not recorded", "scan", job.ID, "error", err)
		return
	}
	w.log(ctx, job, result, cause, d)
}

// run executes the scan under its deadline with the lease kept alive. A lost
// lease cancels it: somebody else does the work, or nobody is to do it.
func (w *permitWorker) run(ctx context.Context, job scan.Job) (result scan.Result, err error) {
	ctx, cancel := context.WithTimeout(ctx, w.options.ScanTimeout)
	defer cancel()
	ctx, lost := context.WithCancelCause(ctx)
	defer lost(nil)
	beating, tracker := make(chan struct{}), &scan.Tracker{}
	go func() {
		defer close(beating)
		w.heartbeat(ctx, job, tracker, lost)
	}()
	defer func() { lost(nil); <-beating }()
	defer func() {
		if r := recover(); r != nil {
			w.options.Logger.ErrorContext(ctx, "scan panicked", "scan", job.ID, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			err = errs.New(errs.Internal, "queue: scan %d panicked: %v", job.ID, r)
		}
	}()
	result, err = w.options.Run(scan.WithTracker(ctx, tracker), job)
	if err != nil && ctx.Err() != nil {
		err = errs.Wrap(endOf(ctx), "queue: scan was stopped", err)
	}
	return result, err
}

// endOf says why a context ended: the kind of its cause when it has one of
// ours, else timeout or canceled.
func endOf(ctx context.Context) errs.Kind {
	var ours *errs.Error
	if errors.As(context.Cause(ctx), &ours) {
		return ours.Kind
	}
	return errs.KindOf(ctx.Err())
}

func (w *permitWorker) settle(ctx context.Context, job scan.Job, result scan.Result, cause error, d decision) error {
	if d.again {
		return w.options.Scans.RetryScan(ctx, job, result, cause, d.pause, d.counts)
	}
	return w.options.Scans.FinishScan(ctx, job, result, cause)
}

func (w *permitWorker) log(ctx context.Context, job scan.Job, result scan.Result, cause error, d decision) {
	attrs := []any{"scan", job.ID, "image", job.Ref.String(), "digest", result.Digest, "attempt", job.Attempt, "outcome", d.String()}
	for _, p := range result.Phases {
		attrs = append(attrs, p.Name+"_ms", p.Duration.Milliseconds())
	}
	level := slog.LevelWarn
	if d.again && !d.counts {
		level = slog.LevelDebug // it waits for another scan, or for a process that takes over
	}
	if who, canceled := scan.CanceledBy(cause); canceled {
		w.options.Logger.InfoContext(ctx, "scan canceled", append(attrs, "by", who)...)
		return
	}
	if cause != nil {
		w.options.Logger.Log(ctx, level, "scan did not finish", append(attrs, "kind", errs.KindOf(cause), "error", cause)...)
		return
	}
	w.options.Logger.InfoContext(ctx, "scan finished", attrs...)
}

// decision is what happens to a scan after an attempt.
type decision struct {
	again    bool
	pause    time.Duration
	counts   bool // against the attempts a scan has
	canceled bool // by somebody
}

// String names the outcome for logs and metrics.
func (d decision) String() string {
	switch {
	case d.canceled:
		return "canceled"
	case d.again:
		return "retry"
	}
	return "end"
}

// decide is the one place that says whether a scan is tried again, from the
// kind of its error: waiting for another scan or for a stopping process does
// not count; what the table calls Retry does, with a pause that grows from 5
// seconds to 10 minutes or that the other side asked for.
func decide(job scan.Job, cause error, maxAttempts int) decision {
	kind := errs.KindOf(cause)
	switch {
	case cause == nil:
		return decision{}
	case kind == errs.Conflict:
		return decision{again: true, pause: time.Second}
	case kind == errs.Canceled:
		return decision{again: true}
	case errors.Is(cause, scan.ErrOutOfTime) && job.Attempt > 1:
		// What the first attempt fetched is here: it is the image that takes so long.
		return decision{}
	case kind.Meaning().Outcome == errs.Cancel, job.Attempt >= maxAttempts:
		return decision{}
	}
	return decision{again: true, pause: backoff(job.Attempt, errs.RetryAfter(cause)), counts: true}
}

// backoff is 5 s, 15 s, 45 s, … up to 10 minutes, a tenth of it at random so
// that many scans of one registry do not come back together. A longer wish of
// the other side wins, up to an hour.
func backoff(attempt int, wish time.Duration) time.Duration {
	const first, most, longest = 5 * time.Second, 10 * time.Minute, time.Hour
	pause := first
	for i := 1; i < attempt && pause < most; i++ {
		pause *= 3
	}
	pause = max(min(pause, most), min(wish, longest))
	return pause + rand.N(pause/10+1)
}
