package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// RecordsToDescribe lists the records that the candidate may describe otherwise:
// of those that changed the ones that are known, or where nobody knows what changed,
// all that packages match. Those that come later are described with the switch.
func (s *Store) RecordsToDescribe(ctx context.Context, build int64, changed []vuln.Ref) ([]vuln.Ref, error) {
	const query = `
		SELECT v.name, v.namespace FROM vulnerability v
		 WHERE (SELECT r.everything <> '' FROM rematch r WHERE r.build_id = @build)
		   AND EXISTS (SELECT 1 FROM package_match m WHERE m.vulnerability_id = v.id
		                  AND m.opened_build <= @build AND (m.closed_build IS NULL OR m.closed_build > @build))
		UNION
		SELECT v.name, v.namespace FROM unnest(@names::text[], @namespaces::text[]) AS c(name, namespace)
		  JOIN vulnerability v ON v.name = c.name AND v.namespace = c.namespace
		ORDER BY 1, 2`
	names, namespaces := make([]string, len(changed)), make([]string, len(changed))
	for i, r := range changed {
		names[i], namespaces[i] = cleanText(r.ID), cleanText(r.Namespace)
	}
	if err := s.markRecords(ctx, build); err != nil {
		return nil, err
	}
	rows, err := s.pool.Query(ctx, query, pgx.NamedArgs{"build": build, "names": names, "namespaces": namespaces})
	if err != nil {
		return nil, wrap("list records to describe", err)
	}
	refs, err := collectRefs(rows)
	return refs, wrap("list records to describe", err)
}

// markRecords draws the line behind which records are late, while nobody stores any.
func (s *Store) markRecords(ctx context.Context, build int64) error {
	const mark = `UPDATE rematch SET vulnerability_mark = COALESCE((SELECT max(id) FROM vulnerability), 0) WHERE build_id = $1`
	return s.inTx(ctx, "mark records", func(tx pgx.Tx) error {
		if err := lockBuilds(ctx, tx); err != nil {
			return err
		}
		if err := mustBeCandidate(ctx, tx, build); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, mark, build)
		return err
	})
}

func collectRefs(rows pgx.Rows) (refs []vuln.Ref, err error) {
	var ref vuln.Ref
	_, err = pgx.ForEachRow(rows, []any{&ref.ID, &ref.Namespace}, func() error {
		refs = append(refs, ref)
		return nil
	})
	return refs, err
}

// SaveRecords brings what is told of known records to what the candidate says.
// Ratings are opened and closed by it, unless every package was judged and has
// brought its own; what is kept once per record waits for the switch. Equal ones
// stay unwritten.
func (s *Store) SaveRecords(ctx context.Context, build int64, records []vuln.Vulnerability) error {
	return s.inTxAgain(ctx, "save records", func(tx pgx.Tx) error {
		if err := shareCandidate(ctx, tx, build); err != nil {
			return err
		}
		return saveRecords(ctx, tx, build, records)
	})
}

func saveRecords(ctx context.Context, tx pgx.Tx, build int64, records []vuln.Vulnerability) error {
	ids, err := vulnerabilityIDs(ctx, tx, records)
	if err != nil {
		return err
	}
	known := make([]vuln.Vulnerability, 0, len(records))
	fresh := make([]freshRow, 0, len(records))
	for _, v := range records {
		if ids[v.Ref] != 0 {
			known, fresh = append(known, v), append(fresh, newFreshRow(v))
		}
	}
	var rated bool
	if err := tx.QueryRow(ctx, `SELECT everything <> '' FROM rematch WHERE build_id = $1`, build).Scan(&rated); err != nil {
		return gone(err, build)
	}
	if !rated {
		if err := closeRatings(ctx, tx, build, known); err != nil {
			return err
		}
		if err := saveRatings(ctx, tx, build, known, ids); err != nil {
			return err
		}
	}
	return insertRows(ctx, tx, stageRecords, fresh)
}

// stageRecords keeps for the switch what records say otherwise; $1 are freshRow
// rows.
const stageRecords = `
	INSERT INTO rematch_record
	SELECT v.id, n.description, n.source, n.urls, n.cwes, n.epss, n.percentile, n.day, n.risk
	  FROM jsonb_to_recordset($1) AS n(name text, namespace text, description text, source text, urls text[], cwes text[],
	                                   epss float8, percentile float8, day date, risk float8)
	  JOIN vulnerability v ON v.name = n.name AND v.namespace = n.namespace
	 WHERE (v.description, v.data_source, v.urls, v.cwes, v.epss, v.epss_percentile, v.epss_date, v.risk)
	       IS DISTINCT FROM (n.description, n.source, n.urls, n.cwes, n.epss, n.percentile, n.day, n.risk)
	ON CONFLICT (vulnerability_id) DO UPDATE SET description = EXCLUDED.description, data_source = EXCLUDED.data_source,
	    urls = EXCLUDED.urls, cwes = EXCLUDED.cwes, epss = EXCLUDED.epss, epss_percentile = EXCLUDED.epss_percentile,
	    epss_date = EXCLUDED.epss_date, risk = EXCLUDED.risk`

// applyRecords writes what waited for the switch.
func applyRecords(ctx context.Context, tx pgx.Tx) error {
	const update = `
		UPDATE vulnerability v SET description = n.description, data_source = n.data_source, urls = n.urls, cwes = n.cwes,
		       epss_before = CASE WHEN v.epss IS DISTINCT FROM n.epss THEN v.epss ELSE v.epss_before END,
		       epss = n.epss, epss_percentile = n.epss_percentile, epss_date = n.epss_date, risk = n.risk
		  FROM rematch_record n WHERE v.id = n.vulnerability_id`
	_, err := tx.Exec(ctx, update)
	return err
}

// describeLate describes the records that appeared since the others were.
func describeLate(ctx context.Context, tx pgx.Tx, build int64, session scan.Session) error {
	const query = `
		SELECT v.name, v.namespace FROM vulnerability v
		 WHERE v.id > (SELECT r.vulnerability_mark FROM rematch r WHERE r.build_id = $1) ORDER BY v.id`
	rows, err := tx.Query(ctx, query, build)
	if err != nil {
		return err
	}
	refs, err := collectRefs(rows)
	if err != nil || len(refs) == 0 {
		return err
	}
	records, err := session.Vulnerabilities(ctx, refs)
	if err != nil {
		return err
	}
	return saveRecords(ctx, tx, build, records)
}
