package scan

import (
	"context"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// Stored is a package as it is judged again.
type Stored struct {
	ID      int64
	Package inventory.Package
}

// Shard is a part of the packages that a candidate has to judge: those with ids
// from From to To, both included.
type Shard struct {
	Build    int64 `json:"build"`
	From     int64 `json:"from"`
	To       int64 `json:"to"`
	Packages int   `json:"packages"`
}

// Unsettled is an inventory whose counts are not those of the active build.
type Unsettled struct {
	ID int64
	// Inventory has the distro and one package of each type: what Coverage
	// reads.
	Inventory inventory.Inventory
}

// Builds is what bringing another build into force needs of the store.
type Builds interface {
	// BeginBuild registers a build: the very first is active at once, a later
	// one becomes the candidate. It returns kind Conflict for one that is held or
	// was discarded.
	BeginBuild(ctx context.Context, b vuln.Build) (id int64, active bool, err error)
	// SelectPackages says which packages the candidate has to judge, which the
	// store keeps from then on, and cuts those it has not judged into shards.
	SelectPackages(ctx context.Context, build int64, change Change) ([]Shard, error)
	// PackagesOf returns up to limit packages of a shard that its build has not
	// judged, with ids after the given one.
	PackagesOf(ctx context.Context, shard Shard, after int64, limit int) ([]Stored, error)
	// SaveCandidate writes what differs from the open rows.
	SaveCandidate(ctx context.Context, build int64, packages []Stored, judgements []inventory.Judgement, vulnerabilities []vuln.Vulnerability) error
	// KeepJudgement counts a package as judged by the candidate, with what was
	// said of it before.
	KeepJudgement(ctx context.Context, build, packageID int64) error
	// RecordsToDescribe lists the records the candidate may describe otherwise.
	RecordsToDescribe(ctx context.Context, build int64, changed []vuln.Ref) ([]vuln.Ref, error)
	// SaveRecords writes what differs of them.
	SaveRecords(ctx context.Context, build int64, records []vuln.Vulnerability) error
	// ReportBuild sums up what the candidate would change and keeps it with the
	// build. released tells that somebody let the build go on.
	ReportBuild(ctx context.Context, build int64, change Change) (report BuildReport, released bool, err error)
	// HoldBuild stops a candidate until a person decides about it.
	HoldBuild(ctx context.Context, build int64, reason string) error
	// StageBuild counts and compares under the candidate, beside the active
	// build; kind Conflict while many packages are missing.
	StageBuild(ctx context.Context, build int64, session Session) error
	// SwitchBuild makes the candidate active with all that was staged; kind
	// Conflict while much is missing.
	SwitchBuild(ctx context.Context, build int64, session Session) error
	// UnsettledInventories returns up to limit inventories to count again.
	UnsettledInventories(ctx context.Context, limit int) ([]Unsettled, error)
	SettleInventory(ctx context.Context, id int64, build vuln.Build, noData []string, endOfLife time.Time) error
	// SettleRepositories compares repositories that were last compared under a
	// build whose findings no longer hold.
	SettleRepositories(ctx context.Context) (int, error)
}

// Rejudger brings another database build into force, without pulling anything.
type Rejudger struct {
	Store Builds
	// Change is what differs from the active build; nil when nobody knows: then
	// every package is judged.
	Change *Change
	// Check looks at what the candidate would change before anything is counted.
	// The reason it returns holds the build; empty lets it go on. It is not asked
	// about a build that somebody released. Nil for no check.
	Check func(ctx context.Context, report BuildReport) (hold string, err error)
	// Distribute has shards judged elsewhere, each with JudgeShard, and returns
	// when that has ended or is not worth waiting for: what is left is judged
	// here. Nil for nothing.
	Distribute func(ctx context.Context, shards []Shard) error
	// Parallel is how many shards are judged here at a time; 2 when zero.
	Parallel int
	// Activated is called after the switch, so that new scans judge with the new
	// build; nil for nothing.
	Activated func(ctx context.Context) error
}

// Rejudged tells what a Rejudge did.
type Rejudged struct {
	Build        int64
	Packages     int    // that were judged
	Repositories int    // that had to be settled after a switch of the version before
	Switched     bool   // false when the build was active already, or is held
	Held         string // why the build is held
}

// Rejudge judges with the session's build what the change asks for, counts and
// compares under it, and makes it the active one in one step: until then answers
// come from the build before, and then all of them from the new one. It resumes
// where it stopped, in this process or another. A held or discarded build is
// refused with kind Conflict.
func (r *Rejudger) Rejudge(ctx context.Context, session Session) (done Rejudged, err error) {
	id, active, err := r.Store.BeginBuild(ctx, session.Build())
	if err != nil {
		return done, err
	}
	done.Build = id
	if !active {
		if err := r.prepareAndSwitch(ctx, session, &done); err != nil || done.Held != "" {
			return done, err
		}
		done.Switched = true
	}
	if r.Activated != nil {
		if err := r.Activated(ctx); err != nil {
			return done, err
		}
	}
	done.Repositories, err = r.Settle(ctx, session)
	return done, err
}

// prepareAndSwitch goes on until the switch finds nothing missing.
func (r *Rejudger) prepareAndSwitch(ctx context.Context, session Session, done *Rejudged) error {
	change := Change{Everything: "nobody knows what changed"}
	if r.Change != nil {
		change = *r.Change
	}
	for first := true; ; first = false {
		err := traced(ctx, "judge", func(ctx context.Context) error {
			judged, err := r.judgeAll(ctx, session, done.Build, change)
			done.Packages += judged
			return err
		})
		if err != nil {
			return err
		}
		if first {
			if err := r.describe(ctx, session, done.Build, change); err != nil {
				return err
			}
			if done.Held, err = r.check(ctx, done.Build, change); err != nil || done.Held != "" {
				return err
			}
		}
		err = traced(ctx, "stage", func(ctx context.Context) error { return r.Store.StageBuild(ctx, done.Build, session) })
		if err == nil {
			err = traced(ctx, "switch", func(ctx context.Context) error { return r.Store.SwitchBuild(ctx, done.Build, session) })
		}
		if !errs.Is(err, errs.Conflict) {
			return err
		}
	}
}

// check asks whether the candidate may go on, and holds it if not.
func (r *Rejudger) check(ctx context.Context, build int64, change Change) (held string, err error) {
	report, released, err := r.Store.ReportBuild(ctx, build, change)
	if err != nil || released || r.Check == nil {
		return "", err
	}
	held, err = r.Check(ctx, report)
	if err != nil || held == "" {
		return "", err
	}
	return held, r.Store.HoldBuild(ctx, build, held)
}

// Settle brings counts and events up to date with the active build, which must
// be the session's, where a switch of the version before was cut off. It returns
// how many repositories it looked at.
func (r *Rejudger) Settle(ctx context.Context, session Session) (repositories int, err error) {
	if err := r.settle(ctx, session); err != nil {
		return 0, err
	}
	return r.Store.SettleRepositories(ctx)
}

// settle counts the findings of every inventory under the session's build.
func (r *Rejudger) settle(ctx context.Context, session Session) error {
	const batch = 200
	for {
		open, err := r.Store.UnsettledInventories(ctx, batch)
		if err != nil || len(open) == 0 {
			return err
		}
		for i := range open {
			noData, endOfLife, err := session.Coverage(ctx, &open[i].Inventory)
			if err != nil {
				return err
			}
			if err := r.Store.SettleInventory(ctx, open[i].ID, session.Build(), noData, endOfLife); err != nil {
				return err
			}
		}
	}
}
