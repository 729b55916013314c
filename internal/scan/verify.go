package scan

import (
	"context"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// Difference is where what is stored is not what the build in force says.
type Difference struct {
	Package inventory.Package
	// What is "missing" for something that is not stored, "superfluous" for
	// something that should not be, "other" for something that is stored otherwise,
	// "unjudged" for a package that cannot be judged.
	What string
	// Record is a match's, an ignore's (without namespace) or that of a rating.
	Record vuln.Ref
	// Of says what it is about: match, ignore or rating.
	Of string
}

// Judged is what verifying needs of the store.
type Judged interface {
	// CountPackages counts what JudgedPackages will return.
	CountPackages(ctx context.Context) (int64, error)
	// JudgedPackages returns up to limit packages that were judged, with ids after
	// the given one.
	JudgedPackages(ctx context.Context, after int64, limit int) ([]Stored, error)
	// Differences compares what is stored of packages under the active build with
	// judgements. It returns kind Conflict when that is not the given one.
	Differences(ctx context.Context, build vuln.Build, packages []Stored, judgements []inventory.Judgement, records []vuln.Vulnerability) ([]Difference, error)
}

// Verifier judges every distinct package again with the build in force and
// compares. It writes nothing.
type Verifier struct {
	Store Judged
	// Found is called for each difference.
	Found func(Difference)
	// Progress is told how many packages were judged; nil for nobody.
	Progress func(done, total int64)
}

// Verify returns how many packages it judged. A switch meanwhile ends it with kind
// Conflict.
func (v Verifier) Verify(ctx context.Context, session Session) (checked int64, err error) {
	const batch = 250
	total, err := v.Store.CountPackages(ctx)
	if err != nil {
		return 0, err
	}
	for after := int64(0); ; {
		packages, err := v.Store.JudgedPackages(ctx, after, batch)
		if err != nil || len(packages) == 0 {
			return checked, err
		}
		after = packages[len(packages)-1].ID
		if err := v.verify(ctx, session, packages); err != nil {
			return checked, err
		}
		checked += int64(len(packages))
		if v.Progress != nil {
			v.Progress(checked, max(checked, total))
		}
	}
}

func (v Verifier) verify(ctx context.Context, session Session, packages []Stored) error {
	input := make([]inventory.Package, len(packages))
	for i, p := range packages {
		input[i] = p.Package
	}
	judgements, err := session.Judge(ctx, input)
	switch {
	case errs.Is(err, errs.Malformed) && len(packages) > 1:
		for i := range packages {
			if err := v.verify(ctx, session, packages[i:i+1]); err != nil {
				return err
			}
		}
		return nil
	case errs.Is(err, errs.Malformed):
		v.Found(Difference{Package: packages[0].Package, What: "unjudged", Of: "match"})
		return nil
	case err != nil:
		return err
	}
	records, err := session.Vulnerabilities(ctx, RefsOf(judgements))
	if err != nil {
		return err
	}
	found, err := v.Store.Differences(ctx, session.Build(), packages, judgements, records)
	for _, d := range found {
		v.Found(d)
	}
	return err
}
