// Package queue hands scans to workers through River on the same Postgres.
//
// It is responsible for how many scans run at once, for their leases and
// deadlines, and for what happens after one failed. Which scan is next is
// decided in the scan table: a River job is only a permit that wakes a worker to
// take it. Beside scans it spreads the judging of a new database build over all
// processes, shard by shard. It must not know what a scan or judging does.
package queue

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// Scans is the scan table.
type Scans interface {
	// ClaimScan takes the scan whose turn it is, nil when none is due.
	ClaimScan(ctx context.Context) (*scan.Job, error)
	// RenewLease keeps a running scan the job's. It returns kind Canceled when it is
	// not any more, an error of scan.Canceled when somebody canceled it; so do the
	// next three.
	RenewLease(ctx context.Context, job scan.Job) error
	// ShowProgress writes down how far a running scan is; with nil it only looks
	// whether the scan is still the job's.
	ShowProgress(ctx context.Context, job scan.Job, p *scan.Progress) error
	FinishScan(ctx context.Context, job scan.Job, result scan.Result, cause error) error
	RetryScan(ctx context.Context, job scan.Job, result scan.Result, cause error, pause time.Duration, counts bool) error
	// Depth counts scans that wait and run, and tells how long the one that is
	// due longest has waited.
	Depth(ctx context.Context) (queued, running int, oldest time.Duration, err error)
	// ReleaseScans brings scans whose time has come into the line, lets enqueue
	// add their permits, and returns how many.
	ReleaseScans(ctx context.Context, enqueue func(ctx context.Context, tx pgx.Tx, n int) error) (released int, err error)
	// SweepScans queues the scans of dead workers again and lets enqueue add
	// the permits that are missing.
	SweepScans(ctx context.Context, maxAttempts int, enqueue func(ctx context.Context, tx pgx.Tx, n int) error) (revived int, err error)
}

// Options set up a Queue.
type Options struct {
	// Pool is the database; required.
	Pool *pgxpool.Pool
	// Scans and Run are required when Workers is positive.
	Scans Scans
	Run   func(ctx context.Context, job scan.Job) (scan.Result, error)
	// Ready tells whether this process can finish scans now; without it every
	// process can. A worker that is not ready leaves its permit to others.
	Ready func(ctx context.Context) bool
	// Workers is how many scans run at once; zero only inserts.
	Workers int
	// ScanTimeout is the deadline of one attempt; default 30 minutes.
	ScanTimeout time.Duration
	// Grace is how long running scans may go on after Stop; default 30 seconds.
	Grace time.Duration
	// MaxAttempts is how often a scan is tried; default 6.
	MaxAttempts int
	// LeaseRenewal is how often a running scan shows a sign of life; default 10
	// seconds.
	LeaseRenewal time.Duration
	// ProgressInterval is how often it is written down how far a running scan is,
	// and looked whether somebody canceled it; default 1 second.
	ProgressInterval time.Duration
	// SweepInterval is how often to look for what dead processes left behind;
	// default 5 seconds.
	SweepInterval time.Duration
	// ReleaseInterval is how often to look for scans whose time has come; default
	// half a second.
	ReleaseInterval time.Duration
	// Judging is how this process judges shards of a candidate build; without
	// Workers it judges none.
	Judging Judging
	Logger  *slog.Logger
	// Metrics may be nil.
	Metrics *Metrics
}

// Queue inserts permits and, with workers, runs scans.
type Queue struct {
	options  Options
	client   *river.Client[pgx.Tx]
	stopping chan struct{} // closed when no worker may take another scan
	stop     func()        // closes it
	started  atomic.Bool
	scanning atomic.Int32  // scans that run here
	tended   chan struct{} // closed when nobody tends the scans any more
}

// New returns a queue that is not started; it can already insert.
func New(o Options) (*Queue, error) {
	o = o.withDefaults()
	q := &Queue{options: o, stopping: make(chan struct{}), tended: make(chan struct{})}
	q.stop = sync.OnceFunc(func() { close(q.stopping) })
	config := &river.Config{
		Logger:                      slog.New(quiet{o.Logger.Handler()}),
		JobTimeout:                  -1, // a scan has its own deadline
		SoftStopTimeout:             o.Grace,
		MaxAttempts:                 o.MaxAttempts,
		CompletedJobRetentionPeriod: time.Hour,
		RescueStuckJobsAfter:        time.Hour, // a permit; the scan itself is revived by its lease
		FetchPollInterval:           500 * time.Millisecond,
	}
	if o.Workers > 0 {
		workers := river.NewWorkers()
		river.AddWorker(workers, &permitWorker{options: o, stopping: q.stopping, scanning: &q.scanning})
		config.Workers = workers
		config.Queues = map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: o.Workers}}
		if o.Judging.Shard != nil {
			river.AddWorker(workers, &shardWorker{judge: o.Judging.Shard})
			config.Queues[shardQueue] = river.QueueConfig{MaxWorkers: o.Judging.Workers}
		}
	}
	var err error
	if q.client, err = river.NewClient(riverpgxv5.New(o.Pool), config); err != nil {
		return nil, errs.Wrap(errs.Internal, "queue: set up", err)
	}
	return q, nil
}

