package postgres

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// refreshVulnerabilities brings what is kept once per record, texts, links and
// exploitability, to what the active build says; equal rows stay unwritten.
func refreshVulnerabilities(ctx context.Context, tx pgx.Tx, records []vuln.Vulnerability) error {
	const update = `
		UPDATE vulnerability v SET description = n.description, data_source = n.source, urls = n.urls, cwes = n.cwes,
		       epss = n.epss, epss_before = CASE WHEN v.epss IS DISTINCT FROM n.epss THEN v.epss ELSE v.epss_before END, epss_percentile = n.percentile, epss_date = n.day, risk = n.risk
		  FROM jsonb_to_recordset($1) AS n(name text, namespace text, description text, source text, urls text[], cwes text[],
		                                   epss float8, percentile float8, day date, risk float8)
		 WHERE v.name = n.name AND v.namespace = n.namespace
		   AND (v.description, v.data_source, v.urls, v.cwes, v.epss, v.epss_percentile, v.epss_date, v.risk)
		       IS DISTINCT FROM (n.description, n.source, n.urls, n.cwes, n.epss, n.percentile, n.day, n.risk)`
	const batch = 2000
	for part := range slices.Chunk(records, batch) {
		rows := make([]freshRow, len(part))
		for i, v := range part {
			rows[i] = newFreshRow(v)
		}
		encoded, err := json.Marshal(rows)
		if err != nil {
			return errs.Wrap(errs.Internal, "postgres: encode records", err)
		}
		if _, err := tx.Exec(ctx, update, encoded); err != nil {
			return err
		}
	}
	return nil
}

// freshRow is a vulnerability as refreshVulnerabilities hands it over.
type freshRow struct {
	Name        string   `json:"name"`
	Namespace   string   `json:"namespace"`
	Description string   `json:"description"`
	Source      string   `json:"source"`
	URLs        []string `json:"urls"`
	CWEs        []string `json:"cwes"`
	EPSS        *float64 `json:"epss"`
	Percentile  *float64 `json:"percentile"`
	Day         *string  `json:"day"`
	Risk        float64  `json:"risk"`
}

func newFreshRow(v vuln.Vulnerability) freshRow {
	row := freshRow{
		Name: v.ID, Namespace: v.Namespace, Description: cleanText(v.Description), Source: cleanText(v.DataSource),
		URLs: cleanAll(v.URLs), CWEs: cleanAll(v.CWEs), Risk: v.Risk,
	}
	if v.EPSS != nil {
		row.EPSS, row.Percentile, row.Day = &v.EPSS.Score, &v.EPSS.Percentile, nonEmpty(v.EPSS.Date)
	}
	return row
}
