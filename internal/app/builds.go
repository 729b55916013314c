package app

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/match"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/telemetry"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// keeper keeps this process's engine on the active database build, and brings
// newer builds into force.
type keeper struct {
	library *vulndb.Library
	engine  *match.Engine
	store   *postgres.Store
	logger  *slog.Logger
	metrics *metrics
	figures *buildMetrics
	// update is how often to look for a newer database; zero for only when
	// somebody asks.
	update time.Duration
	// keep is how many builds stay in the library.
	keep int
	// alarm is the age of the active build that is an alarm; zero for never.
	alarm time.Duration
	// hold says when a build waits for a person; nil for never.
	hold *scan.Thresholds
	// distribute has shards judged by all processes.
	distribute func(ctx context.Context, build vuln.Build, shards []scan.Shard) error
	// manners are how judging leaves scans their share.
	manners *manners
	// judge is false in processes without workers: they need no database, and
	// leave looking for one and judging to the others.
	judge bool
	// wake asks for a look at the builds now.
	wake chan struct{}
	// opened tells, the first time, that scans can be judged.
	opened func()

	tidied time.Time // when the chores were last done
	old    bool      // the age of the active build was told
	failed failure   // the build that could not be adopted
}

const (
	// lookEvery is how often to see whether a build came or went.
	lookEvery = 5 * time.Second
	// choresEvery is how often to finish and to remove what was left.
	choresEvery = time.Minute
)

// run looks after the builds until ctx ends. ready is closed when the engine
// has a build, in a process without workers at once.
func (k *keeper) run(ctx context.Context, ready chan<- struct{}) {
	var background sync.WaitGroup
	defer background.Wait()
	background.Go(func() { k.daily(ctx) })
	background.Go(func() { k.count(ctx) })
	if k.judge {
		background.Go(func() { k.check(ctx) })
	}
	k.opened = sync.OnceFunc(func() { close(ready) })
	told := false
	for ; ctx.Err() == nil; k.pause(ctx) {
		switch err := k.follow(ctx); {
		case errs.Is(err, errs.NotFound):
			if !told {
				told = true
				k.logger.WarnContext(ctx, "scans wait for a vulnerability database", "error", err, "hint", errs.Hint(err))
			}
		case err != nil && ctx.Err() == nil:
			k.logger.WarnContext(ctx, "vulnerability database not followed", "error", err, "hint", errs.Hint(err))
		case err == nil:
			told = false
		}
	}
}

// pause waits until the next look, or until somebody wants it sooner.
func (k *keeper) pause(ctx context.Context) {
	timer := time.NewTimer(lookEvery)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-k.wake:
	}
}

// look asks for a look at the builds now.
func (k *keeper) look() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// count refreshes the metrics once a minute.
func (k *keeper) count(ctx context.Context) {
	for ; ctx.Err() == nil; wait(ctx, choresEvery) {
		if err := k.figures.count(ctx, k.store); err != nil && ctx.Err() == nil {
			k.logger.WarnContext(ctx, "database builds not counted, trying again", "error", err)
		}
	}
}

// daily does what has to be done once a day.
func (k *keeper) daily(ctx context.Context) {
	const day = 24 * time.Hour
	for wait(ctx, day); ctx.Err() == nil; wait(ctx, day) {
		if err := k.store.AddEventPartitions(ctx, time.Now()); err != nil {
			k.logger.WarnContext(ctx, "event partitions not added", "error", err)
		}
	}
}

// follow brings this process to the build that is in force, and what ought to
// take its place into force.
func (k *keeper) follow(ctx context.Context) error {
	active, err := k.store.ActiveBuild(ctx)
	if err != nil && !errs.Is(err, errs.NotFound) {
		return err
	}
	k.metrics.setActive(active)
	k.watchAge(ctx, active)
	if !k.judge {
		k.opened()
		return nil
	}
	defer k.tellOpen()
	following := k.join(ctx, active)
	k.tellOpen() // scans go on while another build is judged
	next, ok, err := k.next(ctx, active)
	switch {
	case err != nil:
		return err
	case ok:
		return k.adopt(ctx, next)
	case following != nil:
		return following
	}
	return k.chores(ctx, active)
}

// tellOpen tells once that the engine has a build.
func (k *keeper) tellOpen() {
	if _, ok := k.engine.Current(); ok {
		k.opened()
	}
}

// join opens the active build here, wherever it is to be had.
func (k *keeper) join(ctx context.Context, active vuln.Build) error {
	present, _ := k.engine.Current()
	if active.Checksum == "" || present.Same(active) {
		return nil
	}
	in, err := k.obtain(ctx, active.Checksum)
	if err != nil {
		return err
	}
	ours := match.BuildOf(in)
	switch order := compareJudges(ours, active); {
	case order == 0:
		return k.engine.Use(ctx, in)
	case order < 0:
		return errs.New(errs.Conflict, "app: engine %s with matchers %s is in force, this process has %s with %s",
			active.EngineVersion, active.Config, ours.EngineVersion, ours.Config).
			WithHint("upgrade this process: it neither judges nor scans until then")
	}
	// The same database under a newer engine or another configuration is
	// another build: everything is judged anew.
	return k.adopt(ctx, in)
}

