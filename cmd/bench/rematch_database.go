package main

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
)

// advisory is what one provider says under one name.
type advisory struct{ name, provider string }

// rowsOf lists what a database says of each advisory, as text that can be
// compared.
const rowsOf = `
	SELECT v.name, v.provider_id, v.status || x.value || p.ecosystem || ' ' || p.name || COALESCE(h.operating_system_id, 0) || b.value
	  FROM %[1]saffected_package_handles h
	  JOIN %[1]svulnerability_handles v ON v.id = h.vulnerability_id
	  JOIN %[1]sblobs x ON x.id = v.blob_id
	  JOIN %[1]spackages p ON p.id = h.package_id
	  JOIN %[1]sblobs b ON b.id = h.blob_id
	 WHERE h.operating_system_id IS NULL OR h.operating_system_id <= 4`

// changedDatabase installs the older of two databases with some of their
// differences applied. Both number the releases they share alike.
func changedDatabase(ctx context.Context, library *vulndb.Library, dir string, before, after vulndb.Installed, n int) (vulndb.Installed, error) {
	return editedDatabase(ctx, library, dir, before, func(db *sql.DB) error {
		if _, err := db.ExecContext(ctx, `ATTACH DATABASE ? AS newer`, filepath.Join(after.Dir, "vulnerability.db")); err != nil {
			return err
		}
		chosen, err := differences(ctx, db)
		if err != nil {
			return err
		}
		random := rand.New(rand.NewPCG(5, 5))
		random.Shuffle(len(chosen), func(i, j int) { chosen[i], chosen[j] = chosen[j], chosen[i] })
		for _, a := range chosen[:min(n, len(chosen))] {
			if err := apply(ctx, db, a); err != nil {
				return fmt.Errorf("%s of %s: %w", a.name, a.provider, err)
			}
		}
		return nil
	})
}

// sumUp adds up the rows of each advisory of an attached database.
func sumUp(ctx context.Context, db *sql.DB, schema string, sums map[advisory]uint64) error {
	rows, err := db.QueryContext(ctx, fmt.Sprintf(rowsOf, schema))
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var a advisory
		var text string
		if err := rows.Scan(&a.name, &a.provider, &text); err != nil {
			return err
		}
		sum := sha256.Sum256([]byte(text))
		for _, b := range sum[:8] {
			sums[a] += uint64(b) * 1099511628211
		}
	}
	return rows.Err()
}

// differences lists the advisories that two attached databases tell differently.
func differences(ctx context.Context, db *sql.DB) ([]advisory, error) {
	var sums [2]map[advisory]uint64
	for i, schema := range []string{"main.", "newer."} {
		sums[i] = map[advisory]uint64{}
		if err := sumUp(ctx, db, schema, sums[i]); err != nil {
			return nil, err
		}
	}
	var out []advisory
	for a, sum := range sums[1] {
		if sums[0][a] != sum {
			out = append(out, a)
		}
	}
	for a := range sums[0] {
		if _, ok := sums[1][a]; !ok {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b advisory) int {
		return slices.Compare([]string{a.name, a.provider}, []string{b.name, b.provider})
	})
	return out, nil
}

