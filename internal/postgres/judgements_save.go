package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// saveJudgements writes what the build says of packages that it has not judged
// yet: vulnerabilities, matches and ignores, opened by that build. ids are those
// of a.Inventory.Packages. Packages that the build since or a newer one had judged
// meanwhile are left alone: a late answer must not open again what a candidate
// closed.
func saveJudgements(ctx context.Context, tx pgx.Tx, build, since int64, a scan.Answer, ids []int64) error {
	if len(a.Judged) == 0 {
		return nil
	}
	open, err := lockUnjudged(ctx, tx, since, a, ids)
	if err != nil || len(open) == 0 {
		return err
	}
	vulnerabilities, err := saveVulnerabilities(ctx, tx, build, a.Vulnerabilities)
	if err != nil {
		return err
	}
	var matches []openedMatch
	var ignores []openedIgnore
	judged := make([]judgedPackage, len(open))
	for i, n := range open {
		judged[i] = newJudgedPackage(ids[n], a.Judged[n].Names)
		for _, m := range a.Judged[n].Matches {
			row, err := newOpenedMatch(ids[n], vulnerabilities[m.Ref], m)
			if err != nil {
				return err
			}
			matches = append(matches, row)
		}
		for _, g := range a.Judged[n].Ignores {
			ignores = append(ignores, openedIgnore{ids[n], cleanText(g.Vulnerability), string(g.Kind), cleanText(g.Reason)})
		}
	}
	if err := insertRows(ctx, tx, insertMatches, matches, build); err != nil {
		return err
	}
	if err := insertRows(ctx, tx, insertIgnores, ignores, build); err != nil {
		return err
	}
	return insertRows(ctx, tx, markJudged, judged, build)
}

// markJudged counts packages as judged; $1 are judgedPackage rows. Names that
// nobody says stay what they were.
const markJudged = `
	UPDATE package p SET judged_build = $2, names = COALESCE(n.names, p.names)
	  FROM jsonb_to_recordset($1) AS n(id bigint, names text[]) WHERE p.id = n.id`

// judgedPackage is a package as markJudged takes it.
type judgedPackage struct {
	ID    int64    `json:"id"`
	Names []string `json:"names"` // null when nobody says
}

func newJudgedPackage(id int64, names []string) judgedPackage {
	if names == nil {
		return judgedPackage{ID: id}
	}
	return judgedPackage{ID: id, Names: cleanAll(names)}
}

// lockUnjudged locks the packages of an answer that no build from since on has
// judged, in the order of their ids, and returns their indexes.
func lockUnjudged(ctx context.Context, tx pgx.Tx, since int64, a scan.Answer, ids []int64) ([]int, error) {
	const query = `
		SELECT id FROM package WHERE id = ANY ($1) AND (judged_build IS NULL OR judged_build < $2)
		 ORDER BY id FOR NO KEY UPDATE`
	wanted := make([]int64, 0, len(a.Judged))
	index := make(map[int64]int, len(a.Judged))
	for n := range a.Judged {
		wanted = append(wanted, ids[n])
		index[ids[n]] = n
	}
	rows, err := tx.Query(ctx, query, wanted, since)
	if err != nil {
		return nil, err
	}
	locked, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	open := make([]int, len(locked))
	for i, id := range locked {
		open[i] = index[id]
	}
	return open, err
}

// insertMatches opens matches; $1 are openedMatch rows.
const insertMatches = `
	INSERT INTO package_match (package_id, vulnerability_id, canonical, ids, fix_state, fix_versions, suggested_version,
	                           match_type, matcher, confidence, ignored, details, advisories, fix_available, content, opened_build)
	SELECT n.package, n.vulnerability, n.canonical, n.ids, n.fix_state, n.fix_versions, n.suggested, n.match_type, n.matcher,
	       n.confidence, n.ignored, COALESCE(n.details, 'null'), n.advisories, n.available, decode(n.content, 'base64'), $2
	  FROM jsonb_to_recordset($1) AS n(package bigint, vulnerability bigint, canonical text, ids text[], fix_state text,
	       fix_versions text[], suggested text, match_type text, matcher text, confidence real, ignored text, details jsonb,
	       advisories jsonb, available jsonb, content text)
	ON CONFLICT (package_id, vulnerability_id, engine) WHERE closed_build IS NULL DO NOTHING`

// openedMatch is a match as insertMatches takes it.
type openedMatch struct {
	Package       int64               `json:"package"`
	Vulnerability int64               `json:"vulnerability"`
	Canonical     string              `json:"canonical"`
	IDs           []string            `json:"ids"`
	FixState      string              `json:"fix_state"`
	FixVersions   []string            `json:"fix_versions"`
	Suggested     string              `json:"suggested"`
	MatchType     string              `json:"match_type"`
	Matcher       string              `json:"matcher"`
	Confidence    float64             `json:"confidence"`
	Ignored       string              `json:"ignored"`
	Details       json.RawMessage     `json:"details"`
	Advisories    []vuln.Advisory     `json:"advisories"`
	Available     []vuln.FixAvailable `json:"available"`
	Content       []byte              `json:"content"`
}

func newOpenedMatch(packageID, vulnerabilityID int64, m vuln.Match) (openedMatch, error) {
	if vulnerabilityID == 0 {
		return openedMatch{}, errs.New(errs.Internal, "postgres: match %s in %s has no vulnerability", m.ID, m.Namespace)
	}
	return openedMatch{
		Package: packageID, Vulnerability: vulnerabilityID, Canonical: m.Canonical(), IDs: m.IDs(),
		FixState: string(m.Fix.State), FixVersions: append([]string{}, m.Fix.Versions...), Suggested: m.SuggestedVersion,
		MatchType: m.MatchType, Matcher: m.Matcher, Confidence: m.Confidence, Ignored: m.Ignored, Details: m.Details,
		Advisories: append([]vuln.Advisory{}, m.Advisories...), Available: append([]vuln.FixAvailable{}, m.Fix.Available...),
		Content: contentOf(m),
	}, nil
}

// insertIgnores opens ignores; $1 are openedIgnore rows.
const insertIgnores = `
	INSERT INTO package_ignore (package_id, vulnerability, kind, reason, opened_build)
	SELECT n.package, n.vulnerability, n.kind, n.reason, $2
	  FROM jsonb_to_recordset($1) AS n(package bigint, vulnerability text, kind text, reason text)
	ON CONFLICT (package_id, vulnerability, kind) WHERE closed_build IS NULL DO NOTHING`

// openedIgnore is an ignore as insertIgnores takes it.
type openedIgnore struct {
	Package       int64  `json:"package"`
	Vulnerability string `json:"vulnerability"`
	Kind          string `json:"kind"`
	Reason        string `json:"reason"`
}

// insertRows hands rows to a statement as one JSON document, which may hold
// lists: a statement per row takes far longer. Many rows go in parts.
func insertRows[T any](ctx context.Context, tx pgx.Tx, query string, rows []T, args ...any) error {
	const most = 2000
	for part := range slices.Chunk(rows, most) {
		encoded, err := json.Marshal(part)
		if err != nil {
			return errs.Wrap(errs.Internal, "postgres: encode rows", err)
		}
		if _, err := tx.Exec(ctx, query, append([]any{encoded}, args...)...); err != nil {
			return err
		}
	}
	return nil
}

// contentOf hashes a value by its JSON form, to tell whether a build says
// anything new. Only plain data comes here, which always encodes.
func contentOf(v any) []byte {
	b, _ := json.Marshal(v)
	sum := sha256.Sum256(b)
	return sum[:]
}
