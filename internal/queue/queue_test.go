package queue_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/pgtest"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/queue"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

type rig struct {
	t     *testing.T
	pool  *pgxpool.Pool
	store *postgres.Store
}

func newRig(t *testing.T) *rig {
	t.Helper()
	pool := pgtest.New(t)
	r := &rig{t: t, pool: pool, store: postgres.New(pool)}
	if err := r.store.SyncRegistries(t.Context(), []postgres.Registry{{Name: "prod", Host: "registry.example"}}); err != nil {
		t.Fatal(err)
	}
	return r
}

// start runs a queue until the test ends.
func (r *rig) start(o queue.Options) *queue.Queue {
	r.t.Helper()
	q := r.queue(o)
	if err := q.Start(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		if err := q.Stop(context.Background()); err != nil {
			r.t.Error(err)
		}
	})
	return q
}

func (r *rig) queue(o queue.Options) *queue.Queue {
	r.t.Helper()
	o.Pool, o.Scans = r.pool, r.store
	if o.SweepInterval == 0 {
		o.SweepInterval = 50 * time.Millisecond
	}
	q, err := queue.New(o)
	if err != nil {
		r.t.Fatal(err)
	}
	return q
}

func (r *rig) push(q *queue.Queue, tags ...string) {
	r.t.Helper()
	for _, tag := range tags {
		d := postgres.Delivery{DedupeKey: "id:" + tag, Action: "push", Repository: "team/app", Tag: tag}
		if _, err := r.store.Accept(r.t.Context(), "prod", []postgres.Delivery{d}, q.Enqueue); err != nil {
			r.t.Fatal(err)
		}
	}
}

