package scan

import (
	"context"
	"log/slog"
	"slices"
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

// Unsettled is an inventory whose counts are not those of the active build.
type Unsettled struct {
	ID int64
	// Inventory has the distro and one package of each type: what Coverage
	// reads.
	Inventory inventory.Inventory
}

// Builds is what judging everything again needs of the store.
type Builds interface {
	// BeginBuild registers a build: the very first is active at once, a later
	// one becomes the candidate.
	BeginBuild(ctx context.Context, b vuln.Build) (id int64, active bool, err error)
	// PackagesToJudge returns up to limit packages the build has not judged,
	// with ids after the given one.
	PackagesToJudge(ctx context.Context, build, after int64, limit int) ([]Stored, error)
	// SaveCandidate writes what differs from the open rows.
	SaveCandidate(ctx context.Context, build int64, packages []Stored, judgements []inventory.Judgement, vulnerabilities []vuln.Vulnerability) error
	// KeepJudgement counts a package as judged by the candidate, with what was
	// said of it before.
	KeepJudgement(ctx context.Context, build, packageID int64) error
	// MatchedVulnerabilities lists the records that packages match under the
	// build.
	MatchedVulnerabilities(ctx context.Context, build int64) ([]vuln.Ref, error)
	// SwitchBuild makes the candidate active; kind Conflict while packages are
	// missing.
	SwitchBuild(ctx context.Context, build int64, records []vuln.Vulnerability) error
	// UnsettledInventories returns up to limit inventories to count again.
	UnsettledInventories(ctx context.Context, limit int) ([]Unsettled, error)
	SettleInventory(ctx context.Context, id int64, build vuln.Build, noData []string, endOfLife time.Time) error
	// SettleRepositories compares every repository with what it had before.
	SettleRepositories(ctx context.Context) (int, error)
}

// Rejudger brings all stored packages to another database build, without
// pulling anything.
type Rejudger struct {
	Store Builds
	// Activated is called between the switch and the counting, so that new
	// scans judge with the new build; nil for nothing.
	Activated func(ctx context.Context) error
}

// Rejudged tells what a Rejudge did.
type Rejudged struct {
	Packages     int
	Repositories int
	Switched     bool
}

// Rejudge judges every package with the session's build, makes that build the
// active one, and brings counts and events up to date. Answers come from the
// build before until the switch. It resumes where it stopped.
func (r *Rejudger) Rejudge(ctx context.Context, session Session) (done Rejudged, err error) {
	id, active, err := r.Store.BeginBuild(ctx, session.Build())
	if err != nil {
		return done, err
	}
	if !active {
		if done.Packages, err = r.judgeAll(ctx, session, id); err != nil {
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

// Settle brings counts and events up to date with the active build, which must
// be the session's. It goes on where an earlier one was cut off, and returns how
// many repositories it looked at.
func (r *Rejudger) Settle(ctx context.Context, session Session) (repositories int, err error) {
	if err := r.settle(ctx, session); err != nil {
		return 0, err
	}
	return r.Store.SettleRepositories(ctx)
}

// judgeAll judges until the switch finds nothing missing.
func (r *Rejudger) judgeAll(ctx context.Context, session Session, build int64) (judged int, err error) {
	for {
		n, err := r.judgePass(ctx, session, build)
		judged += n
		if err != nil {
			return judged, err
		}
		records, err := r.records(ctx, session, build)
		if err != nil {
			return judged, err
		}
		if err := r.Store.SwitchBuild(ctx, build, records); !errs.Is(err, errs.Conflict) {
			return judged, err
		}
	}
}

// records describes every vulnerability that is matched, for what changes
// without changing a match: exploitability daily, texts now and then.
func (r *Rejudger) records(ctx context.Context, session Session, build int64) ([]vuln.Vulnerability, error) {
	const batch = 1000
	refs, err := r.Store.MatchedVulnerabilities(ctx, build)
	if err != nil {
		return nil, err
	}
	var out []vuln.Vulnerability
	for part := range slices.Chunk(refs, batch) {
		described, err := session.Vulnerabilities(ctx, part)
		if err != nil {
			return nil, err
		}
		out = append(out, described...)
	}
	return out, nil
}

func (r *Rejudger) judgePass(ctx context.Context, session Session, build int64) (judged int, err error) {
	const batch = 500
	for after := int64(0); ; {
		packages, err := r.Store.PackagesToJudge(ctx, build, after, batch)
		if err != nil || len(packages) == 0 {
			return judged, err
		}
		after = packages[len(packages)-1].ID
		if err := r.judgeBatch(ctx, session, build, packages); err != nil {
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
	vulnerabilities, err := session.Vulnerabilities(ctx, refsOf(judgements))
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

// refsOf lists the records that judgements name, each once.
func refsOf(judgements []inventory.Judgement) []vuln.Ref {
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
