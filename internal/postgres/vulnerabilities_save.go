package postgres

import (
	"bytes"
	"context"
	"sort"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

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
	const tries = 3 // a record that somebody else added without a match may be collected before it is locked
	known, err := vulnerabilityIDs(ctx, tx, all)
	for range tries {
		var fresh []freshRow
		for _, v := range all {
			if _, ok := known[v.Ref]; !ok {
				fresh = append(fresh, newFreshRow(v))
			}
		}
		if err != nil || len(fresh) == 0 {
			break
		}
		if err := insertRows(ctx, tx, insertVulnerabilities, fresh); err != nil {
			return nil, err
		}
		known, err = vulnerabilityIDs(ctx, tx, all)
	}
	if err != nil {
		return nil, err
	}
	return known, saveRatings(ctx, tx, build, all, known)
}

// insertVulnerabilities adds records; $1 are freshRow rows.
const insertVulnerabilities = `
	INSERT INTO vulnerability (name, namespace, description, data_source, urls, cwes, epss, epss_percentile, epss_date, risk)
	SELECT n.name, n.namespace, n.description, n.source, n.urls, n.cwes, n.epss, n.percentile, n.day, n.risk
	  FROM jsonb_to_recordset($1) AS n(name text, namespace text, description text, source text, urls text[], cwes text[],
	                                   epss float8, percentile float8, day date, risk float8)
	ON CONFLICT (name, namespace) DO NOTHING`

// vulnerabilityIDs looks records up, and locks them against collection until the
// commit.
func vulnerabilityIDs(ctx context.Context, tx pgx.Tx, all []vuln.Vulnerability) (map[vuln.Ref]int64, error) {
	const query = `
		SELECT v.name, v.namespace, v.id FROM unnest($1::text[], $2::text[]) AS w(name, namespace)
		  JOIN vulnerability v ON v.name = w.name AND v.namespace = w.namespace
		   FOR KEY SHARE OF v`
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
	var stale []int64
	var fresh []openedRating
	for _, v := range all {
		id := ids[v.Ref]
		r, known := valid[id]
		content := ratingContent(v)
		present := known && r.OpenedBuild <= build
		if present && (r.OpenedBuild == build || bytes.Equal(r.Content, content)) {
			continue
		}
		if present {
			stale = append(stale, id)
		}
		fresh = append(fresh, newOpenedRating(id, v, content, r.Next))
	}
	if len(stale) > 0 {
		const closing = `
			UPDATE vulnerability_rating SET closed_build = $2
			 WHERE vulnerability_id = ANY ($1) AND opened_build <= $2 AND (closed_build IS NULL OR closed_build > $2)`
		if _, err := tx.Exec(ctx, closing, stale, build); err != nil {
			return err
		}
	}
	return insertRows(ctx, tx, insertRatings, fresh, build)
}

// insertRatings opens ratings; $1 are openedRating rows.
const insertRatings = `
	INSERT INTO vulnerability_rating (vulnerability_id, severity, severity_rank, cvss, cvss_score, known_exploited, kev, aliases,
	                                  content, opened_build, closed_build)
	SELECT n.vulnerability, n.severity, n.rank, n.cvss, n.score, n.exploited, n.kev, n.aliases, decode(n.content, 'base64'), $2, n.until
	  FROM jsonb_to_recordset($1) AS n(vulnerability bigint, severity text, rank smallint, cvss jsonb, score float8, exploited boolean,
	                                   kev jsonb, aliases jsonb, content text, until bigint)
	ON CONFLICT (vulnerability_id) WHERE closed_build IS NULL DO NOTHING`

// openedRating is a rating as insertRatings takes it.
type openedRating struct {
	Vulnerability int64                 `json:"vulnerability"`
	Severity      string                `json:"severity"`
	Rank          int                   `json:"rank"`
	CVSS          []vuln.CVSS           `json:"cvss"`
	Score         float64               `json:"score"`
	Exploited     bool                  `json:"exploited"`
	KEV           []vuln.KnownExploited `json:"kev"`
	Aliases       []vuln.Ref            `json:"aliases"`
	Content       []byte                `json:"content"`
	Until         *int64                `json:"until"`
}

func newOpenedRating(id int64, v vuln.Vulnerability, content []byte, until *int64) openedRating {
	return openedRating{
		Vulnerability: id, Severity: string(v.Severity), Rank: v.Severity.Rank(), Score: v.MaxCVSS(), Exploited: len(v.KEV) > 0,
		CVSS: append([]vuln.CVSS{}, v.CVSS...), KEV: append([]vuln.KnownExploited{}, v.KEV...), Aliases: append([]vuln.Ref{}, v.Aliases...),
		Content: content, Until: until,
	}
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
