package postgres

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// Compare tells what differs between two images, or two moments of one, each
// under the build of its moment.
func (s *Store) Compare(ctx context.Context, access report.Access, from, to report.FindingScope) (report.Comparison, error) {
	var out report.Comparison
	err := s.read(ctx, "compare images", func(at snapshot) error {
		left, err := sideOf(ctx, at, access, from, &out.From)
		if err != nil {
			return err
		}
		right, err := sideOf(ctx, at, access, to, &out.To)
		if err != nil {
			return err
		}
		out.Complete = out.From.Complete && out.To.Complete
		if err := compareFindings(ctx, at, left, right, &out); err != nil {
			return err
		}
		return comparePackages(ctx, at, left, right, &out.Packages)
	})
	return out, err
}

// side are the inventories of one side and the build they are judged under.
type side struct {
	inventories []int64
	build       int64
}

func sideOf(ctx context.Context, at snapshot, access report.Access, scope report.FindingScope, told *report.ComparedSide) (side, error) {
	at, in, past, err := scopeAt(ctx, at, access, scope)
	if err != nil {
		return side{}, err
	}
	repo, err := repository(ctx, at, access, scope.RepositoryRef)
	if err != nil {
		return side{}, err
	}
	told.Reference, told.Digest = repo.fullName()+":"+scope.Tag, scope.Digest
	if scope.Digest != "" {
		told.Reference = repo.fullName() + "@" + string(scope.Digest)
	}
	if told.Digest == "" {
		told.Digest = in.digest
	}
	if past != nil {
		told.Digest = past.Digest
	}
	told.AsOf, told.Build, told.Assessment = past, at.build, in.assessment
	return side{append([]int64{}, in.inventories...), at.buildID}, nil
}

// comparedRow is a finding with what both sides say of it; what one side does not
// have is null.
type comparedRow struct {
	Type          string
	Name          string
	Vulnerability string
	FromVersions  []string
	FromRank      *int
	FromExploited *bool
	FromFixState  *string
	FromSuggested *string
	ToVersions    []string
	ToRank        *int
	ToExploited   *bool
	ToFixState    *string
	ToSuggested   *string
}

func compareFindings(ctx context.Context, at snapshot, left, right side, out *report.Comparison) error {
	const of = `
		SELECT p.type, p.name, v.canonical, array_agg(DISTINCT p.version ORDER BY p.version) AS versions,
		       max(COALESCE(r.severity_rank, 0))::int AS rank, bool_or(COALESCE(r.known_exploited, false)) AS exploited,
		       (array_agg(v.fix_state ORDER BY array_position(ARRAY['fixed', 'not-fixed', 'wont-fix', 'unknown'], v.fix_state)))[1] AS fix_state,
		       COALESCE(max(NULLIF(v.suggested_version, '')), '') AS suggested
		  FROM verdicts(`
	const judged = `) v
		  JOIN package p ON p.id = v.package_id
		  LEFT JOIN vulnerability_rating r ON r.vulnerability_id = v.vulnerability_id
		       AND r.opened_build <= `
	const open = ` AND (r.closed_build IS NULL OR r.closed_build > `
	const grouped = `)
		 WHERE v.ignored = ''
		 GROUP BY p.type, p.name, v.canonical`
	const query = `
		WITH a AS MATERIALIZED (` + of + `@left::bigint[], @left_build` + judged + `@left_build` + open + `@left_build` + grouped + `),
		     b AS MATERIALIZED (` + of + `@right::bigint[], @right_build` + judged + `@right_build` + open + `@right_build` + grouped + `)
		SELECT type, name, canonical AS vulnerability, a.versions AS from_versions, a.rank AS from_rank, a.exploited AS from_exploited,
		       a.fix_state AS from_fix_state, a.suggested AS from_suggested, b.versions AS to_versions, b.rank AS to_rank,
		       b.exploited AS to_exploited, b.fix_state AS to_fix_state, b.suggested AS to_suggested
		  FROM a FULL JOIN b USING (type, name, canonical)
		 ORDER BY greatest(a.rank, b.rank) DESC, type, name, canonical`
	found, err := rows[comparedRow](ctx, at, query, pgx.NamedArgs{
		"left": left.inventories, "left_build": left.build, "right": right.inventories, "right_build": right.build,
	})
	out.Opened.Items, out.Closed.Items = []report.ComparedFinding{}, []report.ComparedFinding{}
	out.Changed.Items = []report.ChangedFinding{}
	for _, r := range found {
		r.addTo(out)
	}
	return err
}