// apply brings one advisory to what the newer database says.
func apply(ctx context.Context, db *sql.DB, a advisory) error {
	// 10000000 is beyond the numbers of the older one.
	for _, statement := range []string{
		`DELETE FROM affected_package_handles WHERE vulnerability_id IN (SELECT id FROM vulnerability_handles WHERE name = ?1 AND provider_id = ?2)`,
		`DELETE FROM vulnerability_handles WHERE name = ?1 AND provider_id = ?2`,
		`INSERT OR IGNORE INTO blobs (id, value) SELECT b.id + 10000000, b.value FROM newer.blobs b WHERE b.id IN (
			SELECT v.blob_id FROM newer.vulnerability_handles v WHERE v.name = ?1 AND v.provider_id = ?2
			UNION SELECT h.blob_id FROM newer.affected_package_handles h JOIN newer.vulnerability_handles v ON v.id = h.vulnerability_id
			 WHERE v.name = ?1 AND v.provider_id = ?2)`,
		`INSERT INTO vulnerability_handles (id, name, status, published_date, modified_date, withdrawn_date, provider_id, blob_id)
			SELECT id + 10000000, name, status, published_date, modified_date, withdrawn_date, provider_id, blob_id + 10000000
			  FROM newer.vulnerability_handles WHERE name = ?1 AND provider_id = ?2`,
		`INSERT OR IGNORE INTO packages (ecosystem, name) SELECT DISTINCT p.ecosystem, p.name FROM newer.affected_package_handles h
			JOIN newer.vulnerability_handles v ON v.id = h.vulnerability_id JOIN newer.packages p ON p.id = h.package_id
			WHERE v.name = ?1 AND v.provider_id = ?2`,
		`INSERT INTO affected_package_handles (vulnerability_id, operating_system_id, package_id, blob_id)
			SELECT h.vulnerability_id + 10000000, h.operating_system_id, m.id, h.blob_id + 10000000
			  FROM newer.affected_package_handles h JOIN newer.vulnerability_handles v ON v.id = h.vulnerability_id
			  JOIN newer.packages p ON p.id = h.package_id
			  JOIN packages m ON m.name = p.name COLLATE NOCASE AND m.ecosystem = p.ecosystem COLLATE NOCASE
			 WHERE v.name = ?1 AND v.provider_id = ?2 AND (h.operating_system_id IS NULL OR h.operating_system_id <= 4)`,
		`INSERT OR IGNORE INTO vulnerability_aliases (name, alias) SELECT name, alias FROM newer.vulnerability_aliases WHERE name = ?1`,
	} {
		if _, err := db.ExecContext(ctx, statement, a.name, a.provider); err != nil {
			return err
		}
	}
	return nil
}

// libcDatabase adds one advisory about the C libraries of all images.
func libcDatabase(ctx context.Context, library *vulndb.Library, dir string, before vulndb.Installed) (vulndb.Installed, error) {
	return editedDatabase(ctx, library, dir, before, func(db *sql.DB) error {
		for i, of := range []struct{ provider, ecosystem, name, format string }{{"debian", "deb", "glibc", "dpkg"}, {"alpine", "apk", "musl", "apk"}} {
			id := 90_000_001 + i
			for _, statement := range []struct {
				query string
				args  []any
			}{
				{`INSERT INTO blobs (id, value) VALUES (?, ?)`, []any{id, `{"id":"CVE-2026-99999","description":"a heap overflow in everything","severities":[{"scheme":"CHML","value":"high","rank":1}]}`}},
				{`INSERT INTO blobs (id, value) VALUES (?, ?)`, []any{id + 100, fmt.Sprintf(`{"ranges":[{"version":{"type":%q,"constraint":""},"fix":{"state":"not-fixed"}}]}`, of.format)}},
				{`INSERT INTO vulnerability_handles (id, name, status, provider_id, blob_id)
					SELECT ?1, 'CVE-2026-99999', 'active', provider_id, ?1 FROM vulnerability_handles WHERE provider_id = ?2 LIMIT 1`, []any{id, of.provider}},
				{`INSERT OR IGNORE INTO packages (ecosystem, name) VALUES (?, ?)`, []any{of.ecosystem, of.name}},
				{`INSERT INTO affected_package_handles (vulnerability_id, operating_system_id, package_id, blob_id)
					SELECT ?1, o.id, p.id, ?1 + 100 FROM operating_systems o JOIN packages p ON p.ecosystem = ?2 AND p.name = ?3 WHERE o.name = ?4`, []any{id, of.ecosystem, of.name, of.provider}},
			} {
				if _, err := db.ExecContext(ctx, statement.query, statement.args...); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// editedDatabase copies a database, changes it, dates it a day later and installs
// it.
func editedDatabase(ctx context.Context, library *vulndb.Library, dir string, in vulndb.Installed, edit func(*sql.DB) error) (vulndb.Installed, error) {
	work, err := os.MkdirTemp(dir, "database-")
	if err != nil {
		return in, err
	}
	defer func() { _ = os.RemoveAll(work) }()
	content, err := os.ReadFile(filepath.Join(in.Dir, "vulnerability.db"))
	if err != nil {
		return in, err
	}
	path := filepath.Join(work, "vulnerability.db")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		return in, err
	}
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		return in, err
	}
	db.SetMaxOpenConns(1) // what is attached belongs to a connection
	err = edit(db)
	if err == nil {
		_, err = db.ExecContext(ctx, `UPDATE db_metadata SET build_timestamp = ?`, in.Built.AddDate(0, 0, 1).UTC().Format("2006-01-02 15:04:05-07:00"))
	}
	if closed := db.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return in, err
	}
	return library.Import(ctx, path, nil)
}
