package app

import (
	"context"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// chores finishes what was cut off, hands the active build on and removes what
// nobody needs any more. The active build is open here.
func (k *keeper) chores(ctx context.Context, active vuln.Build) error {
	if time.Since(k.tidied) < choresEvery || active.Checksum == "" {
		return nil
	}
	k.tidied = time.Now()
	in, err := k.library.Get(active.Checksum)
	if err != nil {
		return err
	}
	if err := k.settle(ctx, in); err != nil {
		return err
	}
	k.publish(ctx, in)
	if _, err := k.store.DropArchives(ctx); err != nil {
		return err
	}
	return k.prune(ctx)
}

// settle finishes what a switch left undone when it was cut off.
func (k *keeper) settle(ctx context.Context, in vulndb.Installed) error {
	open, err := k.store.Unsettled(ctx)
	if err != nil || !open {
		return err
	}
	return k.store.Exclusively(ctx, "adopt", func(ctx context.Context) error {
		return k.rejudge(ctx, in, vuln.Build{}) // which finds it active and settles
	})
}

// prune removes old builds from the library, but none that is in force or may
// come into force.
func (k *keeper) prune(ctx context.Context) error {
	needed, err := k.store.NeededBuilds(ctx)
	if err != nil {
		return err
	}
	gone, err := k.library.Prune(ctx, k.keep, needed...)
	for _, in := range gone {
		k.logger.InfoContext(ctx, "old vulnerability database removed", "checksum", in.Checksum, "built", in.Built)
	}
	return err
}

// watchAge tells once when the active build becomes too old. A sample has an alarm
// of its own.
func (k *keeper) watchAge(ctx context.Context, active vuln.Build) {
	age := time.Since(active.Built)
	old := k.alarm > 0 && active.Checksum != "" && !active.Sample && age > k.alarm
	k.metrics.setOld(old)
	if old && !k.old {
		k.logger.ErrorContext(ctx, "the vulnerability database in force is old: answers stay, but new vulnerabilities are missed",
			"checksum", active.Checksum, "built", active.Built, "age_hours", int(age.Hours()), "hint", "see GET /api/v1/vulndb for the last look for a newer one")
	}
	k.old = old
}