// next finds the build that ought to take the place of the active one: in the
// library, or where another replica left it in Postgres. One that a person said
// no to, or has yet to say yes to, is none.
func (k *keeper) next(ctx context.Context, active vuln.Build) (vulndb.Installed, bool, error) {
	best := vulndb.Installed{Checksum: active.Checksum, Built: active.Built, Sample: active.Sample}
	consider := func(in vulndb.Installed) error {
		if best.Checksum != "" && !vulndb.Supersedes(in, best) {
			return nil
		}
		barred, err := k.store.BuildBarred(ctx, in.Checksum)
		if err == nil && !barred {
			best = in
		}
		return err
	}
	current, err := k.library.Current()
	if err == nil {
		err = consider(current)
	}
	if err != nil && !errs.Is(err, errs.NotFound) {
		return best, false, err
	}
	archives, found := k.store.Archives(ctx)
	if found != nil {
		return best, false, found
	}
	for _, a := range archives {
		if err := consider(parcel(a).Installed); err != nil {
			return best, false, err
		}
	}
	switch {
	case best.Checksum == "":
		return best, false, err // there is none at all
	case best.Checksum == active.Checksum:
		return best, false, nil
	}
	best, err = k.obtain(ctx, best.Checksum)
	return best, err == nil, err
}

// adopt judges with a newer build and switches to it. One process does it at a
// time; the others find it done.
func (k *keeper) adopt(ctx context.Context, in vulndb.Installed) error {
	if k.failed.lately(in) {
		return nil
	}
	k.publish(ctx, in)
	return k.store.Exclusively(ctx, "adopt", func(ctx context.Context) error {
		active, err := k.store.ActiveBuild(ctx)
		if err != nil && !errs.Is(err, errs.NotFound) {
			return err
		}
		ours := match.BuildOf(in)
		if ours.Same(active) {
			return nil // another process was faster; the next look joins it
		}
		if active.Checksum != "" && compareJudges(ours, active) < 0 {
			return nil // it is published: processes of the newer version judge with it
		}
		err = k.rejudge(ctx, in, active)
		k.failed.note(in, err)
		return err
	})
}

// rejudge judges what changed between two builds and switches.
func (k *keeper) rejudge(ctx context.Context, in vulndb.Installed, active vuln.Build) (err error) {
	ctx, span := telemetry.StartTrace(ctx, "database build", slog.String("checksum", in.Checksum), slog.String("built", in.Built.UTC().Format(time.RFC3339)))
	defer func() { span.End(err) }()
	session, err := k.engine.OpenCandidate(ctx, in)
	if err != nil {
		return err
	}
	defer func() { _ = session.Close() }()
	start := time.Now()
	comparing, compared := telemetry.StartSpan(ctx, "compare databases")
	change := k.change(comparing, in, active)
	compared.End(nil)
	rejudger := scan.Rejudger{
		Store: k.store, Change: &change, Check: k.breaker(active),
		Distribute: func(ctx context.Context, shards []scan.Shard) error {
			return k.distribute(ctx, session.Build(), shards)
		},
		Activated: func(ctx context.Context) error { return k.engine.Use(ctx, in) },
	}
	done, err := rejudger.Rejudge(ctx, polite{session, k.manners})
	switch {
	case err != nil:
		return errs.Op("app: adopt database build", err)
	case done.Held != "":
		k.tellHeld(ctx, in, done.Held)
		return nil
	}
	k.metrics.setActive(session.Build())
	k.logger.InfoContext(ctx, "vulnerability database in force", "checksum", in.Checksum, "built", in.Built,
		"sample", in.Sample, "packages", done.Packages, "names", len(change.Names), "everything", change.Everything,
		"repositories", done.Repositories, "seconds", time.Since(start).Seconds())
	return nil
}

// change says what differs between the active build and the one to come.
func (k *keeper) change(ctx context.Context, in vulndb.Installed, active vuln.Build) scan.Change {
	if active.Checksum == "" {
		return scan.Change{Everything: "no build was in force before"}
	}
	before, err := k.obtain(ctx, active.Checksum)
	if err != nil {
		return scan.Change{Everything: "the database in force is not to be had here: " + err.Error()}
	}
	change, err := k.engine.Compare(ctx, before, in)
	if err != nil {
		return scan.Change{Everything: "the two databases cannot be compared: " + err.Error()}
	}
	if why := match.CompareBuilds(active, match.BuildOf(in)); why != "" {
		change.Everything = why
	}
	return change
}

// failure is the last build that could not be adopted. It is tried again after a
// while: what failed may have been on this side.
type failure struct {
	checksum string
	at       time.Time
}

func (f *failure) note(in vulndb.Installed, err error) {
	*f = failure{}
	if err != nil {
		*f = failure{in.Checksum, time.Now()}
	}
}

// lately reports whether that build failed within the last minute.
func (f *failure) lately(in vulndb.Installed) bool {
	return f.checksum == in.Checksum && time.Since(f.at) < choresEvery
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
