package queue

import (
	"context"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// heartbeat keeps the lease of a running scan alive and shows how far it is, until
// ctx ends. When the scan is not the job's any more it tells lost why, and is
// done. What fails otherwise is tried with the next beat.
func (w *permitWorker) heartbeat(ctx context.Context, job scan.Job, tracker *scan.Tracker, lost context.CancelCauseFunc) {
	renew, show := time.NewTicker(w.options.LeaseRenewal), time.NewTicker(w.options.ProgressInterval)
	defer renew.Stop()
	defer show.Stop()
	var shown scan.Progress
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-renew.C:
			err = w.within(ctx, func(ctx context.Context) error { return w.options.Scans.RenewLease(ctx, job) })
		case <-show.C:
			shown, err = w.show(ctx, job, shown, tracker.Progress())
		}
		if errs.Is(err, errs.Canceled) && ctx.Err() == nil {
			lost(err)
			return
		}
	}
}

// show writes down how far a scan is, if that is news, and else only looks at it,
// which is how a canceled scan is noticed soon. It returns what is written down.
func (w *permitWorker) show(ctx context.Context, job scan.Job, shown, now scan.Progress) (scan.Progress, error) {
	news := &now
	if now == shown {
		news = nil
	}
	if err := w.within(ctx, func(ctx context.Context) error { return w.options.Scans.ShowProgress(ctx, job, news) }); err != nil {
		return shown, err
	}
	return now, nil
}

// within bounds a word with the database: the next beat is due.
func (w *permitWorker) within(ctx context.Context, say func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, w.options.LeaseRenewal)
	defer cancel()
	return say(ctx)
}
