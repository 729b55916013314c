package postgres

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"sort"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// saveJudgements writes what the build says of packages that it has not judged
// yet: vulnerabilities, matches and ignores, opened by that build. ids are those
// of a.Inventory.Packages. Packages that another transaction had judged by this
// or a newer build meanwhile are left alone: a late answer must not open again
// what a candidate closed.
func saveJudgements(ctx context.Context, tx pgx.Tx, build int64, a scan.Answer, ids []int64) error {
	open, err := lockUnjudged(ctx, tx, build, a, ids)
	if err != nil || len(open) == 0 {
		return err
	}
	vulnerabilities, err := saveVulnerabilities(ctx, tx, build, a.Vulnerabilities)
	if err != nil {
		return err
	}
	batch := &pgx.Batch{}
	judged := make([]int64, len(open))
	for i, n := range open {
		judged[i] = ids[n]
		for _, m := range a.Judged[n].Matches {
			if err := queueMatch(batch, build, ids[n], vulnerabilities[m.Ref], m); err != nil {
				return err
			}
		}
		for _, ignore := range a.Judged[n].Ignores {
			queueIgnore(batch, build, ids[n], ignore)
		}
	}
	const mark = `UPDATE package SET judged_build = $2 WHERE id = ANY ($1)`
	batch.Queue(mark, judged, build)
	return tx.SendBatch(ctx, batch).Close()
}

