package app

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/reconcile"
)

// reconciler sees to it that every registry is compared with what is known, on
// schedule and on demand. The database decides which process does it.
type reconciler struct {
	registries []config.Registry
	store      *postgres.Store
	runner     reconcile.Reconciler
	metrics    *reconcileMetrics
	logger     *slog.Logger
}

// newReconciler makes the one of this process.
func (a *App) newReconciler(registry reconcile.Registry) *reconciler {
	m := newReconcileMetrics(a.metrics)
	return &reconciler{
		registries: a.config.Registries, store: a.store, metrics: m, logger: a.logger,
		runner: reconcile.Reconciler{
			Registry: registry, Store: postgres.Reconciliations{Store: a.store, Permits: a.queue.Enqueue},
			Rules: a.config.ScanRules(), Logger: a.logger, Observe: m.observe,
		},
	}
}

const (
	// claimEvery is how soon a run that was asked for begins.
	claimEvery = time.Second
	// scheduleEvery is how often to see what is due.
	scheduleEvery = 30 * time.Second
	// retryFailed is how long after a run that failed the next is made, where the
	// interval is not shorter.
	retryFailed = time.Hour
)

// run claims and does runs until ctx ends, and returns when they have let go.
func (r *reconciler) run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	if err := r.store.CancelReconciliations(ctx, r.names()); err != nil && ctx.Err() == nil {
		r.logger.WarnContext(ctx, "reconciliations of former registries not canceled", "error", err)
	}
	var scheduled time.Time
	for ; ctx.Err() == nil; wait(ctx, claimEvery) {
		var err error
		if time.Since(scheduled) >= scheduleEvery {
			scheduled = time.Now()
			err = r.schedule(ctx)
		}
		if err == nil {
			err = r.claim(ctx, &running)
		}
		if err != nil && ctx.Err() == nil {
			r.logger.WarnContext(ctx, "reconciliations not looked after", "error", err)
			wait(ctx, scheduleEvery)
		}
	}
}

func (r *reconciler) names() []string {
	names := make([]string, len(r.registries))
	for i, g := range r.registries {
		names[i] = g.Name
	}
	return names
}

// schedule queues the runs that are due, and refreshes when each registry was
// compared last.
func (r *reconciler) schedule(ctx context.Context) error {
	for _, g := range r.registries {
		every := g.Reconcile.Interval
		if every == 0 {
			continue
		}
		if _, err := r.store.ScheduleReconciliation(ctx, g.Name, every, min(every, retryFailed)); err != nil {
			return err
		}
	}
	last, err := r.store.LastReconciled(ctx)
	r.metrics.succeeded(last)
	return err
}

// claim takes every run that can begin, and does each beside the others: they are
// of different registries.
func (r *reconciler) claim(ctx context.Context, running *sync.WaitGroup) error {
	rules := make(map[string]string, len(r.registries))
	for _, g := range r.registries {
		rules[g.Name] = r.runner.Rules[g.Name].Fingerprint()
	}
	for {
		claimed, err := r.store.ClaimReconciliation(ctx, rules)
		if err != nil || claimed == nil {
			return err
		}
		running.Go(func() {
			start := time.Now()
			_, err := r.runner.Run(ctx, *claimed)
			r.metrics.ended(*claimed, time.Since(start), err)
		})
	}
}

// comparisons takes requests for runs over configured registries.
type comparisons struct {
	store *postgres.Store
	names []string
}

// RequestReconciliation queues a run. The error is of kind Invalid for a registry
// that is not configured: nobody would ever begin it.
func (c comparisons) RequestReconciliation(ctx context.Context, registry, repository string) (int64, error) {
	if !slices.Contains(c.names, registry) {
		return 0, errs.New(errs.Invalid, "registry %s is no longer configured", registry).WithField("registry")
	}
	return c.store.RequestReconciliation(ctx, registry, repository)
}
