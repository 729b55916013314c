package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/match"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
)

// tables are those that grow with images, in the order of the table.
var tables = []string{"sbom", "package", "inventory_package", "package_match", "package_ignore", "vulnerability", "vulnerability_rating", "repository_finding", "finding_event"}

// storage is the rows of each table and the bytes of all.
type storage struct {
	rows  map[string]int64
	bytes int64
}

func (r *rig) storage(ctx context.Context) (storage, error) {
	s := storage{rows: map[string]int64{}}
	for _, t := range tables {
		var rows, bytes int64
		query := fmt.Sprintf(`SELECT (SELECT count(*) FROM %[1]s),
			COALESCE((SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('%[1]s')), pg_total_relation_size('%[1]s'))::bigint`, t)
		if err := r.pool.QueryRow(ctx, query).Scan(&rows, &bytes); err != nil {
			return s, err
		}
		s.rows[t] = rows
		s.bytes += bytes
	}
	return s, nil
}

func printStorage(names []string, results map[string]*measured) {
	header, rule := "| image |", "|---|"
	for _, t := range tables {
		header += " " + t + " |"
		rule += "---:|"
	}
	fmt.Println(header + " KiB |")
	fmt.Println(rule + "---:|")
	for _, n := range names {
		before, after := results[n].storage[0], results[n].storage[1]
		fmt.Printf("| %s |", n)
		for _, t := range tables {
			fmt.Printf(" %d |", after.rows[t]-before.rows[t])
		}
		fmt.Printf(" %d |\n", (after.bytes-before.bytes)/1024)
	}
}

// rejudge judges the stored packages of one image's inventory again, as a new
// database build would, and times it.
func (r *rig) rejudge(ctx context.Context, tag string, m *measured) error {
	var digest string
	const query = `SELECT m.digest FROM tag t JOIN manifest m ON m.id = t.manifest_id WHERE t.name = $1`
	if err := r.pool.QueryRow(ctx, query, tag).Scan(&digest); err != nil {
		return err
	}
	inv, err := postgres.New(r.pool).Inventory(ctx, image.Digest(digest))
	if err != nil {
		return err
	}
	in, err := r.library.Current()
	if err != nil {
		return err
	}
	engine := match.NewEngine(match.Options{})
	if err := engine.Use(ctx, in); err != nil {
		return err
	}
	defer func() { _ = engine.Close() }()
	session, err := engine.Open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = session.Close() }()
	var packages []inventory.Package
	for _, n := range inv.Matchable() {
		packages = append(packages, inv.Packages[n])
	}
	start := time.Now()
	if _, err := session.Judge(ctx, packages); err != nil {
		return err
	}
	m.rejudge = append(m.rejudge, time.Since(start))
	m.packages = len(packages)
	return nil
}

// grypeCache lays the current database out as the grype CLI looks for it.
func grypeCache(library *vulndb.Library) (string, error) {
	in, err := library.Current()
	if err != nil {
		return "", err
	}
	root := filepath.Join(filepath.Dir(filepath.Dir(filepath.Dir(in.Dir))), "grype-cache")
	if _, err := os.Stat(root); err == nil {
		return root, nil
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", err
	}
	return root, os.Symlink(in.Dir, filepath.Join(root, "6"))
}

// grypeSettings keep the grype CLI to that database and off the network.
func grypeSettings(cache string) []string {
	return []string{"GRYPE_DB_CACHE_DIR=" + cache, "GRYPE_DB_AUTO_UPDATE=false", "GRYPE_DB_VALIDATE_AGE=false",
		"GRYPE_CHECK_FOR_APP_UPDATE=false", "GRYPE_REGISTRY_INSECURE_USE_HTTP=true"}
}
