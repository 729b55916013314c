package app

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/mod/semver"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/match"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// keeper keeps this process's engine on the active database build, and brings
// newer builds of the library into force.
type keeper struct {
	library *vulndb.Library
	engine  *match.Engine
	store   *postgres.Store
	logger  *slog.Logger
	metrics *metrics
	// update is how often to look for a newer database; zero for never.
	update time.Duration
	// judge is false in processes without workers: they follow the active
	// build and leave judging to the others.
	judge bool
	// settled is when this process last looked for switches that were cut off.
	settled time.Time
}

// run looks after the builds until ctx ends. ready is closed when the engine
// has a build.
func (k *keeper) run(ctx context.Context, ready chan<- struct{}) {
	const look = 5 * time.Second
	missing := make(chan struct{}, 1)
	var fetching sync.WaitGroup
	fetching.Go(func() { k.fetchOnSchedule(ctx, missing) })
	defer fetching.Wait()
	opened, told := false, false
	for ; ctx.Err() == nil; wait(ctx, look) {
		switch err := k.follow(ctx); {
		case errs.Is(err, errs.NotFound):
			if !told {
				told = true
				k.logger.WarnContext(ctx, "scans wait for a vulnerability database", "error", err, "hint", errs.Hint(err))
			}
			select { // the build in force, or any at all, is not in the library
			case missing <- struct{}{}:
			default:
			}
		case err != nil && ctx.Err() == nil:
			k.logger.WarnContext(ctx, "vulnerability database not followed", "error", err)
		}
		if _, ok := k.engine.Current(); ok && !opened {
			opened = true
			close(ready)
		}
	}
}

// fetchOnSchedule looks for a newer database at once and then on schedule, and
// at most once a minute when one is missing here. It also does the daily chores.
func (k *keeper) fetchOnSchedule(ctx context.Context, missing <-chan struct{}) {
	const day, atMost = 24 * time.Hour, time.Minute
	schedule := newTicker(k.update)
	defer schedule.Stop()
	daily := time.NewTicker(day)
	defer daily.Stop()
	var last time.Time
	for {
		if k.update > 0 && time.Since(last) >= atMost {
			last = time.Now()
			k.fetch(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-schedule.C:
		case <-missing:
		case <-daily.C:
			if err := k.store.AddEventPartitions(ctx, time.Now()); err != nil {
				k.logger.WarnContext(ctx, "event partitions not added", "error", err)
			}
		}
	}
}

// newTicker ticks every d, never for zero.
func newTicker(d time.Duration) *time.Ticker {
	const never = 1 << 62
	if d <= 0 {
		d = never
	}
	return time.NewTicker(d)
}

// follow brings the newest build of the library into force, or this process to
// the build that is in force.
func (k *keeper) follow(ctx context.Context) error {
	active, err := k.store.ActiveBuild(ctx)
	if err != nil && !errs.Is(err, errs.NotFound) {
		return err
	}
	k.metrics.setActive(active)
	newest, err := k.library.Current()
	if err != nil {
		return err
	}
	present, open := k.engine.Current()
	switch {
	case open && present.Same(active) && newest.Checksum == active.Checksum:
		return k.settle(ctx, newest)
	case !k.judge || !replaces(newest, active):
		return k.join(ctx, active, present)
	}
	return k.adopt(ctx, newest)
}

// replaces reports whether a database of the library is to take the place of the
// active build: the first one does, a real one does for a sample and never the
// reverse, else the newer one. An older one never does, or two replicas would
// take turns.
func replaces(newest vulndb.Installed, active vuln.Build) bool {
	switch {
	case active.Checksum == "":
		return true
	case active.Sample != newest.Sample:
		return active.Sample
	}
	return newest.Built.After(active.Built)
}

// settle finishes what a switch left undone when it was cut off.
func (k *keeper) settle(ctx context.Context, in vulndb.Installed) error {
	const every = time.Minute
	if !k.judge || time.Since(k.settled) < every {
		return nil
	}
	k.settled = time.Now()
	open, err := k.store.Unsettled(ctx)
	if err != nil || !open {
		return err
	}
	return k.adopt(ctx, in) // which finds it active and settles
}

// join opens the active build here when it is in the library.
func (k *keeper) join(ctx context.Context, active, present vuln.Build) error {
	if active.Checksum == "" || present.Same(active) || (!k.judge && present.Checksum == active.Checksum) {
		return nil
	}
	in, err := k.library.Get(active.Checksum)
	if err != nil {
		return err
	}
	session, err := k.engine.OpenCandidate(ctx, in)
	if err != nil {
		return err
	}
	defer func() { _ = session.Close() }()
	switch ours := session.Build(); {
	case ours.Same(active), !k.judge:
		return k.engine.Use(ctx, in)
	case semver.Compare(ours.EngineVersion, active.EngineVersion) < 0:
		return errs.New(errs.Conflict, "app: engine %s is in force, this process has %s", active.EngineVersion, ours.EngineVersion).
			WithHint("upgrade this process: it neither judges nor scans until then")
	}
	// The same database under a newer engine or another configuration is
	// another build: everything is judged anew.
	return k.adopt(ctx, in)
}

// adopt judges everything with a newer build and switches to it. One process
// does it at a time; the others find it done.
func (k *keeper) adopt(ctx context.Context, in vulndb.Installed) error {
	return k.store.Exclusively(ctx, "adopt", func(ctx context.Context) error {
		session, err := k.engine.OpenCandidate(ctx, in)
		if err != nil {
			return err
		}
		defer func() { _ = session.Close() }()
		start := time.Now()
		rejudger := scan.Rejudger{Store: k.store, Activated: func(ctx context.Context) error { return k.engine.Use(ctx, in) }}
		done, err := rejudger.Rejudge(ctx, session)
		if err != nil {
			return errs.Op("app: adopt database build", err)
		}
		k.metrics.setActive(session.Build())
		k.logger.InfoContext(ctx, "vulnerability database in force", "checksum", in.Checksum, "built", in.Built,
			"sample", in.Sample, "packages", done.Packages, "repositories", done.Repositories, "seconds", time.Since(start).Seconds())
		return nil
	})
}

// fetch looks for a newer database. A failure changes nothing and is told.
func (k *keeper) fetch(ctx context.Context) {
	in, changed, err := k.library.Update(ctx, nil)
	switch {
	case err != nil && ctx.Err() == nil:
		k.metrics.updateFailed(err)
		k.logger.WarnContext(ctx, "vulnerability database not updated", "error", err, "hint", errs.Hint(err))
	case changed:
		k.logger.InfoContext(ctx, "vulnerability database fetched", "checksum", in.Checksum, "built", in.Built)
	}
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
