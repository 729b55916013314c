package reconcile

import (
	"context"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// place is a repository with its name.
type place struct {
	Repository
	name string
}

// tags compares the tags of a repository, page by page. A repository that is not
// there lists none: what is known of it is unseen then.
func (w *walk) tags(ctx context.Context, p place) (there bool, err error) {
	at := &w.run.Position
	if at.Repository != p.name {
		at.Repository, at.Tags = p.name, ""
	}
	for {
		var tags []string
		var next string
		err := w.ask(ctx, func() (err error) {
			tags, next, err = w.Registry.Tags(w.skipped.into(ctx), w.run.Registry, p.name, at.Tags)
			return err
		})
		switch {
		case errs.Is(err, errs.NotFound) && (p.ID != 0 || w.run.Repository == ""):
			return false, nil
		case errs.Is(err, errs.Invalid) && at.Tags != "" && !w.anew:
			at.Tags, w.anew = "", true // the list is another than when the run was cut off
			continue
		case err != nil:
			return false, err
		case next != "" && next == at.Tags:
			return false, refusal{errs.New(errs.Malformed, "the list of tags leads back to the same page")}
		}
		if err := w.tellSkipped(ctx, p.name); err != nil {
			return false, err
		}
		if err := w.compareTags(ctx, p, tags); err != nil || next == "" {
			return err == nil, err
		}
		at.Tags = next
		if err := w.save(ctx); err != nil {
			return false, err
		}
	}
}

// question is a tag, or a manifest without one, to be asked for.
type question struct {
	ref    image.Reference
	known  Known
	rules  scan.Verdict
	answer Head
	err    error
}

func (w *walk) question(p place, tag string, known Known) question {
	return question{
		ref:   image.Reference{Registry: w.run.Host, Repository: p.name, Tag: tag},
		known: known, rules: w.rules.Tag(p.name, tag),
	}
}

func (w *walk) comparison(q question) comparison {
	return comparison{known: q.known, head: q.answer, rules: q.rules, changed: w.changed, now: time.Now()}
}

// compareTags asks where tags point and queues a scan for each difference. A tag
// whose name alone leaves it out is not asked for.
func (w *walk) compareTags(ctx context.Context, p place, page []string) error {
	tags, err := w.valid(ctx, p, page)
	if err != nil {
		return err
	}
	var known map[string]Known
	if p.ID != 0 {
		if known, err = w.Store.KnownTags(ctx, p.ID, tags); err != nil {
			return err
		}
	}
	var open []question
	for _, tag := range tags {
		if q := w.question(p, tag, known[tag]); !w.comparison(q).settled() {
			open = append(open, q)
		}
	}
	if err := w.heads(ctx, open); err != nil {
		return err
	}
	w.run.Counts.Tags += int64(len(tags))
	w.run.Counts.Excluded += int64(len(tags) - len(open))
	return w.conclude(ctx, p, tags, open)
}

// valid returns the tags of a page, each once. What cannot be a tag is a problem.
func (w *walk) valid(ctx context.Context, p place, page []string) ([]string, error) {
	seen := make(map[string]bool, len(page))
	var tags []string
	for _, tag := range page {
		switch {
		case seen[tag]:
			continue
		case !image.IsTag(tag):
			if err := w.problem(ctx, p.name, "", errs.New(errs.Malformed, "the list holds %.200q, which is not a tag", tag)); err != nil {
				return nil, err
			}
		default:
			tags = append(tags, tag)
		}
		seen[tag] = true
	}
	return tags, nil
}

// heads asks all questions, several at a time. Errors about one manifest stay
// with its question; when the registry refuses one after the other, that is the
// error.
func (w *walk) heads(ctx context.Context, questions []question) error {
	const inRow = 16
	var refused atomic.Int32
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(w.Parallel)
	for i := range questions {
		q := &questions[i]
		group.Go(func() error {
			if within.Err() != nil {
				return within.Err()
			}
			err := w.ask(within, func() (err error) {
				q.answer, err = w.Registry.Head(within, q.ref)
				return err
			})
			switch {
			case err == nil, errs.Is(err, errs.NotFound):
				refused.Store(0)
			case !isRefusal(err), refused.Add(1) >= inRow:
				return err
			}
			q.err = err
			return nil
		})
	}
	return group.Wait()
}

// conclude notes what was seen and queues scans for what differs. listed are the
// tags that are there, asked for or not.
func (w *walk) conclude(ctx context.Context, p place, listed []string, asked []question) error {
	var present []image.Digest
	var targets []Target
	again := map[image.Digest]bool{}
	for _, q := range asked {
		why, err := w.why(q)
		if err != nil {
			if err := w.problem(ctx, p.name, q.ref.Tag, err); err != nil {
				return err
			}
			continue
		}
		if known := why == Same || why == LeftOut; !known || q.ref.Tag != "" {
			w.count(why)
		}
		switch why {
		case Same, LeftOut:
			present = append(present, q.answer.Digest)
		case Missing:
			targets = append(targets, Target{Tag: q.ref.Tag, Digest: q.known.Digest, Cause: scan.CauseDelete, Why: why})
		default:
			if why == Again && again[q.answer.Digest] {
				continue // one scan of the manifest is enough
			}
			again[q.answer.Digest] = true
			targets = append(targets, Target{Tag: q.ref.Tag, Digest: q.answer.Digest, Cause: scan.CauseReconcile, Why: why})
		}
	}
	if p.ID != 0 {
		if err := w.Store.Seen(ctx, w.run, p.ID, listed, present); err != nil {
			return err
		}
	}
	return w.queue(ctx, p, targets)
}

// why tells what an answer comes to. Something that is listed, not known and not
// there is a problem.
func (w *walk) why(q question) (Why, error) {
	switch {
	case q.err == nil:
		return w.comparison(q).why(), nil
	case !errs.Is(q.err, errs.NotFound):
		return "", q.err
	case q.known.Scan.State == scan.StateQueued, q.known.Scan.State == scan.StateRunning:
		return Same, nil
	case q.known.Digest == "":
		return "", errs.New(errs.NotFound, "the tag is listed, but what it points to is not there")
	}
	return Missing, nil
}

func (w *walk) count(why Why) {
	c := &w.run.Counts
	*map[Why]*int64{
		Same: &c.Same, LeftOut: &c.Excluded, New: &c.New, Moved: &c.Moved, Missing: &c.Gone, Again: &c.Retried, Ruled: &c.Retried,
	}[why]++
}

// unseen looks after the tags that are known and were not listed: a scan asks
// the registry for each.
func (w *walk) unseen(ctx context.Context, p place) error {
	unseen, err := w.Store.UnseenTags(ctx, w.run, p.ID)
	if err != nil {
		return err
	}
	var targets []Target
	for _, tag := range slices.Sorted(maps.Keys(unseen)) {
		w.count(Missing)
		targets = append(targets, Target{Tag: tag, Digest: unseen[tag].Digest, Cause: scan.CauseDelete, Why: Missing})
	}
	return w.queue(ctx, p, targets)
}

// untagged asks for the manifests that no tag and no index leads to.
func (w *walk) untagged(ctx context.Context, p place) error {
	const some = 200
	for after := int64(0); ; {
		found, err := w.Store.Untagged(ctx, w.run, p.ID, after, some)
		if err != nil || len(found) == 0 {
			return err
		}
		asked := make([]question, len(found))
		for i, m := range found {
			asked[i] = w.question(p, "", m.Known)
			asked[i].ref.Digest = m.Digest
			after = m.ID
		}
		if err := w.heads(ctx, asked); err != nil {
			return err
		}
		if err := w.conclude(ctx, p, nil, asked); err != nil {
			return err
		}
	}
}

// queue queues scans while there is room, a few at a time: what is pushed now
// has to get through, and never waits for a long transaction.
func (w *walk) queue(ctx context.Context, p place, targets []Target) error {
	const few = 100
	for len(targets) > 0 {
		room, err := w.room(ctx)
		if err != nil {
			return err
		}
		batch := targets[:min(room, few, len(targets))]
		targets = targets[len(batch):]
		queued, err := w.Store.QueueTargets(ctx, w.run, p.name, batch)
		if err != nil {
			return err
		}
		w.run.Counts.Queued += int64(len(queued))
		for _, t := range queued {
			w.queued[t.Why]++
		}
	}
	return nil
}

// room waits until fewer scans wait than may, and returns how many more may.
func (w *walk) room(ctx context.Context) (int, error) {
	for {
		waiting, err := w.Store.Waiting(ctx, w.run)
		if err != nil || waiting < w.MaxQueued {
			return w.MaxQueued - waiting, err
		}
		if err := w.wait(ctx, w.Look, "scans that were queued before are worked off"); err != nil {
			return 0, err
		}
	}
}
