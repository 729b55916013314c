// Package app puts the rooms together into one running service.
//
// It is responsible for the wiring, for the order in which parts start and
// stop, and for keeping the vulnerability database in force. It must not hold
// any rule of its own about scans or findings.
package app

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/httpserver"
	"github.com/tidewaiter/tidewaiter/internal/intake"
	"github.com/tidewaiter/tidewaiter/internal/match"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
	"github.com/tidewaiter/tidewaiter/internal/notify"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/queue"
	"github.com/tidewaiter/tidewaiter/internal/registry"
	"github.com/tidewaiter/tidewaiter/internal/sandbox"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/telemetry"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// Options say what to run. Config is required.
type Options struct {
	Config   config.Config
	Logger   *slog.Logger         // nil discards
	Registry *prometheus.Registry // nil makes one
	// Build is what traces and the API say of this program; what the linker recorded
	// when it is empty.
	Build telemetry.Build
	// Catalogues says that this program calls Catalogue when it is started with the
	// argument CatalogWorker. Without it images can only be read in this process.
	Catalogues bool
	// Console is where people read what they are shown once, such as the first token;
	// nil makes none.
	Console io.Writer
}

// App is a service that was set up and not yet run.
type App struct {
	config  config.Config
	build   telemetry.Build
	logger  *slog.Logger
	metrics *prometheus.Registry
	tracer  *telemetry.Tracer // nil where there are no traces

	store    *postgres.Store
	engine   *match.Engine
	queue    *queue.Queue
	keeper   *keeper
	lists    *reconciler
	books    *bookkeeper
	collect  *collector
	notifier *notify.Notifier
	workers  *sandbox.Pool // may be nil
	warm     func() error  // builds what the first scan would wait for
	server   *httpserver.Server
	admin    *httpserver.Server // nil without an address of its own
	public   *httpserver.Limiter
	console  io.Writer
}

// New migrates the database and sets everything up. Nothing is served and
// nothing scanned before Run. The caller closes the app when New succeeded.
func New(ctx context.Context, o Options) (*App, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	if w := o.Config.Workers; w.Enabled && w.Isolation == config.IsolationProcess && !o.Catalogues {
		return nil, errs.New(errs.Invalid, "app: this program has no worker processes; set workers.isolation to none")
	}
	if o.Build.Version == "" {
		o.Build = telemetry.ReadBuild("")
	}
	a := &App{config: o.Config, build: o.Build, logger: o.Logger, metrics: o.Registry, console: o.Console,
		public: httpserver.NewLimiter(publicPerSecond, publicBurst)}
	tracer, err := newTracer(ctx, o)
	if err != nil {
		return nil, err
	}
	a.tracer = tracer
	if err := a.openStore(ctx); err != nil {
		a.endTraces(ctx)
		return nil, err
	}
	if err := a.assemble(); err != nil {
		a.Close()
		return nil, err
	}
	if err := errors.Join(a.beginNotifier(ctx), a.letIn(ctx)); err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

// openStore migrates, connects and makes the configured registries known.
func (a *App) openStore(ctx context.Context) error {
	url := a.config.Database.URL.Reveal()
	if err := postgres.Migrate(ctx, url); err != nil {
		return err
	}
	tracer := postgres.NewTracer(a.metrics)
	store, err := postgres.Open(ctx, url, postgres.Options{MaxConns: int32(a.config.Database.MaxConns), Tracer: tracer,
		LikelyAt: float64(a.config.Events.EPSSPercent) / 100})
	if err != nil {
		return err
	}
	a.store = store
	a.metrics.MustRegister(store.Metrics())
	if err := errors.Join(store.SyncRegistries(ctx, a.registries()), store.AddEventPartitions(ctx, time.Now())); err != nil {
		store.Close()
		return err
	}
	return nil
}

// registries are the rows of the configured registries and of the uploads.
func (a *App) registries() []postgres.Registry {
	rows := []postgres.Registry{{Name: intake.Uploads, Host: intake.Uploads}}
	for _, r := range a.config.Registries {
		rows = append(rows, postgres.Registry{Name: r.Name, Host: r.Host, MaxRunning: r.Limits.ConcurrentPulls})
	}
	return rows
}

// assemble builds the rooms from the ground up.
func (a *App) assemble() error {
	client, err := registry.New(a.config.RegistrySettings(), registry.WithMetrics(registry.NewMetrics(a.metrics)), registry.WithSkipped(a.tellSkipped))
	if err != nil {
		return err
	}
	cataloger := a.newCataloger()
	a.warm = cataloger.Warm
	library, err := vulndb.Open(VulnDBConfig(a.config))
	if err != nil {
		return err
	}
	a.engine = match.NewEngine(match.Options{})
	scanner := &scan.Scanner{Registry: client, Cataloger: cataloger, Matcher: a.engine, Store: a.store,
		Limits: a.config.ScanLimits(), Rules: a.config.ScanRules()}
	if err := a.assembleQueue(scanner); err != nil {
		return err
	}
	a.lists = a.newReconciler(client)
	a.keeper = &keeper{library: library, engine: a.engine, store: a.store, logger: a.logger,
		metrics: newMetrics(a.metrics), figures: newBuildMetrics(), judge: a.config.Workers.Enabled, keep: a.config.VulnDB.Keep,
		alarm: a.config.VulnDB.AlarmAge, hold: thresholds(a.config.VulnDB.Hold), distribute: a.queue.Distribute,
		manners: &manners{scanning: a.queue.Scanning}, wake: make(chan struct{}, 1)}
	a.metrics.MustRegister(a.keeper.figures)
	if a.config.VulnDB.AutoUpdate {
		a.keeper.update = a.config.VulnDB.UpdateInterval
	}
	a.books = newBookkeeper(a.store, a.metrics, a.logger)
	a.collect = a.newCollector()
	if a.notifier, err = a.newNotifier(); err != nil {
		return err
	}
	names := func(host string) (string, bool) { s, ok := client.Lookup(host); return s.Name, ok }
	return a.assembleHTTP(intake.New(a.store, a.queue.Enqueue, names, intakeSettings(a.config)), cataloger, names)
}

func (a *App) assembleQueue(scanner *scan.Scanner) (err error) {
	w := a.config.Workers
	options := queue.Options{
		Pool: a.store.Pool(), Scans: a.store, Run: scanner.Scan, Ready: a.ready,
		ScanTimeout: w.JobTimeout, Grace: w.ShutdownGrace, MaxAttempts: w.MaxAttempts,
		Judging: queue.Judging{Shard: func(ctx context.Context, build vuln.Build, shard scan.Shard) error {
			return a.keeper.judgeShard(ctx, build, shard)
		}},
		LeaseRenewal: postgres.LeaseRenewal, Logger: a.logger, Metrics: queue.NewMetrics(a.metrics),
	}
	if w.Enabled {
		options.Workers = w.Count
	}
	a.queue, err = queue.New(options)
	return err
}

// ready reports whether this process judges with the build in force. While it
// does not, a scan would pull an image and could not store the answer.
func (a *App) ready(ctx context.Context) bool {
	active, err := a.store.ActiveBuild(ctx)
	present, open := a.engine.Current()
	return err == nil && open && present.Same(active)
}

// Listen opens the addresses, so that Addr is known before Run.
func (a *App) Listen(ctx context.Context) error {
	if err := a.server.Listen(ctx); err != nil || a.admin == nil {
		return err
	}
	return a.admin.Listen(ctx)
}

// Addr is the address that is served; empty before Listen.
func (a *App) Addr() string { return a.server.Addr() }

// Run serves and scans until ctx ends, then stops in order: no more requests,
// running scans finish or go back into the queue, connections close.
func (a *App) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(a.tracer.Within(ctx))
	defer stop()
	var running sync.WaitGroup
	failures := make(chan error, 4)
	start := func(part func(context.Context) error) {
		running.Go(func() {
			if err := part(ctx); err != nil {
				failures <- err
				stop()
			}
		})
	}
	start(a.server.Run)
	if a.admin != nil {
		start(a.admin.Run)
	}
	start(a.runWorkers)
	start(a.books.run)
	start(a.runNotifier)
	a.logger.InfoContext(ctx, "serving", "address", a.Addr(), "workers", a.config.Workers.Enabled, "receiver", a.config.Receiver.Enabled)
	running.Wait()
	a.books.close(ctx)
	close(failures)
	var all []error
	for err := range failures {
		all = append(all, err)
	}
	a.Close()
	return errors.Join(all...)
}

