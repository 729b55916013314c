package scan

import (
	"context"
	"log/slog"
	"slices"
	"sync"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// judgeAll judges what the candidate has to judge and has not.
func (r *Rejudger) judgeAll(ctx context.Context, session Session, build int64, change Change) (judged int, err error) {
	shards, err := r.Store.SelectPackages(ctx, build, change)
	if err != nil {
		return 0, err
	}
	for _, s := range shards {
		judged += s.Packages
	}
	const fewer = 2 // than that are judged before anybody else has taken one
	if r.Distribute != nil && len(shards) > fewer {
		if err := r.Distribute(ctx, shards); err != nil {
			return 0, err
		}
	}
	return judged, each(ctx, r.workers(), shards, func(ctx context.Context, s Shard) error {
		_, err := r.JudgeShard(ctx, session, s)
		return err
	})
}

// JudgeShard judges the packages of a shard that were not judged yet, with a
// session of the shard's build, and returns how many. The error is of kind
// Canceled when that is no longer the candidate. It may run anywhere, and twice.
func (r *Rejudger) JudgeShard(ctx context.Context, session Session, shard Shard) (judged int, err error) {
	const batch = 250
	for after := int64(0); ; {
		packages, err := r.Store.PackagesOf(ctx, shard, after, batch)
		if err != nil || len(packages) == 0 {
			return judged, err
		}
		after = packages[len(packages)-1].ID
		if err := r.judgeBatch(ctx, session, shard.Build, packages); err != nil {
			return judged, err
		}
		judged += len(packages)
	}
}

func (r *Rejudger) judgeBatch(ctx context.Context, session Session, build int64, packages []Stored) error {
	input := make([]inventory.Package, len(packages))
	for i, p := range packages {
		input[i] = p.Package
	}
	judgements, err := session.Judge(ctx, input)
	if errs.Is(err, errs.Malformed) && len(packages) > 1 {
		return r.judgeOneByOne(ctx, session, build, packages)
	}
	if errs.Is(err, errs.Malformed) {
		// One package must not keep every other one on an old database: it keeps
		// what was known of it.
		slog.ErrorContext(ctx, "package cannot be judged; its matches stay as they were", "package", packages[0].Package.PURL,
			"type", packages[0].Package.Type, "name", packages[0].Package.Name, "version", packages[0].Package.Version, "error", err)
		return r.Store.KeepJudgement(ctx, build, packages[0].ID)
	}
	if err != nil {
		return err
	}
	vulnerabilities, err := session.Vulnerabilities(ctx, RefsOf(judgements))
	if err != nil {
		return err
	}
	return r.Store.SaveCandidate(ctx, build, packages, judgements, vulnerabilities)
}

func (r *Rejudger) judgeOneByOne(ctx context.Context, session Session, build int64, packages []Stored) error {
	for i := range packages {
		if err := r.judgeBatch(ctx, session, build, packages[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}

// describe brings what is told of records to what the candidate says.
func (r *Rejudger) describe(ctx context.Context, session Session, build int64, change Change) error {
	const batch = 1000
	refs, err := r.Store.RecordsToDescribe(ctx, build, change.Records)
	if err != nil {
		return err
	}
	return each(ctx, r.workers(), slices.Collect(slices.Chunk(refs, batch)), func(ctx context.Context, part []vuln.Ref) error {
		records, err := session.Vulnerabilities(ctx, part)
		if err != nil {
			return err
		}
		return r.Store.SaveRecords(ctx, build, records)
	})
}

func (r *Rejudger) workers() int {
	const some = 2
	if r.Parallel > 0 {
		return r.Parallel
	}
	return some
}

// each works on items, some at a time, until one fails.
func each[T any](ctx context.Context, workers int, items []T, work func(context.Context, T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	queue := make(chan T, len(items))
	for _, item := range items {
		queue <- item
	}
	close(queue)
	var all sync.WaitGroup
	for range min(workers, len(items)) {
		all.Go(func() {
			for item := range queue {
				if ctx.Err() != nil {
					return
				}
				if err := work(ctx, item); err != nil {
					cancel(err)
				}
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// RefsOf lists the records that judgements name, each once.
func RefsOf(judgements []inventory.Judgement) []vuln.Ref {
	var refs []vuln.Ref
	seen := map[vuln.Ref]bool{}
	for _, j := range judgements {
		for _, m := range j.Matches {
			if !seen[m.Ref] {
				seen[m.Ref] = true
				refs = append(refs, m.Ref)
			}
		}
	}
	return refs
}
