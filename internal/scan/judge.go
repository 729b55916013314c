package scan

import (
	"context"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
)

// knownInventory is that of an image that was catalogued before.
func (r *run) knownInventory(ctx context.Context, m Manifest) (*inventory.Inventory, error) {
	inv, err := r.Store.Inventory(ctx, m.Digest)
	if err == nil {
		r.tracker.Packages(len(inv.Packages))
	}
	return inv, err
}

// judgeAndSave judges what nobody judged yet and stores the answer. When the
// active build changes in between, it judges again with the new one.
func (r *run) judgeAndSave(ctx context.Context, m Manifest, a Answer) error {
	const tries, pause = 6, 2 * time.Second
	for try := 1; ; try++ {
		if err := r.judge(ctx, m, &a); err != nil {
			return errs.Op("scan: match "+string(m.Digest), err)
		}
		err := r.phase(ctx, PhaseStore, m.Platform.String(), func(ctx context.Context) (int64, error) {
			return 0, r.Store.SaveAnswer(ctx, r.job, a)
		})
		if !errs.Is(err, errs.Conflict) || try == tries {
			return errs.Op("scan: store "+string(m.Digest), err)
		}
		// This process learns of the switch within seconds; pulling again would
		// cost more than waiting.
		select {
		case <-ctx.Done():
			return errs.Op("scan: store "+string(m.Digest), ctx.Err())
		case <-time.After(pause):
		}
	}
}

func (r *run) judge(ctx context.Context, m Manifest, a *Answer) error {
	session, err := r.Matcher.Open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = session.Close() }()
	a.Build = session.Build()
	todo, err := r.unjudged(ctx, *a)
	if err != nil {
		return err
	}
	return r.phase(ctx, PhaseMatch, m.Platform.String(), func(ctx context.Context) (int64, error) {
		return int64(len(todo)), JudgeInto(ctx, session, a, todo)
	})
}

// unjudged returns the indexes of packages that are to be judged and were not by
// this build.
func (r *run) unjudged(ctx context.Context, a Answer) ([]int, error) {
	matchable := a.Inventory.Matchable()
	fingerprints := make([]inventory.Fingerprint, len(matchable))
	for i, n := range matchable {
		fingerprints[i] = a.Inventory.Fingerprints[n]
	}
	missing, err := r.Store.Unjudged(ctx, a.Build, fingerprints)
	for i, n := range missing {
		missing[i] = matchable[n]
	}
	return missing, err
}

// JudgeInto judges the packages at the given indexes of a.Inventory and fills in
// everything of a that a session says.
func JudgeInto(ctx context.Context, session Session, a *Answer, todo []int) error {
	packages := make([]inventory.Package, len(todo))
	for i, n := range todo {
		packages[i] = a.Inventory.Packages[n]
	}
	judgements, err := session.Judge(ctx, packages)
	if err != nil {
		return err
	}
	a.Judged = make(map[int]inventory.Judgement, len(todo))
	for i, j := range judgements {
		a.Judged[todo[i]] = j
	}
	if a.Vulnerabilities, err = session.Vulnerabilities(ctx, RefsOf(judgements)); err != nil {
		return err
	}
	a.NoData, a.EndOfLife, err = session.Coverage(ctx, a.Inventory)
	return err
}
