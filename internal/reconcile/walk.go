package reconcile

import (
	"cmp"
	"context"
	"slices"
	"sync/atomic"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// walk is one run under way.
type walk struct {
	Reconciler
	run     Run
	rules   scan.Rules
	changed bool // the rules are not those of the run before

	requests atomic.Int64
	limited  atomic.Int64           // since when it answers only that there are too many, in nanoseconds since 1970; 0 when it does not
	waits    atomic.Pointer[string] // what the run waits for
	progress atomic.Pointer[Counts] // as of the last save
	told     Counts                 // what Observe was told
	queued   map[Why]int            // since then

	skipped  skipped
	anew     bool  // a list was begun anew: the registry did not know its own cursor any more
	troubled bool  // the store did not answer
	refused  error // by the last repository that could not be read
	silent   int   // repositories in a row for which the registry did not answer
	pauses   int   // in a row after which it still did not
}

func newWalk(r Reconciler, run Run) *walk {
	w := &walk{Reconciler: r.withDefaults(), run: run, told: run.Counts, queued: map[Why]int{}}
	w.rules = w.Rules[run.Registry]
	w.changed = w.rules.Fingerprint() != run.RulesBefore
	w.Logger = w.Logger.With("reconciliation", run.ID, "registry", run.Registry)
	w.requests.Store(run.Counts.Requests)
	w.waits.Store(new(string))
	w.progress.Store(&Counts{})
	return w
}

// everything is the whole run: one repository, or all that the registry lists and
// then those that are known and not listed.
func (w *walk) everything(ctx context.Context) error {
	if w.run.Repository != "" {
		if err := w.lookAt(ctx, w.run.Repository); err != nil {
			return err
		}
		return w.refused
	}
	if !w.run.Position.Listed {
		if err := w.listed(ctx); err != nil {
			return err
		}
	}
	if err := w.doubtEmptiness(ctx); err != nil {
		return err
	}
	if err := w.unlisted(ctx); err != nil {
		return err
	}
	return w.verdict()
}

// doubtEmptiness ends a run of the schedule that found a registry with nothing in
// it at all, where something is known: its storage may not be there, or it was
// set up anew and is still to be filled. Taking that for deletions would close
// every finding. Who knows better asks for a run.
func (w *walk) doubtEmptiness(ctx context.Context) error {
	c := w.run.Counts
	if w.run.Requested || w.run.Position.Unlisted != "" || c.Tags+c.Excluded+c.Errors > 0 {
		return nil
	}
	known, err := w.Store.Unlisted(ctx, w.run, "", 1)
	if err != nil || len(known) == 0 {
		return err
	}
	return errs.New(errs.NotFound, "reconcile: the registry lists nothing at all, and something is known of it; nothing was taken for gone").
		WithHint("check the registry's storage; if it is empty on purpose, run: tidewaiter reconcile %s", w.run.Registry)
}

// verdict fails a run that did not see what it was to see.
func (w *walk) verdict() error {
	c := w.run.Counts
	switch why := w.run.Position.Unlisted; {
	case why != "":
		return errs.New(errs.Unsupported, "%s", why).
			WithHint("only repositories that were known already were compared; choose another reconcile.lister, or name them under reconcile.repositories")
	case w.refused != nil && c.Errors >= c.Repositories && c.Tags == 0:
		return errs.Op("reconcile: none of the repositories could be read, as", w.refused)
	}
	return nil
}

// listed looks at every repository the registry lists, page by page.
func (w *walk) listed(ctx context.Context) error {
	at := &w.run.Position
	for {
		names, next, err := w.page(ctx, at.Page)
		switch {
		case errs.Is(err, errs.Unsupported):
			*at = Position{Listed: true, Unlisted: err.Error()}
			return w.save(ctx)
		case errs.Is(err, errs.Invalid) && at.Page != "" && !w.anew:
			*at, w.anew = Position{}, true // the list is another than when the run was cut off
			continue
		case err != nil:
			return err
		}
		if err := w.each(ctx, behind(names, at.After)); err != nil {
			return err
		}
		*at = Position{Page: next, Listed: next == ""}
		if err := w.save(ctx); err != nil || at.Listed {
			return err
		}
	}
}

// behind returns the names that follow the last one that is done. When that is
// no longer on the page, nobody knows which they are, and all are looked at.
func behind(names []string, done string) []string {
	if i := slices.Index(names, done); i >= 0 {
		return names[i+1:]
	}
	return names
}

// page asks for one page of the registry's list, however long it takes to come
// back.
func (w *walk) page(ctx context.Context, cursor string) (names []string, next string, err error) {
	for {
		err = w.ask(ctx, func() (err error) {
			names, next, err = w.Registry.Repositories(w.skipped.into(ctx), w.run.Registry, cursor)
			return err
		})
		if err == nil && next != "" && next == cursor {
			err = errs.New(errs.Malformed, "reconcile: the list of repositories leads back to the same page")
		}
		if !isSilence(err) {
			w.pauses = 0
			return names, next, cmp.Or(err, w.tellSkipped(ctx, ""))
		}
		if err := w.outlast(ctx, err); err != nil {
			return nil, "", err
		}
	}
}

// unlisted looks at what is known and was not listed: the registry may not list
// everything, and what it had may be gone.
func (w *walk) unlisted(ctx context.Context) error {
	const some = 200
	for {
		names, err := w.Store.Unlisted(ctx, w.run, w.run.Position.After, some)
		if err != nil || len(names) == 0 {
			return err
		}
		if err := w.each(ctx, names); err != nil {
			return err
		}
	}
}

// each looks at repositories and keeps how far it came behind every one.
func (w *walk) each(ctx context.Context, names []string) error {
	at := &w.run.Position
	for _, name := range names {
		if at.Listed && at.Repository != name {
			// Else who goes on takes it for one that was looked at, as it was.
			at.Repository, at.Tags = name, ""
			if err := w.save(ctx); err != nil {
				return err
			}
		}
		if err := w.lookAt(ctx, name); err != nil {
			return err
		}
		at.After, at.Repository, at.Tags = name, "", ""
		if err := w.save(ctx); err != nil {
			return err
		}
	}
	return nil
}

// lookAt compares one repository. What the registry refuses is kept as a problem
// and does not stop the run, unless it seems down altogether.
func (w *walk) lookAt(ctx context.Context, name string) error {
	const few = 5
	for {
		err := w.repository(ctx, name)
		switch {
		case err == nil:
			w.silent, w.pauses = 0, 0
			w.run.Counts.Repositories++
			return nil
		case !isRefusal(err):
			return err
		case !isSilence(err):
			w.silent = 0
		default:
			w.silent++
		}
		if w.silent < few {
			w.refused = err
			w.run.Counts.Repositories++
			return w.problem(ctx, name, "", err)
		}
		if err := w.outlast(ctx, err); err != nil {
			return err
		}
	}
}

// repository compares the tags of one repository, then looks after what is known
// of it and was not listed.
func (w *walk) repository(ctx context.Context, name string) error {
	if !image.IsRepository(name) {
		return refusal{errs.New(errs.Malformed, "the list holds %.200q, which is not a repository", name)}
	}
	rule := w.rules.ExcludesRepository(name)
	known, err := w.Store.LookAt(ctx, w.run, name, rule)
	if err != nil {
		return err
	}
	p := place{Repository: known, name: name}
	if rule != "" {
		return w.leaveOut(ctx, p, rule)
	}
	there, err := w.tags(ctx, p)
	if err != nil || p.ID == 0 {
		return err
	}
	if err := w.unseen(ctx, p); err != nil {
		return err
	}
	if err := w.untagged(ctx, p); err != nil {
		return err
	}
	// Registries say of what an account may not see that it is not there.
	return w.unresolved(ctx, p, there || p.Served)
}

// leaveOut is for a repository that a rule leaves out as a whole. It is not
// listed; what was looked at before the rule is looked at once more, and
// recorded as left out.
func (w *walk) leaveOut(ctx context.Context, p place, rule string) error {
	w.run.Counts.Excluded++
	if p.Excluded == rule && !w.changed {
		return nil
	}
	targets, err := w.Store.Standing(ctx, p.ID, rule)
	if err != nil {
		return err
	}
	return w.queue(ctx, p, targets)
}

// save keeps position and counts, and tells what was added.
func (w *walk) save(ctx context.Context) error {
	w.run.Counts.Requests = w.requests.Load()
	if err := w.Store.SaveReconciliation(ctx, w.run); err != nil {
		return err
	}
	w.observe()
	return nil
}

func (w *walk) observe() {
	counts := w.run.Counts
	w.progress.Store(&counts)
	w.Observe(w.run.Registry, counts.minus(w.told), w.queued)
	w.told, w.queued = counts, map[Why]int{}
}

// problem keeps what could not be looked at.
func (w *walk) problem(ctx context.Context, repository, tag string, err error) error {
	w.run.Counts.Errors++
	return w.Store.SaveProblem(ctx, w.run, Problem{Repository: repository, Tag: tag, Err: err})
}

// tellSkipped keeps what a list left out as problems.
func (w *walk) tellSkipped(ctx context.Context, repository string) error {
	for _, detail := range w.skipped.take() {
		if err := w.problem(ctx, repository, "", errs.New(errs.Malformed, "the list leaves something out: %s", detail)); err != nil {
			return err
		}
	}
	return nil
}