// lockUnjudged locks the packages of an answer that the build has not judged, in
// the order of their ids, and returns their indexes.
func lockUnjudged(ctx context.Context, tx pgx.Tx, build int64, a scan.Answer, ids []int64) ([]int, error) {
	const query = `
		SELECT id FROM package WHERE id = ANY ($1) AND (judged_build IS NULL OR judged_build < $2)
		 ORDER BY id FOR NO KEY UPDATE`
	wanted := make([]int64, 0, len(a.Judged))
	index := make(map[int64]int, len(a.Judged))
	for n := range a.Judged {
		wanted = append(wanted, ids[n])
		index[ids[n]] = n
	}
	rows, err := tx.Query(ctx, query, wanted, build)
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

func queueMatch(batch *pgx.Batch, build, packageID, vulnerabilityID int64, m vuln.Match) error {
	const insert = `
		INSERT INTO package_match (package_id, vulnerability_id, canonical, ids, fix_state, fix_versions, suggested_version,
		                           match_type, matcher, confidence, ignored, details, advisories, fix_available, content, opened_build)
		VALUES (@package, @vulnerability, @canonical, @ids, @fix_state, @fix_versions, @suggested, @match_type, @matcher,
		        @confidence, @ignored, @details, @advisories, @available, @content, @build)
		ON CONFLICT (package_id, vulnerability_id, engine) WHERE closed_build IS NULL DO NOTHING`
	if vulnerabilityID == 0 {
		return errs.New(errs.Internal, "postgres: match %s in %s has no vulnerability", m.ID, m.Namespace)
	}
	advisories, err := json.Marshal(append([]vuln.Advisory{}, m.Advisories...))
	if err != nil {
		return errs.Wrap(errs.Internal, "postgres: encode advisories", err)
	}
	available, err := json.Marshal(append([]vuln.FixAvailable{}, m.Fix.Available...))
	if err != nil {
		return errs.Wrap(errs.Internal, "postgres: encode fixes", err)
	}
	batch.Queue(insert, pgx.NamedArgs{
		"package": packageID, "vulnerability": vulnerabilityID, "canonical": m.Canonical(), "ids": m.IDs(),
		"fix_state": string(m.Fix.State), "fix_versions": append([]string{}, m.Fix.Versions...), "suggested": m.SuggestedVersion,
		"match_type": m.MatchType, "matcher": m.Matcher, "confidence": m.Confidence, "ignored": m.Ignored,
		"details": []byte(m.Details), "advisories": advisories, "available": available,
		"content": contentOf(m), "build": build,
	})
	return nil
}

func queueIgnore(batch *pgx.Batch, build, packageID int64, i vuln.Ignore) {
	const insert = `
		INSERT INTO package_ignore (package_id, vulnerability, kind, reason, opened_build) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (package_id, vulnerability, kind) WHERE closed_build IS NULL DO NOTHING`
	batch.Queue(insert, packageID, i.Vulnerability, string(i.Kind), i.Reason, build)
}

// saveVulnerabilities adds the records nobody had yet, each with its rating, and
// returns the ids of all. Records sort by name, so concurrent scans insert in
// one order.
func saveVulnerabilities(ctx context.Context, tx pgx.Tx, build int64, all []vuln.Vulnerability) (map[vuln.Ref]int64, error) {
	sort.Slice(all, func(i, j int) bool {
		if all[i].ID != all[j].ID {
			return all[i].ID < all[j].ID
		}
		return all[i].Namespace < all[j].Namespace
	})
	known, err := vulnerabilityIDs(ctx, tx, all)
	if err != nil {
		return nil, err
	}
	batch := &pgx.Batch{}
	for _, v := range all {
		if _, ok := known[v.Ref]; !ok {
			queueVulnerability(batch, v)
		}
	}
	if batch.Len() > 0 {
		if err := tx.SendBatch(ctx, batch).Close(); err != nil {
			return nil, err
		}
		if known, err = vulnerabilityIDs(ctx, tx, all); err != nil {
			return nil, err
		}
	}
	return known, saveRatings(ctx, tx, build, all, known)
}

func vulnerabilityIDs(ctx context.Context, tx pgx.Tx, all []vuln.Vulnerability) (map[vuln.Ref]int64, error) {
	const query = `
		SELECT v.name, v.namespace, v.id FROM vulnerability v
		  JOIN unnest($1::text[], $2::text[]) AS w(name, namespace) ON w.name = v.name AND w.namespace = v.namespace`
	names, namespaces := make([]string, len(all)), make([]string, len(all))
	for i, v := range all {
		names[i], namespaces[i] = v.ID, v.Namespace
	}
	rows, err := tx.Query(ctx, query, names, namespaces)
	if err != nil {
		return nil, err
	}
	ids := make(map[vuln.Ref]int64, len(all))
	var ref vuln.Ref
	var id int64
	_, err = pgx.ForEachRow(rows, []any{&ref.ID, &ref.Namespace, &id}, func() error {
		ids[ref] = id
		return nil
	})
	return ids, err
}

func queueVulnerability(batch *pgx.Batch, v vuln.Vulnerability) {
	const insert = `
		INSERT INTO vulnerability (name, namespace, description, data_source, urls, cwes, epss, epss_percentile, epss_date, risk)
		VALUES (@name, @namespace, @description, @source, @urls, @cwes, @epss, @percentile, @date::date, @risk)
		ON CONFLICT (name, namespace) DO NOTHING`
	args := pgx.NamedArgs{
		"name": v.ID, "namespace": v.Namespace, "description": cleanText(v.Description), "source": cleanText(v.DataSource),
		"urls": cleanAll(v.URLs), "cwes": cleanAll(v.CWEs), "risk": v.Risk,
		"epss": nil, "percentile": nil, "date": nil,
	}
	if v.EPSS != nil {
		args["epss"], args["percentile"], args["date"] = v.EPSS.Score, v.EPSS.Percentile, nonEmpty(v.EPSS.Date)
	}
	batch.Queue(insert, args)
}

// saveRatings brings the ratings that are valid at the build to what the build
// says: one that says otherwise is closed by it, one that is missing is opened.
// Where a candidate has opened its own already, the missing one ends with that.
func saveRatings(ctx context.Context, tx pgx.Tx, build int64, all []vuln.Vulnerability, ids map[vuln.Ref]int64) error {
	const query = `
		SELECT DISTINCT ON (vulnerability_id) vulnerability_id, content, opened_build,
		       (SELECT min(n.opened_build) FROM vulnerability_rating n WHERE n.vulnerability_id = r.vulnerability_id AND n.opened_build > $2) AS next
		  FROM vulnerability_rating r
		 WHERE vulnerability_id = ANY ($1) AND (closed_build IS NULL OR closed_build > $2)
		 ORDER BY vulnerability_id, opened_build`
	wanted := make([]int64, 0, len(ids))
	for _, id := range ids {
		wanted = append(wanted, id)
	}
	type rating struct {
		VulnerabilityID int64
		Content         []byte
		OpenedBuild     int64
		Next            *int64 // the build that opened the one after it
	}
	rows, err := tx.Query(ctx, query, wanted, build)
	if err != nil {
		return err
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[rating])
	if err != nil {
		return err
	}
	valid := make(map[int64]rating, len(found))
	for _, r := range found {
		valid[r.VulnerabilityID] = r
	}
	batch := &pgx.Batch{}
	for _, v := range all {
		id := ids[v.Ref]
		r, known := valid[id]
		present := known && r.OpenedBuild <= build
		if present && (r.OpenedBuild == build || bytes.Equal(r.Content, ratingContent(v))) {
			continue
		}
		if present {
			batch.Queue(`UPDATE vulnerability_rating SET closed_build = $2 WHERE vulnerability_id = $1 AND opened_build = $3`, id, build, r.OpenedBuild)
		}
		if err := queueRating(batch, build, r.Next, id, v); err != nil {
			return err
		}
	}
	return tx.SendBatch(ctx, batch).Close()
}

func queueRating(batch *pgx.Batch, build int64, until *int64, id int64, v vuln.Vulnerability) error {
	const insert = `
		INSERT INTO vulnerability_rating (vulnerability_id, severity, severity_rank, cvss, cvss_score, known_exploited, kev, aliases, content, opened_build, closed_build)
		VALUES (@id, @severity, @rank, @cvss, @score, @exploited, @kev, @aliases, @content, @build, @until)
		ON CONFLICT (vulnerability_id) WHERE closed_build IS NULL DO NOTHING`
	cvss, err := json.Marshal(append([]vuln.CVSS{}, v.CVSS...))
	if err != nil {
		return errs.Wrap(errs.Internal, "postgres: encode cvss", err)
	}
	kev, err := json.Marshal(append([]vuln.KnownExploited{}, v.KEV...))
	if err != nil {
		return errs.Wrap(errs.Internal, "postgres: encode kev", err)
	}
	aliases, err := json.Marshal(append([]vuln.Ref{}, v.Aliases...))
	if err != nil {
		return errs.Wrap(errs.Internal, "postgres: encode aliases", err)
	}
	batch.Queue(insert, pgx.NamedArgs{
		"id": id, "severity": string(v.Severity), "rank": v.Severity.Rank(), "cvss": cvss, "score": v.MaxCVSS(),
		"exploited": len(v.KEV) > 0, "kev": kev, "aliases": aliases,
		"content": ratingContent(v), "build": build, "until": until,
	})
	return nil
}

// contentOf hashes a value by its JSON form, to tell whether a build says
// anything new. Only plain data comes here, which always encodes.
func contentOf(v any) []byte {
	b, _ := json.Marshal(v)
	sum := sha256.Sum256(b)
	return sum[:]
}

// ratingContent hashes what a rating holds of a record.
func ratingContent(v vuln.Vulnerability) []byte {
	return contentOf(vuln.Vulnerability{Ref: v.Ref, Severity: v.Severity, CVSS: v.CVSS, KEV: v.KEV, Aliases: v.Aliases})
}

func nonEmpty(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