func (o Options) withDefaults() Options {
	if o.ScanTimeout == 0 {
		o.ScanTimeout = 30 * time.Minute
	}
	if o.Grace == 0 {
		o.Grace = 30 * time.Second
	}
	if o.MaxAttempts == 0 {
		o.MaxAttempts = 6
	}
	if o.LeaseRenewal == 0 {
		o.LeaseRenewal = 10 * time.Second
	}
	if o.ProgressInterval == 0 {
		o.ProgressInterval = time.Second
	}
	if o.SweepInterval == 0 {
		o.SweepInterval = 5 * time.Second
	}
	if o.ReleaseInterval == 0 {
		o.ReleaseInterval = 500 * time.Millisecond
	}
	o.Judging = o.Judging.withDefaults()
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// permit wakes a worker, which takes scans while there are any. Its kind is
// stored; it never changes.
type permit struct{}

// Kind names the job to River.
func (permit) Kind() string { return "scan_permit" }

// Enqueue inserts n permits in a transaction of the caller.
func (q *Queue) Enqueue(ctx context.Context, tx pgx.Tx, n int) error {
	if n <= 0 {
		return nil
	}
	params := make([]river.InsertManyParams, n)
	for i := range params {
		params[i] = river.InsertManyParams{Args: permit{}}
	}
	_, err := q.client.InsertManyFastTx(ctx, tx, params)
	return err
}

// Start runs the workers until Stop.
func (q *Queue) Start(ctx context.Context) error {
	if q.options.Workers == 0 {
		return nil
	}
	// The workers outlive the signal that ends ctx; Stop ends them.
	background := context.WithoutCancel(ctx)
	if err := q.client.Start(background); err != nil {
		return errs.Wrap(errs.Unavailable, "queue: start", err)
	}
	q.started.Store(true)
	go q.tend(background)
	return nil
}

// Scanning reports whether a scan runs in this process.
func (q *Queue) Scanning() bool { return q.scanning.Load() > 0 }

// Stop takes no more scans, lets running ones finish within the grace period,
// then cancels them: they go back to the queue.
func (q *Queue) Stop(ctx context.Context) error {
	if !q.started.Load() {
		return nil
	}
	q.stop()
	<-q.tended
	ctx = context.WithoutCancel(ctx)
	const handBack = 15 * time.Second
	ctx, cancel := context.WithTimeout(ctx, q.options.Grace+handBack)
	defer cancel()
	return errs.Wrap(errs.Timeout, "queue: stop", q.client.Stop(ctx))
}

// tend brings scans into the line when their time has come and repairs, every
// few seconds, what dead processes left behind.
func (q *Queue) tend(ctx context.Context) {
	defer close(q.tended)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // what is under way does not hold up the stop
		<-q.stopping
		cancel()
	}()
	release, sweep := time.NewTicker(q.options.ReleaseInterval), time.NewTicker(q.options.SweepInterval)
	defer release.Stop()
	defer sweep.Stop()
	q.sweepOnce(ctx)
	for {
		q.releaseAll(ctx)
		select {
		case <-ctx.Done():
			return
		case <-release.C:
		case <-sweep.C:
			q.sweepOnce(ctx)
		}
	}
}

// releaseAll goes on while there is more; what fails is tried with the next tick.
func (q *Queue) releaseAll(ctx context.Context) {
	const deadline = 30 * time.Second
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	for {
		released, err := q.options.Scans.ReleaseScans(ctx, q.Enqueue)
		if err != nil && !errors.Is(err, context.Canceled) {
			q.options.Logger.WarnContext(ctx, "scans not released", "error", err)
		}
		if err != nil || released == 0 {
			return
		}
	}
}

func (q *Queue) sweepOnce(ctx context.Context) {
	const deadline = 30 * time.Second
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	revived, err := q.options.Scans.SweepScans(ctx, q.options.MaxAttempts, q.Enqueue)
	switch {
	case err != nil && !errors.Is(err, context.Canceled):
		q.options.Logger.WarnContext(ctx, "scans not swept", "error", err)
	case revived > 0:
		q.options.Logger.InfoContext(ctx, "scans of vanished workers revived", "scans", revived)
	}
	if queued, running, oldest, err := q.options.Scans.Depth(ctx); err == nil {
		q.options.Metrics.depth(queued, running, oldest)
	}
}

// quiet keeps River's own chatter out of the log below warnings.
type quiet struct{ slog.Handler }

// Enabled reports only warnings and worse.
func (h quiet) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && h.Handler.Enabled(ctx, level)
}

// WithAttrs keeps the filter.
func (h quiet) WithAttrs(attrs []slog.Attr) slog.Handler { return quiet{h.Handler.WithAttrs(attrs)} }

// WithGroup keeps the filter.
func (h quiet) WithGroup(name string) slog.Handler { return quiet{h.Handler.WithGroup(name)} }