func (r comparedRow) addTo(out *report.Comparison) {
	name := report.PackageName{Type: r.Type, Name: r.Name}
	switch {
	case r.FromRank == nil:
		out.Opened.Add(compared(r.Vulnerability, name, r.to()))
	case r.ToRank == nil:
		out.Closed.Add(compared(r.Vulnerability, name, r.from()))
	default:
		from, to := r.from(), r.to()
		if from.Severity == to.Severity && from.KnownExploited == to.KnownExploited && from.FixState == to.FixState &&
			from.SuggestedVersion == to.SuggestedVersion {
			out.Unchanged++
			return
		}
		out.Changed.Add(report.ChangedFinding{Vulnerability: r.Vulnerability, Package: name, From: from, To: to})
	}
}

func (r comparedRow) from() report.FindingFacts {
	return report.FindingFacts{Versions: r.FromVersions, Severity: severityOf(*r.FromRank), KnownExploited: *r.FromExploited,
		FixState: vuln.FixState(*r.FromFixState), SuggestedVersion: *r.FromSuggested}
}

func (r comparedRow) to() report.FindingFacts {
	return report.FindingFacts{Versions: r.ToVersions, Severity: severityOf(*r.ToRank), KnownExploited: *r.ToExploited,
		FixState: vuln.FixState(*r.ToFixState), SuggestedVersion: *r.ToSuggested}
}

func compared(vulnerability string, name report.PackageName, f report.FindingFacts) report.ComparedFinding {
	return report.ComparedFinding{Vulnerability: vulnerability, Package: name, Versions: f.Versions, Severity: f.Severity,
		KnownExploited: f.KnownExploited, FixState: f.FixState, SuggestedVersion: f.SuggestedVersion}
}

// comparePackages reads the names whose versions differ. Packages that both sides
// share, most of them, drop out by their ids.
func comparePackages(ctx context.Context, at snapshot, left, right side, out *report.ComparedPackages) error {
	const query = `
		WITH a AS MATERIALIZED (SELECT DISTINCT package_id FROM inventory_package WHERE inventory_id = ANY (@left::bigint[])),
		     b AS MATERIALIZED (SELECT DISTINCT package_id FROM inventory_package WHERE inventory_id = ANY (@right::bigint[])),
		differ AS (
			SELECT DISTINCT p.type, p.name FROM (
				(TABLE a EXCEPT TABLE b) UNION ALL (TABLE b EXCEPT TABLE a)) d JOIN package p ON p.id = d.package_id
		), held AS (
			SELECT p.type, p.name, p.version, true AS in_from FROM a JOIN package p ON p.id = a.package_id
			UNION
			SELECT p.type, p.name, p.version, false FROM b JOIN package p ON p.id = b.package_id
		)
		SELECT h.type, h.name, COALESCE(array_agg(h.version ORDER BY h.version) FILTER (WHERE h.in_from), '{}') AS from_versions,
		       COALESCE(array_agg(h.version ORDER BY h.version) FILTER (WHERE NOT h.in_from), '{}') AS to_versions
		  FROM held h JOIN differ USING (type, name)
		 GROUP BY h.type, h.name ORDER BY h.type, h.name`
	type row struct {
		Type         string
		Name         string
		FromVersions []string
		ToVersions   []string
	}
	found, err := rows[row](ctx, at, query, pgx.NamedArgs{"left": left.inventories, "right": right.inventories})
	out.Added.Items, out.Removed.Items, out.Changed.Items = []report.ComparedPackage{}, []report.ComparedPackage{}, []report.ChangedPackage{}
	for _, r := range found {
		name := report.PackageName{Type: r.Type, Name: r.Name}
		switch {
		case slices.Equal(r.FromVersions, r.ToVersions): // built for something else
		case len(r.FromVersions) == 0:
			out.Added.Add(report.ComparedPackage{PackageName: name, Versions: r.ToVersions})
		case len(r.ToVersions) == 0:
			out.Removed.Add(report.ComparedPackage{PackageName: name, Versions: r.FromVersions})
		default:
			out.Changed.Add(report.ChangedPackage{PackageName: name, From: r.FromVersions, To: r.ToVersions})
		}
	}
	return err
}
