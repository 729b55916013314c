package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// maxFixes bounds the findings that are weighed for one image.
const maxFixes = 50_000

// Fixes lists the findings of an image that count, with the versions that each
// of their records is fixed in.
func (s *Store) Fixes(ctx context.Context, access report.Access, scope report.FindingScope) (report.Fixes, error) {
	const query = `
		WITH named AS (
			SELECT p.type, p.name, p.version, p.language, p.purl, v.canonical, v.match_id, v.fix_state,
			       COALESCE(r.severity_rank, 0)::int AS rank, COALESCE(r.known_exploited, false) AS exploited, u.risk
			  FROM verdicts(@inventories::bigint[], @build) v
			  JOIN package p ON p.id = v.package_id
			  JOIN vulnerability u ON u.id = v.vulnerability_id
			  LEFT JOIN vulnerability_rating r ON r.vulnerability_id = u.id
			       AND r.opened_build <= @build AND (r.closed_build IS NULL OR r.closed_build > @build)
			 WHERE v.ignored = ''
		)
		SELECT n.type, n.name, n.version, min(n.language) AS language, min(n.purl) AS purl, n.canonical AS vulnerability,
		       max(n.rank) AS rank, bool_or(n.exploited) AS known_exploited, max(n.risk) AS risk,
		       COALESCE(jsonb_agg(DISTINCT jsonb_build_object('Versions', m.fix_versions, 'Suggested', m.suggested_version))
		                FILTER (WHERE m.fix_state = 'fixed'), '[]') AS records
		  FROM named n JOIN package_match m ON m.id = n.match_id
		 GROUP BY n.type, n.name, n.version, n.canonical
		 LIMIT @limit`
	out := report.Fixes{}
	err := s.read(ctx, "list fixes", func(at snapshot) error {
		at, in, past, err := scopeAt(ctx, at, access, scope)
		if err != nil {
			return err
		}
		out.State, out.Assessment, out.AsOf, out.Build = in.state, in.assessment, past, at.build
		found, err := rows[fixRow](ctx, at, query, pgx.NamedArgs{
			"inventories": append([]int64{}, in.inventories...), "build": at.buildID, "limit": maxFixes + 1,
		})
		if err == nil && len(found) > maxFixes {
			return errs.New(errs.TooLarge, "it has more than %d findings", maxFixes).WithHint("ask for one platform, or for an image in place of a repository")
		}
		for _, r := range found {
			out.Items = append(out.Items, r.report())
		}
		return err
	})
	return out, err
}

type fixRow struct {
	Type           string
	Name           string
	Version        string
	Language       string
	Purl           string
	Vulnerability  string
	Rank           int
	KnownExploited bool
	Risk           float64
	Records        []report.FixVersions
}

func (r fixRow) report() report.Fix {
	return report.Fix{
		Package:       report.Package{Type: r.Type, Name: r.Name, Version: r.Version, Language: r.Language, PURL: r.Purl},
		Vulnerability: r.Vulnerability, Severity: severityOf(r.Rank), KnownExploited: r.KnownExploited, Risk: r.Risk, Records: r.Records,
	}
}
