package postgres

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

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
		 WHERE s.build_id < (SELECT COALESCE(counted_since, id) FROM vuln_build WHERE state = 'active')
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

// SettleRepositories compares, one transaction each, the repositories that were
// compared under a build whose findings no longer hold, and returns how many.
func (s *Store) SettleRepositories(ctx context.Context) (int, error) {
	const query = `
		SELECT r.id FROM repository r
		 WHERE r.compared <> ''
		   AND split_part(r.compared, '/', 1)::bigint < (SELECT COALESCE(counted_since, id) FROM vuln_build WHERE state = 'active')
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

// Unsettled reports whether counts or repositories do not hold under the active
// build: a switch of the version before is under way, or was cut off.
func (s *Store) Unsettled(ctx context.Context) (bool, error) {
	const query = `
		WITH active AS (SELECT COALESCE(counted_since, id) AS since FROM vuln_build WHERE state = 'active')
		SELECT EXISTS (SELECT 1 FROM inventory_summary, active WHERE build_id < active.since)
		    OR EXISTS (SELECT 1 FROM repository, active WHERE compared <> '' AND split_part(compared, '/', 1)::bigint < active.since)`
	var open bool
	err := s.pool.QueryRow(ctx, query).Scan(&open)
	return open, wrap("look for unsettled counts", err)
}
