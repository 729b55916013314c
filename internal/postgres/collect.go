package postgres

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// Retention says for how long what is over is kept; zero keeps it for ever.
// What is still referred to is kept in any case (docs/retention.md).
type Retention struct {
	// Untagged is for manifests that a repository has and nothing leads to.
	Untagged time.Duration `json:"untagged"`
	// Gone is for manifests that a repository no longer has.
	Gone time.Duration `json:"gone"`
	// Documents is for the SBOMs of images that nothing leads to.
	Documents time.Duration `json:"sboms"`
	// History is how far back reads of the past reach: the history of tags with
	// what they pointed to, closed matches and ratings, closed findings.
	History time.Duration `json:"history"`
	// Events is for finding events, a month at a time.
	Events time.Duration `json:"events"`
	// Deliveries is for webhook events and rejected requests.
	Deliveries time.Duration `json:"deliveries"`
	// Scans is for scans that ended.
	Scans time.Duration `json:"scans"`
	// Reconciliations is for comparisons of registries that ended.
	Reconciliations time.Duration `json:"reconciliations"`
	// Audit is for the audit log.
	Audit time.Duration `json:"audit"`
}

// Figure counts what went of a table.
type Figure struct {
	Rows int64 `json:"rows"`
	// Bytes is what the rows took, as they are stored, without indexes.
	Bytes int64 `json:"bytes"`
}

// Figures are those of several tables, by their names.
type Figures map[string]Figure

// Add adds the figures of others.
func (f Figures) Add(others Figures) {
	for table, o := range others {
		f[table] = Figure{f[table].Rows + o.Rows, f[table].Bytes + o.Bytes}
	}
}

// Sum adds all tables up.
func (f Figures) Sum() (sum Figure) {
	for _, o := range f {
		sum = Figure{sum.Rows + o.Rows, sum.Bytes + o.Bytes}
	}
	return sum
}

// CollectOptions tune Collect; the zero value is good.
type CollectOptions struct {
	// Every makes Collect do nothing when the last pass began less than this ago;
	// zero for a pass in any case.
	Every time.Duration
	// DryRun finds out what would go and changes nothing.
	DryRun bool
	// Observe is told what each committed batch took; nil for nobody.
	Observe func(Figures)
	// Logger is told what a pass had to leave for the next; nil for nobody.
	Logger *slog.Logger
}

// Collected is what became of a pass.
type Collected struct {
	// Due is false when it was not time for one: nothing was done.
	Due bool
	// Resumed is true for a pass that another process left; Figures are then of
	// both.
	Resumed bool
	// Skipped are the tables that were left for the next pass, because others
	// were at them all the time.
	Skipped []string
	Figures Figures
}

// Collect deletes what its time is over of, in batches: each is a short
// transaction that takes only rows nobody else holds, and that looks again,
// once it holds them, whether they may go. A pass that is cut off is gone on
// with by the next call, in whichever process. One process collects at a time:
// the error is of kind Conflict while another one does.
func (s *Store) Collect(ctx context.Context, r Retention, o CollectOptions) (Collected, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	c := &collector{store: s, retention: r, CollectOptions: o, done: Collected{Figures: Figures{}}}
	if o.DryRun {
		return c.done, c.rehearse(ctx)
	}
	ran := false
	err := s.Exclusively(ctx, "collect", func(ctx context.Context) error {
		ran = true
		return c.collect(ctx)
	})
	if err == nil && !ran {
		err = errs.New(errs.Conflict, "postgres: another process is collecting")
	}
	return c.done, err
}

// collector is one call of Collect.
type collector struct {
	CollectOptions
	store     *Store
	retention Retention
	pass      pass
	done      Collected
}

// collect goes through the stages, from where the pass is.
func (c *collector) collect(ctx context.Context) error {
	var err error
	if c.pass, c.done.Resumed, c.done.Due, err = c.store.beginPass(ctx, c.retention, c.Every); err != nil || !c.done.Due {
		return err
	}
	c.done.Figures = c.pass.figures
	all := stages(false)
	for n := c.pass.index(all); n < len(all); n++ {
		if !all[n].applies(c.retention) {
			continue
		}
		if c.pass.stage != all[n].name {
			c.pass.stage, c.pass.position = all[n].name, position{}
		}
		if err := c.walk(ctx, all[n]); err != nil {
			return err
		}
	}
	return c.store.endPass(ctx, c.pass)
}

// walk takes a stage to its end, batch by batch, with pauses as long as the work:
// others come first. What others are at is tried again, in smaller batches.
func (c *collector) walk(ctx context.Context, s stage) error {
	const patience, shortest, longest = 8, 2 * time.Millisecond, time.Second
	for failed := 0; ; {
		var pause time.Duration
		start := time.Now()
		ended, err := c.step(ctx, s)
		switch {
		case err == nil && ended:
			return nil
		case err == nil:
			failed, pause = 0, min(max(time.Since(start), shortest), longest)
		case ctx.Err() != nil || !errs.Is(err, errs.Conflict) && !errs.Is(err, errs.Timeout):
			return errs.Op("postgres: collect "+s.name, err)
		case failed == patience || errors.Is(err, errJudging):
			c.Logger.WarnContext(ctx, "collection left something for the next pass", "what", s.name, "error", err)
			c.done.Skipped = append(c.done.Skipped, s.name)
			return nil
		default:
			failed, pause, s = failed+1, longest, s.smaller()
		}
		if err := sleep(ctx, pause); err != nil {
			return errs.Op("postgres: collect "+s.name, err)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
