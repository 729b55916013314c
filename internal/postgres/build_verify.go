package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

var _ scan.Judged = (*Store)(nil)

// CountPackages counts the packages that were judged (scan.Judged).
func (s *Store) CountPackages(ctx context.Context) (n int64, err error) {
	err = s.pool.QueryRow(ctx, `SELECT count(*) FROM package WHERE judged_build IS NOT NULL`).Scan(&n)
	return n, wrap("count packages", err)
}

// JudgedPackages lists packages that were judged (scan.Judged).
func (s *Store) JudgedPackages(ctx context.Context, after int64, limit int) ([]scan.Stored, error) {
	const query = `SELECT id, input FROM package WHERE id > $1 AND judged_build IS NOT NULL ORDER BY id LIMIT $2`
	found, err := s.pool.Query(ctx, query, after, limit)
	if err != nil {
		return nil, wrap("list judged packages", err)
	}
	out, err := s.storedPackages(found)
	return out, wrap("list judged packages", err)
}

// Differences compares what is stored with judgements (scan.Judged).
func (s *Store) Differences(ctx context.Context, build vuln.Build, packages []scan.Stored, judgements []inventory.Judgement, records []vuln.Vulnerability) (out []scan.Difference, err error) {
	expected := expect(packages, judgements, records)
	err = s.read(ctx, "compare judgements", func(at snapshot) error {
		var same bool
		const active = `SELECT checksum = $1 AND engine = $2 AND engine_version = $3 AND config = $4 FROM vuln_build WHERE id = $5`
		err := at.QueryRow(ctx, active, build.Checksum, build.Engine, build.EngineVersion, build.Config, at.buildID).Scan(&same)
		if err == nil && !same {
			err = errs.New(errs.Conflict, "postgres: another build came into force").WithHint("run it again")
		}
		if err != nil {
			return err
		}
		stored, err := storedJudgements(ctx, at, packages, records)
		out = expected.against(stored)
		return err
	})
	return out, err
}

// saying is one thing a build says: of a package about a record, or of a record.
type saying struct {
	of      string // match, ignore or rating
	id      int64  // of the package; 0 for a rating
	ref     vuln.Ref
	content string
}

// sayings are what a build says, by what it is about.
type sayings struct {
	byID map[int64]inventory.Package
	said map[saying]string // without its content, which is the value
}

func (x sayings) add(s saying) {
	content := s.content
	s.content = ""
	x.said[s] = content
}

func expect(packages []scan.Stored, judgements []inventory.Judgement, records []vuln.Vulnerability) sayings {
	x := sayings{byID: map[int64]inventory.Package{}, said: map[saying]string{}}
	for i, p := range packages {
		x.byID[p.ID] = p.Package
		for _, m := range judgements[i].Matches {
			x.add(saying{"match", p.ID, m.Ref, string(contentOf(m))})
		}
		for _, g := range judgements[i].Ignores {
			x.add(saying{"ignore", p.ID, vuln.Ref{ID: g.Vulnerability, Namespace: string(g.Kind)}, g.Reason})
		}
	}
	for _, v := range records {
		x.add(saying{"rating", 0, v.Ref, string(ratingContent(v))})
	}
	return x
}

// storedJudgements reads the same of what is stored under the active build.
func storedJudgements(ctx context.Context, at snapshot, packages []scan.Stored, records []vuln.Vulnerability) (sayings, error) {
	const query = `
		SELECT 'match', m.package_id, v.name, v.namespace, m.content
		  FROM package_match m JOIN vulnerability v ON v.id = m.vulnerability_id
		 WHERE m.package_id = ANY (@packages) AND m.opened_build <= @build AND (m.closed_build IS NULL OR m.closed_build > @build)
		UNION ALL
		SELECT 'ignore', i.package_id, i.vulnerability, i.kind, convert_to(i.reason, 'UTF8') FROM package_ignore i
		 WHERE i.package_id = ANY (@packages) AND i.opened_build <= @build AND (i.closed_build IS NULL OR i.closed_build > @build)
		UNION ALL
		SELECT 'rating', 0, v.name, v.namespace, r.content
		  FROM unnest(@names::text[], @namespaces::text[]) AS n (name, namespace)
		  JOIN vulnerability v ON v.name = n.name AND v.namespace = n.namespace
		  JOIN vulnerability_rating r ON r.vulnerability_id = v.id
		 WHERE r.opened_build <= @build AND (r.closed_build IS NULL OR r.closed_build > @build)`
	x := sayings{said: map[saying]string{}}
	ids := make([]int64, len(packages))
	for i, p := range packages {
		ids[i] = p.ID
	}
	var names, namespaces []string
	for _, v := range records {
		names, namespaces = append(names, v.ID), append(namespaces, v.Namespace)
	}
	found, err := at.Query(ctx, query, pgx.NamedArgs{"packages": ids, "names": names, "namespaces": namespaces, "build": at.buildID})
	if err != nil {
		return x, err
	}
	var one saying
	var content []byte
	_, err = pgx.ForEachRow(found, []any{&one.of, &one.id, &one.ref.ID, &one.ref.Namespace, &content}, func() error {
		one.content = string(content)
		x.add(one)
		return nil
	})
	return x, err
}

// against lists where what is stored is otherwise.
func (x sayings) against(stored sayings) (out []scan.Difference) {
	note := func(s saying, what string) {
		out = append(out, scan.Difference{Package: x.byID[s.id], What: what, Record: s.ref, Of: s.of})
	}
	for s, content := range x.said {
		switch got, ok := stored.said[s]; {
		case !ok:
			note(s, "missing")
		case got != content:
			note(s, "other")
		}
	}
	for s := range stored.said {
		if _, ok := x.said[s]; !ok {
			note(s, "superfluous")
		}
	}
	return out
}