// runWorkers keeps the database in force and scans once there is one: a scan
// that cannot be judged would only pull in vain.
func (a *App) runWorkers(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	ready := make(chan struct{})
	var background sync.WaitGroup
	defer background.Wait()
	defer stop() // first, or an early return would wait for ever
	background.Go(func() { a.keeper.run(ctx, ready) })
	if a.config.Workers.Enabled {
		background.Go(func() { a.lists.run(ctx) })
		background.Go(func() { a.collect.run(ctx) })
		background.Go(func() {
			if err := a.warm(); err != nil {
				a.logger.WarnContext(ctx, "cataloger not warmed", "error", err)
			}
		})
	}
	select {
	case <-ctx.Done():
		return nil
	case <-ready:
	}
	for err := a.queue.Start(ctx); err != nil; err = a.queue.Start(ctx) {
		if !errs.Is(err, errs.Unavailable) {
			return err
		}
		a.logger.WarnContext(ctx, "workers not started, trying again", "error", err)
		if wait(ctx, restart); ctx.Err() != nil {
			return nil
		}
	}
	<-ctx.Done()
	err := a.queue.Stop(ctx)
	if errs.Is(err, errs.Timeout) {
		a.logger.WarnContext(ctx, "scans cut short; they are queued again", "error", err)
		return nil
	}
	return err
}

// restart is the pause before another try to start the workers.
const restart = 2 * time.Second

// Close lets go of the database and of the vulnerability database. Closing
// again does nothing.
func (a *App) Close() {
	if a.workers != nil {
		a.workers.Close()
	}
	if a.engine != nil {
		_ = a.engine.Close()
	}
	if a.store != nil {
		a.store.Close()
	}
	a.endTraces(context.Background())
}

// endTraces sends the last traces, unless that takes long: nobody waits for a
// collector that is not there.
func (a *App) endTraces(ctx context.Context) {
	const deadline = 5 * time.Second
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deadline)
	defer cancel()
	if err := a.tracer.Shutdown(ctx); err != nil {
		a.logger.WarnContext(ctx, "traces not sent", "error", err)
	}
	a.tracer = nil
}
