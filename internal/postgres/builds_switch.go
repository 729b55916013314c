package postgres

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// MatchedVulnerabilities lists the records that packages match under a build.
func (s *Store) MatchedVulnerabilities(ctx context.Context, build int64) ([]vuln.Ref, error) {
	const query = `
		SELECT v.name, v.namespace FROM vulnerability v
		 WHERE EXISTS (SELECT 1 FROM package_match m WHERE m.vulnerability_id = v.id
		                  AND m.opened_build <= $1 AND (m.closed_build IS NULL OR m.closed_build > $1))
		 ORDER BY v.id`
	rows, err := s.pool.Query(ctx, query, build)
	if err != nil {
		return nil, wrap("list matched vulnerabilities", err)
	}
	var refs []vuln.Ref
	var ref vuln.Ref
	_, err = pgx.ForEachRow(rows, []any{&ref.ID, &ref.Namespace}, func() error {
		refs = append(refs, ref)
		return nil
	})
	return refs, wrap("list matched vulnerabilities", err)
}

// SwitchBuild makes the candidate the active build, unless packages appeared
// that it has not judged: then it returns kind Conflict. Texts and
// exploitability of the given records are written with the switch. Summaries
// and the repositories' findings follow, one by one.
func (s *Store) SwitchBuild(ctx context.Context, build int64, records []vuln.Vulnerability) error {
	const unjudged = `SELECT EXISTS (SELECT 1 FROM package WHERE judged_build < $1)`
	const retire = `UPDATE vuln_build SET state = 'retired', retired_at = now() WHERE state = 'active'`
	const activate = `UPDATE vuln_build SET state = 'active', activated_at = now() WHERE id = $1 AND state = 'candidate'`
	return s.inTx(ctx, "switch build", func(tx pgx.Tx) error {
		if err := lockBuilds(ctx, tx); err != nil {
			return err
		}
		var missing bool
		if err := tx.QueryRow(ctx, unjudged, build).Scan(&missing); err != nil {
			return err
		}
		if missing {
			return errs.New(errs.Conflict, "postgres: packages appeared that the candidate has not judged")
		}
		if _, err := tx.Exec(ctx, retire); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, activate, build)
		if err == nil && tag.RowsAffected() == 0 {
			return errs.New(errs.Canceled, "postgres: build %d is no longer the candidate", build)
		}
		if err != nil {
			return err
		}
		if err := refreshVulnerabilities(ctx, tx, records); err != nil {
			return err
		}
		return s.escalateLikely(ctx, tx, build)
	})
}

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

// UnsettledInventories returns up to limit of them. Of the packages they hold
// the types, once for those that are judged and once for those left out because
// they have no version: coverage asks for no more.
func (s *Store) UnsettledInventories(ctx context.Context, limit int) ([]scan.Unsettled, error) {
	const query = `
		SELECT i.id, i.distro_input, ARRAY(
		           SELECT DISTINCT p.type FROM inventory_package ip JOIN package p ON p.id = ip.package_id
		            WHERE ip.inventory_id = i.id AND ip.excluded = '' ORDER BY p.type),
		       ARRAY(
		           SELECT DISTINCT p.type FROM inventory_package ip JOIN package p ON p.id = ip.package_id
		            WHERE ip.inventory_id = i.id AND ip.excluded = $2 ORDER BY p.type)
		  FROM inventory_summary s JOIN inventory i ON i.id = s.inventory_id
		 WHERE s.build_id <> (SELECT id FROM vuln_build WHERE state = 'active')
		 ORDER BY i.id LIMIT $1`
	rows, err := s.pool.Query(ctx, query, limit, inventory.ExcludedNoVersion)
	if err != nil {
		return nil, wrap("list unsettled inventories", err)
	}
	var out []scan.Unsettled
	var id int64
	var distro []byte
	var judged, versionless []string
	_, err = pgx.ForEachRow(rows, []any{&id, &distro, &judged, &versionless}, func() error {
		u := scan.Unsettled{ID: id}
		if len(distro) > 0 {
			if err := json.Unmarshal(distro, &u.Inventory.Distro); err != nil {
				return errs.Wrap(errs.Malformed, "postgres: decode distro", err)
			}
		}
		addTypes(&u.Inventory, judged, "")
		addTypes(&u.Inventory, versionless, inventory.ExcludedNoVersion)
		out = append(out, u)
		return nil
	})
	return out, wrap("list unsettled inventories", err)
}

// addTypes adds a package without a name for each type.
func addTypes(inv *inventory.Inventory, types []string, excluded string) {
	for _, t := range types {
		inv.Members = append(inv.Members, inventory.Member{Package: len(inv.Packages), Excluded: excluded})
		inv.Packages = append(inv.Packages, inventory.Package{Type: t, Distro: inv.Distro})
	}
}

// SettleInventory counts an inventory's findings under the active build. It
// returns kind Conflict when that is not the given one.
func (s *Store) SettleInventory(ctx context.Context, id int64, build vuln.Build, noData []string, endOfLife time.Time) error {
	return s.inTx(ctx, "settle inventory", func(tx pgx.Tx) error {
		active, err := holdActiveBuild(ctx, tx, build)
		if err != nil {
			return err
		}
		return saveSummary(ctx, tx, id, active, noData, endOfLife)
	})
}

// SettleRepositories compares every repository with what it had before the
// active build came, one transaction each, and returns how many were looked at.
func (s *Store) SettleRepositories(ctx context.Context) (int, error) {
	const query = `
		SELECT r.id FROM repository r
		 WHERE r.compared <> '' AND r.compared NOT LIKE (SELECT id FROM vuln_build WHERE state = 'active')::text || '/%'
		 ORDER BY r.id`
	rows, err := s.pool.Query(ctx, query)
	if err != nil {
		return 0, wrap("list repositories to settle", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return 0, wrap("list repositories to settle", err)
	}
	for i, id := range ids {
		err := s.inTx(ctx, "settle repository", func(tx pgx.Tx) error {
			return s.compareRepository(ctx, tx, id, "build", nil)
		})
		if err != nil {
			return i, err
		}
	}
	return len(ids), nil
}

// Unsettled reports whether counts or repositories are not of the active build:
// a switch is under way, or was cut off.
func (s *Store) Unsettled(ctx context.Context) (bool, error) {
	const query = `
		WITH active AS (SELECT id FROM vuln_build WHERE state = 'active')
		SELECT EXISTS (SELECT 1 FROM inventory_summary, active WHERE build_id < active.id)
		    OR EXISTS (SELECT 1 FROM repository, active WHERE compared <> '' AND compared NOT LIKE active.id || '/%')`
	var open bool
	err := s.pool.QueryRow(ctx, query).Scan(&open)
	return open, wrap("look for unsettled counts", err)
}