// until waits for the query to give true.
func (r *rig) until(query string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 30*time.Second)
	defer cancel()
	for {
		var ok bool
		if err := r.pool.QueryRow(ctx, "SELECT "+query).Scan(&ok); err != nil {
			r.t.Fatalf("waiting for %s: %v", query, err)
		}
		if ok {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func TestEveryQueuedScanRunsOnce(t *testing.T) {
	r := newRig(t)
	var ran atomic.Int32
	q := r.start(queue.Options{Workers: 4, Run: func(context.Context, scan.Job) (scan.Result, error) {
		ran.Add(1)
		return scan.Result{Phases: []scan.Phase{{Name: "resolve", Duration: time.Millisecond}}}, nil
	}})
	for i := range 20 {
		r.push(q, fmt.Sprint("t", i))
	}
	r.until("count(*) = 20 FROM scan WHERE state = 'done' AND phases->0->>'name' = 'resolve'")
	if n := ran.Load(); n != 20 {
		t.Errorf("%d runs", n)
	}
}

func TestAScanThatFailsIsTriedAgainOrEndsWithItsReason(t *testing.T) {
	r := newRig(t)
	var tries atomic.Int32
	q := r.start(queue.Options{Workers: 2, Run: func(_ context.Context, job scan.Job) (scan.Result, error) {
		switch {
		case job.Ref.Tag == "gone":
			return scan.Result{}, errs.New(errs.NotFound, "registry: no such tag")
		case job.Ref.Tag == "panics":
			panic("boom")
		case tries.Add(1) == 1:
			return scan.Result{}, errs.New(errs.Conflict, "busy")
		}
		return scan.Result{}, nil
	}})
	r.push(q, "gone", "busy", "panics")
	r.until("count(*) = 1 FROM scan WHERE tag = 'gone' AND state = 'failed' AND reason = 'not_found' AND attempt = 1")
	r.until("count(*) = 1 FROM scan WHERE tag = 'busy' AND state = 'done' AND attempt = 1")
	r.until("count(*) = 1 FROM scan WHERE tag = 'panics' AND state = 'queued' AND reason = 'internal' AND run_after > now()")
}

func TestALostLeaseCancelsTheScan(t *testing.T) {
	r := newRig(t)
	canceled := make(chan error, 1)
	q := r.start(queue.Options{Workers: 1, LeaseRenewal: 10 * time.Millisecond, Run: func(ctx context.Context, job scan.Job) (scan.Result, error) {
		if job.Attempt > 1 {
			return scan.Result{}, nil
		}
		if _, err := r.pool.Exec(context.WithoutCancel(ctx), `UPDATE scan SET lease_until = now() - interval '1 hour', lease_token = gen_random_uuid()`); err != nil {
			return scan.Result{}, err
		}
		<-ctx.Done()
		canceled <- context.Cause(ctx)
		return scan.Result{}, ctx.Err()
	}})
	r.push(q, "x")
	if cause := <-canceled; !errs.Is(cause, errs.Canceled) || errors.Is(cause, context.Canceled) {
		t.Errorf("canceled because of %v", cause)
	}
	r.until("count(*) = 1 FROM scan WHERE state = 'done' AND attempt = 2")
}

func TestARunningScanShowsHowFarItIs(t *testing.T) {
	r := newRig(t)
	next := make(chan struct{})
	q := r.start(queue.Options{Workers: 1, ProgressInterval: 10 * time.Millisecond, Run: func(ctx context.Context, _ scan.Job) (scan.Result, error) {
		tracker := scan.TrackerOf(ctx)
		tracker.Begin(scan.PhaseResolve)
		<-next
		tracker.Image("linux/amd64", 1, 2)
		tracker.Pull([]int64{100, 50})
		tracker.LayerRead(1, 20)
		<-next
		tracker.LayerRead(1, 50)
		<-next
		return scan.Result{}, nil
	}})
	r.push(q, "x")
	r.until(`count(*) = 1 FROM scan WHERE progress->>'phase' = 'resolve' AND progress_at >= started_at`)
	next <- struct{}{}
	r.until(`count(*) = 1 FROM scan WHERE progress @> '{"phase": "pull", "platform": "linux/amd64", "image": 1, "images": 2, "bytes": 20, "bytes_of": 150, "layers": 0, "layers_of": 2}'`)
	next <- struct{}{}
	r.until(`count(*) = 1 FROM scan WHERE progress @> '{"bytes": 50, "layers": 1}'`)
	// What does not change is not written again.
	at := `(SELECT xmin::text FROM scan)`
	var before, after string
	if err := r.pool.QueryRow(t.Context(), "SELECT "+at).Scan(&before); err != nil {
		t.Fatal(err)
	}
	r.until("true FROM (SELECT pg_sleep(0.1)) x")
	if err := r.pool.QueryRow(t.Context(), "SELECT "+at).Scan(&after); err != nil || after != before {
		t.Errorf("written again without news: %v", err)
	}
	close(next)
	r.until("count(*) = 1 FROM scan WHERE state = 'done'")
}

func TestACanceledScanIsStoppedSoon(t *testing.T) {
	r := newRig(t)
	var runs atomic.Int32
	stopped := make(chan error, 1)
	registry := prometheus.NewRegistry()
	q := r.start(queue.Options{Workers: 1, ProgressInterval: 10 * time.Millisecond, LeaseRenewal: time.Hour, SweepInterval: time.Hour,
		Metrics: queue.NewMetrics(registry), Run: func(ctx context.Context, job scan.Job) (scan.Result, error) {
			if job.Ref.Tag == "next" || runs.Add(1) > 1 {
				return scan.Result{}, nil
			}
			<-ctx.Done()
			stopped <- context.Cause(ctx)
			return scan.Result{Pulled: 7}, ctx.Err()
		}})
	r.push(q, "x", "next")
	r.until("count(*) = 1 FROM scan WHERE state = 'running' AND tag = 'x'")
	var id int64
	if err := r.pool.QueryRow(t.Context(), `SELECT id FROM scan WHERE tag = 'x'`).Scan(&id); err != nil {
		t.Fatal(err)
	}
	if _, err := r.store.CancelScan(t.Context(), report.Access{}, id, "ci"); err != nil {
		t.Fatal(err)
	}
	if who, ok := scan.CanceledBy(<-stopped); !ok || who != "ci" {
		t.Errorf("stopped for %q, %v", who, ok)
	}
	r.until("count(*) = 1 FROM scan WHERE state = 'done' AND tag = 'next'") // the worker goes on
	if n := r.count("scan WHERE tag = 'x' AND state = 'canceled' AND reason = 'canceled' AND detail = 'canceled by ci'"); n != 1 {
		t.Error("the scan is not canceled")
	}
	if got := attempts(t, registry); got["canceled canceled"] != 1 || got["canceled retry"] != 0 {
		t.Errorf("attempts by kind and outcome: %v", got)
	}
	d := postgres.Delivery{DedupeKey: "again", Action: "push", Repository: "team/app", Tag: "x"}
	if _, err := r.store.Accept(t.Context(), "prod", []postgres.Delivery{d}, q.Enqueue); err != nil {
		t.Fatal(err)
	}
	r.until("count(*) = 1 FROM scan WHERE state = 'done' AND tag = 'x'")
}

// attempts reads the counter of attempts, by the values of its labels.
func attempts(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		if f.GetName() == "tidewaiter_scan_attempts_total" {
			for _, m := range f.GetMetric() {
				out[m.GetLabel()[0].GetValue()+" "+m.GetLabel()[1].GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	return out
}

// Whatever a scan came to while it was canceled: it is canceled, and not failed.
func TestACanceledScanNeverFails(t *testing.T) {
	for name, outcome := range map[string]error{
		"it failed": errs.New(errs.Malformed, "bad"), "it would be tried again": errs.New(errs.Unavailable, "down"), "it was done": nil,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			q := r.start(queue.Options{Workers: 1, ProgressInterval: time.Hour, Run: func(ctx context.Context, job scan.Job) (scan.Result, error) {
				if _, err := r.store.CancelScan(ctx, report.Access{}, job.ID, "ci"); err != nil {
					return scan.Result{}, err
				}
				return scan.Result{}, outcome
			}})
			r.push(q, "x", "y")
			r.until("count(*) = 2 FROM scan WHERE state = 'canceled' AND canceled_by = 'ci' AND lease_token IS NULL")
		})
	}
}

func TestStopHandsRunningScansBack(t *testing.T) {
	r := newRig(t)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	running := make(chan struct{})
	q := r.queue(queue.Options{Workers: 1, Grace: 50 * time.Millisecond, Run: func(ctx context.Context, _ scan.Job) (scan.Result, error) {
		close(running)
		<-ctx.Done()
		return scan.Result{}, ctx.Err()
	}})
	if err := q.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.push(q, "x")
	<-running
	if err := q.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.until("count(*) = 1 FROM scan WHERE state = 'queued' AND attempt = 0 AND lease_token IS NULL")
}

func TestScansWithoutPermitsAreFound(t *testing.T) {
	r := newRig(t)
	idle := r.queue(queue.Options{})
	r.push(idle, "x")
	if _, err := r.pool.Exec(t.Context(), `DELETE FROM river_job`); err != nil {
		t.Fatal(err)
	}
	if _, err := r.pool.Exec(t.Context(), `UPDATE scan SET run_after = now() - interval '1 minute'`); err != nil {
		t.Fatal(err)
	}
	r.start(queue.Options{Workers: 1, Run: func(context.Context, scan.Job) (scan.Result, error) { return scan.Result{}, nil }})
	r.until("count(*) = 1 FROM scan WHERE state = 'done'")
}

func TestAWorkerThatIsNotReadyLeavesScansToOthers(t *testing.T) {
	r := newRig(t)
	var asked atomic.Int32
	q := r.start(queue.Options{Workers: 1, Ready: func(context.Context) bool { asked.Add(1); return false }, Run: func(context.Context, scan.Job) (scan.Result, error) {
		t.Error("a worker that is not ready took a scan")
		return scan.Result{}, nil
	}})
	r.push(q, "x")
	for asked.Load() == 0 {
		r.until("true FROM (SELECT pg_sleep(0.05)) x")
	}
	if n := r.count("scan WHERE state = 'queued' AND attempt = 0"); n != 1 {
		t.Errorf("%d scans wait, want 1", n)
	}
	r.start(queue.Options{Workers: 1, Run: func(context.Context, scan.Job) (scan.Result, error) { return scan.Result{}, nil }})
	r.until("count(*) = 1 FROM scan WHERE state = 'done'")
}

// A permit that finds nothing ends. What waits for a place at its registry is
// taken by the worker that gave up the place.
func TestALimitedRegistryIsWorkedThroughWithoutThePermitsItUsedUp(t *testing.T) {
	r := newRig(t)
	if err := r.store.SyncRegistries(t.Context(), []postgres.Registry{{Name: "prod", Host: "registry.example", MaxRunning: 1}}); err != nil {
		t.Fatal(err)
	}
	var running, most atomic.Int32
	o := queue.Options{Workers: 4, SweepInterval: time.Hour, Run: func(context.Context, scan.Job) (scan.Result, error) {
		now := running.Add(1)
		defer running.Add(-1)
		for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
		}
		r.until("true FROM (SELECT pg_sleep(0.02)) x") // others find the registry busy
		return scan.Result{}, nil
	}}
	q := r.start(o)
	for i := range 20 {
		r.push(q, fmt.Sprint("t", i))
	}
	r.until("count(*) = 20 FROM scan WHERE state = 'done'")
	if n := most.Load(); n != 1 {
		t.Errorf("%d scans ran at once, the limit is 1", n)
	}
}

func TestAHeldScanRunsWhenItIsDue(t *testing.T) {
	r := newRig(t)
	q := r.start(queue.Options{Workers: 1, ReleaseInterval: 20 * time.Millisecond, SweepInterval: time.Hour,
		Run: func(context.Context, scan.Job) (scan.Result, error) { return scan.Result{}, nil }})
	held := postgres.Delivery{DedupeKey: "1", Action: "push", Repository: "team/app", Tag: "held", Hold: time.Hour}
	if _, err := r.store.Accept(t.Context(), "prod", []postgres.Delivery{held}, q.Enqueue); err != nil {
		t.Fatal(err)
	}
	r.push(q, "now")
	r.until("count(*) = 1 FROM scan WHERE state = 'done'")
	if n := r.count("scan WHERE state = 'queued' AND tag = 'held' AND attempt = 0"); n != 1 {
		t.Fatalf("%d scans wait, want the held one", n)
	}
	if _, err := r.pool.Exec(t.Context(), `UPDATE scan SET run_after = now()`); err != nil {
		t.Fatal(err)
	}
	r.until("count(*) = 2 FROM scan WHERE state = 'done'")
}

func (r *rig) count(query string) (n int) {
	r.t.Helper()
	if err := r.pool.QueryRow(r.t.Context(), "SELECT count(*) FROM "+query).Scan(&n); err != nil {
		r.t.Fatal(err)
	}
	return n
}
