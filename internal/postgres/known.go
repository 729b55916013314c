package postgres

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// Known tells what is stored of a manifest; nothing of one never heard of.
func (s *Store) Known(ctx context.Context, digest image.Digest, catalogVersion string) (scan.Known, error) {
	const query = `
		WITH active AS (
			SELECT COALESCE(judged_since, id) AS judged_since, COALESCE(counted_since, id) AS counted_since
			  FROM vuln_build WHERE state = 'active'
		)
		SELECT m.inventory_id IS NOT NULL AND m.catalog_version = $2 AND m.state = 'done',
		       EXISTS (SELECT 1 FROM active) AND NOT EXISTS (
		           SELECT 1 FROM inventory_package ip JOIN package p ON p.id = ip.package_id
		            WHERE ip.inventory_id = m.inventory_id AND ip.excluded = ''
		              AND (p.judged_build IS NULL OR p.judged_build < (SELECT judged_since FROM active)))
		       AND EXISTS (SELECT 1 FROM inventory_summary s WHERE s.inventory_id = m.inventory_id
		                      AND s.build_id >= (SELECT counted_since FROM active))
		  FROM manifest m WHERE m.digest = $1`
	var known scan.Known
	err := s.pool.QueryRow(ctx, query, string(digest), catalogVersion).Scan(&known.Catalogued, &known.Current)
	if errors.Is(err, pgx.ErrNoRows) {
		return scan.Known{}, nil
	}
	return known, wrap("look up manifest", err)
}

// Inventory reads the stored inventory of a catalogued manifest, without its
// occurrences.
func (s *Store) Inventory(ctx context.Context, digest image.Digest) (*inventory.Inventory, error) {
	const query = `
		SELECT i.id, i.distro_input FROM manifest m JOIN inventory i ON i.id = m.inventory_id WHERE m.digest = $1`
	var id int64
	var distro []byte
	if err := s.pool.QueryRow(ctx, query, string(digest)).Scan(&id, &distro); err != nil {
		return nil, wrap("read inventory of "+string(digest), err)
	}
	inv, err := s.inventoryByID(ctx, id)
	if err != nil || len(distro) == 0 {
		return inv, wrap("read inventory", err)
	}
	return inv, errs.Wrap(errs.Malformed, "postgres: decode distro", json.Unmarshal(distro, &inv.Distro))
}

func (s *Store) inventoryByID(ctx context.Context, id int64) (*inventory.Inventory, error) {
	const packages = `
		SELECT p.id, p.fingerprint, p.input FROM package p
		 WHERE p.id IN (SELECT package_id FROM inventory_package WHERE inventory_id = $1)
		 ORDER BY p.fingerprint`
	const members = `SELECT package_id, owners, excluded FROM inventory_package WHERE inventory_id = $1 ORDER BY member`
	inv := &inventory.Inventory{}
	index := map[int64]int{}
	rows, err := s.pool.Query(ctx, packages, id)
	if err != nil {
		return nil, err
	}
	var packageID int64
	var fingerprint, input []byte
	_, err = pgx.ForEachRow(rows, []any{&packageID, &fingerprint, &input}, func() error {
		var p inventory.Package
		if err := s.unpackJSON(input, &p); err != nil {
			return err
		}
		index[packageID] = len(inv.Packages)
		inv.Packages = append(inv.Packages, p)
		inv.Fingerprints = append(inv.Fingerprints, inventory.Fingerprint(fingerprint))
		return nil
	})
	if err != nil {
		return nil, err
	}
	if rows, err = s.pool.Query(ctx, members, id); err != nil {
		return nil, err
	}
	var owners []int64
	var excluded string
	_, err = pgx.ForEachRow(rows, []any{&packageID, &owners, &excluded}, func() error {
		m := inventory.Member{Package: index[packageID], Excluded: excluded}
		for _, o := range owners {
			m.Owners = append(m.Owners, index[o])
		}
		inv.Members = append(inv.Members, m)
		return nil
	})
	return inv, err
}

// Unjudged returns the indexes of fingerprints that no package has of which the
// judgement holds under the build.
func (s *Store) Unjudged(ctx context.Context, build vuln.Build, fingerprints []inventory.Fingerprint) ([]int, error) {
	const query = `
		SELECT fingerprint FROM package
		 WHERE fingerprint = ANY ($1) AND judged_build >= (
		     SELECT COALESCE(judged_since, id) FROM vuln_build WHERE checksum = $2 AND engine = $3 AND engine_version = $4 AND config = $5)`
	wanted := make([][]byte, len(fingerprints))
	for i := range fingerprints {
		wanted[i] = fingerprints[i][:]
	}
	rows, err := s.pool.Query(ctx, query, wanted, build.Checksum, build.Engine, build.EngineVersion, build.Config)
	if err != nil {
		return nil, wrap("find unjudged packages", err)
	}
	judged := map[inventory.Fingerprint]bool{}
	var fingerprint []byte
	_, err = pgx.ForEachRow(rows, []any{&fingerprint}, func() error {
		judged[inventory.Fingerprint(fingerprint)] = true
		return nil
	})
	var todo []int
	for i, f := range fingerprints {
		if !judged[f] {
			todo = append(todo, i)
		}
	}
	return todo, wrap("find unjudged packages", err)
}
