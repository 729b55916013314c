package app

import (
	"context"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// The outcomes of a look for a newer database.
const (
	checkUnchanged = "unchanged"
	checkFetched   = "fetched"
	checkFailed    = "failed"
)

// check looks for a newer database on schedule, and within a second when somebody
// asks for it. One process does it for all; the last look is in Postgres, so that
// they share the schedule too.
func (k *keeper) check(ctx context.Context) {
	const every = time.Second
	for ; ctx.Err() == nil; wait(ctx, every) {
		due, err := k.store.BuildCheckDue(ctx, k.every())
		if err == nil && due {
			err = k.store.Exclusively(ctx, "check", k.checkNow)
		}
		if err != nil && ctx.Err() == nil {
			k.logger.WarnContext(ctx, "newer vulnerability database not looked for", "error", err)
			wait(ctx, lookEvery)
		}
	}
}

// every is the time between looks on schedule: shorter while there is no database
// to judge with.
func (k *keeper) every() time.Duration {
	if _, open := k.engine.Current(); !open {
		return min(k.update, choresEvery)
	}
	return k.update
}

// checkNow does the look that is due. A failure changes nothing and is told.
func (k *keeper) checkNow(ctx context.Context) error {
	due, err := k.store.BeginBuildCheck(ctx, k.every())
	if err != nil || !due {
		return err
	}
	in, changed, err := k.library.Update(ctx, nil)
	outcome, detail := checkUnchanged, ""
	switch {
	case ctx.Err() != nil:
		return errs.Op("app: look for a newer database", ctx.Err()) // cut off: the next process goes on
	case err != nil:
		outcome, detail = checkFailed, err.Error()
		k.metrics.updateFailed(err)
		k.logger.WarnContext(ctx, "vulnerability database not updated", "error", err, "hint", errs.Hint(err))
	case changed:
		outcome, detail = checkFetched, in.Checksum
		k.logger.InfoContext(ctx, "vulnerability database fetched", "checksum", in.Checksum, "built", in.Built)
		k.publish(ctx, in)
		k.look()
	}
	return k.store.EndBuildCheck(ctx, outcome, detail)
}
