package reconcile

import (
	"context"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// unresolved asks for the targets that somebody told of and no scan found out
// about: what is there by now is scanned, and what came and went unseen is gone.
// When a registry that does not say what it hides is not to be believed, the
// failure stands: it may be the account that cannot see it.
func (w *walk) unresolved(ctx context.Context, p place, believed bool) error {
	const some = 200
	for after := int64(0); ; {
		found, err := w.Store.Unresolved(ctx, w.run, p.ID, after, some)
		if err != nil || len(found) == 0 {
			return err
		}
		asked := make([]question, len(found))
		for i, u := range found {
			asked[i] = w.question(p, u.Tag, u.Known)
			if u.Tag == "" {
				asked[i].ref.Digest = u.Scan.Digest
			}
			after = u.ID
		}
		if err := w.heads(ctx, asked); err != nil {
			return err
		}
		if err := w.settle(ctx, p, asked, believed); err != nil {
			return err
		}
	}
}

// settle queues scans for unresolved targets that were asked for. Those that are
// left as they are were counted with their tags.
func (w *walk) settle(ctx context.Context, p place, asked []question, believed bool) error {
	var targets []Target
	for _, q := range asked {
		target := Target{Tag: q.ref.Tag, Digest: q.ref.Digest, Cause: scan.CauseReconcile}
		switch why := w.comparison(q).why(); {
		case q.err == nil && why == Same:
			continue
		case q.err == nil:
			target.Digest, target.Why = q.answer.Digest, why
		case !errs.Is(q.err, errs.NotFound):
			if err := w.problem(ctx, p.name, q.ref.Tag, q.err); err != nil {
				return err
			}
			continue
		case !believed:
			continue
		default:
			target.Cause, target.Why = scan.CauseDelete, Missing
		}
		w.count(target.Why)
		targets = append(targets, target)
	}
	return w.queue(ctx, p, targets)
}
