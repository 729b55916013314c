package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// SaveCandidate writes what a candidate build says of packages: rows that differ
// from the open ones are opened by it and theirs closed by it; equal ones stay
// as they are. The error is of kind Canceled when the build is not the candidate.
func (s *Store) SaveCandidate(ctx context.Context, build int64, packages []scan.Stored, judgements []inventory.Judgement, vulnerabilities []vuln.Vulnerability) error {
	return s.inTxAgain(ctx, "save candidate", func(tx pgx.Tx) error {
		if err := shareCandidate(ctx, tx, build); err != nil {
			return err
		}
		return saveCandidate(ctx, tx, build, packages, judgements, vulnerabilities)
	})
}

// shareCandidate takes the build lock shared until the transaction ends, so that
// a switch waits for it and a discard cannot overtake it, and sees to it that the
// build is the candidate.
func shareCandidate(ctx context.Context, tx pgx.Tx, build int64) error {
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock_shared(`+lockKey("build")+`)`); err != nil {
		return err
	}
	return mustBeCandidate(ctx, tx, build)
}

func mustBeCandidate(ctx context.Context, tx pgx.Tx, build int64) error {
	const exists = `SELECT EXISTS (SELECT 1 FROM vuln_build WHERE id = $1 AND state = 'candidate')`
	var is bool
	if err := tx.QueryRow(ctx, exists, build).Scan(&is); err != nil {
		return err
	}
	if !is {
		return errs.New(errs.Canceled, "postgres: build %d is no longer the candidate", build)
	}
	return nil
}

func saveCandidate(ctx context.Context, tx pgx.Tx, build int64, packages []scan.Stored, judgements []inventory.Judgement, vulnerabilities []vuln.Vulnerability) error {
	answer := scan.Answer{Vulnerabilities: vulnerabilities, Judged: map[int]inventory.Judgement{}}
	ids := make([]int64, len(packages))
	for i, p := range packages {
		ids[i], answer.Judged[i] = p.ID, judgements[i]
	}
	if err := closeRatings(ctx, tx, build, vulnerabilities); err != nil {
		return err
	}
	if err := closeMatches(ctx, tx, build, ids, judgements); err != nil {
		return err
	}
	if err := closeIgnores(ctx, tx, build, ids, judgements); err != nil {
		return err
	}
	return saveJudgements(ctx, tx, build, build, answer, ids)
}

// closeRatings closes the open ratings that the candidate sees otherwise.
func closeRatings(ctx context.Context, tx pgx.Tx, build int64, vulnerabilities []vuln.Vulnerability) error {
	// In one order: shards rate the same records at the same time.
	const closing = `
		WITH stale AS (
			SELECT r.id FROM unnest(@name::text[], @namespace::text[], @content::bytea[]) AS n(name, namespace, content)
			  JOIN vulnerability v ON v.name = n.name AND v.namespace = n.namespace
			  JOIN vulnerability_rating r ON r.vulnerability_id = v.id
			 WHERE r.closed_build IS NULL AND r.opened_build < @build AND r.content <> n.content
			 ORDER BY r.id FOR UPDATE OF r
		)
		UPDATE vulnerability_rating r SET closed_build = @build FROM stale WHERE r.id = stale.id`
	var name, namespace []string
	var content [][]byte
	for _, v := range vulnerabilities {
		name, namespace, content = append(name, v.ID), append(namespace, v.Namespace), append(content, ratingContent(v))
	}
	_, err := tx.Exec(ctx, closing, pgx.NamedArgs{"build": build, "name": name, "namespace": namespace, "content": content})
	return err
}

// closeMatches closes the open matches of packages that the candidate does not
// confirm word for word; saveJudgements then opens what is new.
func closeMatches(ctx context.Context, tx pgx.Tx, build int64, ids []int64, judgements []inventory.Judgement) error {
	const closing = `
		UPDATE package_match m SET closed_build = @build
		  FROM vulnerability v
		 WHERE m.package_id = ANY (@ids) AND m.closed_build IS NULL AND m.opened_build < @build AND v.id = m.vulnerability_id
		   AND NOT EXISTS (SELECT 1 FROM unnest(@package::bigint[], @name::text[], @namespace::text[], @content::bytea[])
		                       AS n(package_id, name, namespace, content)
		                    WHERE n.package_id = m.package_id AND n.name = v.name AND n.namespace = v.namespace AND n.content = m.content)`
	var owner []int64
	var name, namespace []string
	var content [][]byte
	for i, j := range judgements {
		for _, m := range j.Matches {
			owner, name, namespace = append(owner, ids[i]), append(name, m.ID), append(namespace, m.Namespace)
			content = append(content, contentOf(m))
		}
	}
	_, err := tx.Exec(ctx, closing, pgx.NamedArgs{"build": build, "ids": ids, "package": owner, "name": name,
		"namespace": namespace, "content": content})
	return err
}

// closeIgnores does the same for what packages suppress on others.
func closeIgnores(ctx context.Context, tx pgx.Tx, build int64, ids []int64, judgements []inventory.Judgement) error {
	const closing = `
		UPDATE package_ignore i SET closed_build = @build
		 WHERE i.package_id = ANY (@ids) AND i.closed_build IS NULL AND i.opened_build < @build
		   AND NOT EXISTS (SELECT 1 FROM unnest(@package::bigint[], @name::text[], @kind::text[], @reason::text[])
		                       AS n(package_id, name, kind, reason)
		                    WHERE n.package_id = i.package_id AND n.name = i.vulnerability AND n.kind = i.kind AND n.reason = i.reason)`
	var owner []int64
	var name, kind, reason []string
	for i, j := range judgements {
		for _, g := range j.Ignores {
			owner, name = append(owner, ids[i]), append(name, g.Vulnerability)
			kind, reason = append(kind, string(g.Kind)), append(reason, g.Reason)
		}
	}
	_, err := tx.Exec(ctx, closing, pgx.NamedArgs{"build": build, "ids": ids, "package": owner, "name": name, "kind": kind, "reason": reason})
	return err
}

// KeepJudgement counts a package as judged by a candidate, with the rows that
// were open before.
func (s *Store) KeepJudgement(ctx context.Context, build, packageID int64) error {
	const mark = `UPDATE package SET judged_build = $1 WHERE id = $2 AND judged_build < $1`
	return s.inTx(ctx, "keep judgement", func(tx pgx.Tx) error {
		if err := shareCandidate(ctx, tx, build); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, mark, build, packageID)
		return err
	})
}
