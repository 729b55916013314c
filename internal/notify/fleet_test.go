package notify_test

import (
	"fmt"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/postgres/postgrestest"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// fleet is a world with a base image that others are built on.
type fleet struct {
	*postgrestest.World
	t *testing.T
}

func layer(name string, size int64) scan.Layer {
	return scan.Layer{Digest: postgrestest.Digest(name), DiffID: postgrestest.Digest(name + " diff"), Size: size, CreatedBy: "ADD " + name + " /"}
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	return &fleet{postgrestest.New(t), t}
}

func (f *fleet) exec(query string, args ...any) {
	f.t.Helper()
	if _, err := f.Pool.Exec(f.t.Context(), query, args...); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fleet) count(from string, args ...any) (n int) {
	f.t.Helper()
	if err := f.Pool.QueryRow(f.t.Context(), "SELECT count(*) FROM "+from, args...).Scan(&n); err != nil {
		f.t.Fatal(err)
	}
	return n
}

// build pushes the base and images on it: each with the base's packages, one of its
// own and a layer of its own. The first is pushed as a registry would; the others
// are its copies with inventories and layers of their own.
func (f *fleet) build(repositories, images int) {
	f.t.Helper()
	base := postgrestest.Package{Package: postgrestest.DebPackage("libssl3", "3.0.11-1", "amd64")}
	layers := []scan.Layer{layer("rootfs", 30<<20), layer("libssl", 2<<20)}
	f.Push("base/debian", "12", postgrestest.Image{Name: "base", Distro: postgrestest.Debian, Layers: layers, Packages: []postgrestest.Package{base}})
	f.Push("team/app-1", "1", postgrestest.Image{Name: "app", Distro: postgrestest.Debian, Layers: append(layers, layer("app", 1<<20)),
		Packages: []postgrestest.Package{base, {Package: postgrestest.DebPackage("app", "1", "amd64")}}})
	app := image.DigestOf([]byte("image app"))
	f.exec(`INSERT INTO repository (registry_id, name, compared)
		SELECT (SELECT id FROM registry WHERE name = 'main'), 'team/app-' || n, '' FROM generate_series(2, $1::int) n`, repositories)
	f.exec(`WITH one AS (SELECT * FROM manifest WHERE digest = $1), inv AS (
			INSERT INTO inventory (fingerprint, distro, distro_input, package_count)
			SELECT sha256(('copy ' || n)::bytea), i.distro, i.distro_input, i.package_count
			  FROM one JOIN inventory i ON i.id = one.inventory_id, generate_series(2, $2::int) n RETURNING id, fingerprint
		), copy AS (
			INSERT INTO manifest (digest, kind, media_type, os, architecture, state, inventory_id, scanned_at)
			SELECT 'sha256:' || encode(sha256(('image copy ' || n)::bytea), 'hex'), one.kind, one.media_type, one.os, one.architecture, 'done', inv.id, now()
			  FROM one, generate_series(2, $2::int) n JOIN inv ON inv.fingerprint = sha256(('copy ' || n)::bytea) RETURNING id, inventory_id
		), layers AS (
			INSERT INTO manifest_layer (manifest_id, position, digest, diff_id, size, created_by)
			SELECT copy.id, l.position, CASE WHEN l.position < 2 THEN l.digest ELSE 'sha256:' || encode(sha256(('layer ' || copy.id)::bytea), 'hex') END,
			       l.diff_id, l.size, l.created_by FROM copy, one JOIN manifest_layer l ON l.manifest_id = one.id
		), packages AS (
			INSERT INTO inventory_package (inventory_id, member, package_id, owners, excluded)
			SELECT copy.inventory_id, p.member, p.package_id, p.owners, p.excluded FROM copy, one JOIN inventory_package p ON p.inventory_id = one.inventory_id
		), place AS (
			SELECT c.id, r.id AS repository, 'v' || c.n AS tag
			  FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM copy) c JOIN repository r ON r.name = 'team/app-' || (1 + c.n % $3)
		), linked AS (
			INSERT INTO repository_manifest (repository_id, manifest_id) SELECT repository, id FROM place
		)
		INSERT INTO tag (repository_id, name, manifest_id, answered_id, moved_at, checked_at) SELECT repository, tag, id, id, now(), now() FROM place`,
		app, images, repositories)
	f.exec(`ANALYZE`)
}

// adopt makes a new build active that says one thing more: that a vulnerability is
// in libssl3. What changes in the findings of the repositories is written as the
// switch of a build writes it.
func (f *fleet) adopt(name string, severity vuln.Severity) {
	f.t.Helper()
	f.open(name)
	f.tell(name, severity, "opened")
}

// open switches to a build in which libssl3 has a vulnerability.
func (f *fleet) open(name string) {
	f.t.Helper()
	f.exec(`UPDATE vuln_build SET state = 'retired' WHERE state = 'active'`)
	f.exec(`INSERT INTO vuln_build (checksum, engine, engine_version, config, schema_version, built, state)
		VALUES ('sha256:' || $1, 'grype', '0.121.0', 'default', '6.1.0', now(), 'active')`, name)
	f.exec(`WITH v AS (
			INSERT INTO vulnerability (name, namespace, description, data_source)
			VALUES ($1, 'debian:distro:debian:12', 'A flaw in <!channel> libssl', 'https://security-tracker.debian.org/tracker/' || $1) RETURNING id
		)
		INSERT INTO package_match (package_id, vulnerability_id, canonical, ids, fix_state, fix_versions, suggested_version, match_type, matcher,
		                           confidence, details, content, opened_build)
		SELECT p.id, v.id, $1, ARRAY[$1], 'fixed', ARRAY['3.0.15-1'], '3.0.15-1', 'exact-direct-match', 'dpkg-matcher', 1, '[]', '\x00', b.id
		  FROM v, package p, vuln_build b WHERE p.name = 'libssl3' AND b.state = 'active'`, name)
	f.settle()
}

// tell writes events of the active build for every repository that holds libssl3.
func (f *fleet) tell(name string, severity vuln.Severity, kind string) {
	f.t.Helper()
	f.exec(tellQuery, name, string(severity), severity.Rank(), kind, "team/%")
}

const tellQuery = `
	WITH held AS (
		SELECT DISTINCT l.repository_id FROM live_image l JOIN inventory_package ip ON ip.inventory_id = l.inventory_id
		  JOIN package p ON p.id = ip.package_id JOIN repository r ON r.id = l.repository_id
		 WHERE p.name = 'libssl3' AND r.name LIKE $5
	), found AS (
		INSERT INTO repository_finding (repository_id, package_type, package_name, vulnerability, severity, severity_rank, fixable, known_exploited, opened_at)
		SELECT repository_id, 'deb', 'libssl3', $1, $2, $3, true, false, now() FROM held
		ON CONFLICT (repository_id, package_type, package_name, vulnerability) DO UPDATE
		SET closed_at = CASE WHEN $4 = 'closed' THEN now() END
	)
	INSERT INTO finding_event (repository_id, package_type, package_name, vulnerability, kind, severity, cause, build_id)
	SELECT repository_id, 'deb', 'libssl3', $1, $4, $2, 'build', (SELECT id FROM vuln_build WHERE state = 'active') FROM held`

// settle has everything counted under the active build.
func (f *fleet) settle() {
	f.t.Helper()
	f.exec(`UPDATE inventory_summary SET build_id = (SELECT id FROM vuln_build WHERE state = 'active')`)
	f.exec(`UPDATE repository SET compared = (SELECT id FROM vuln_build WHERE state = 'active') || '/' WHERE compared <> ''`)
}

func (f *fleet) String() string { return fmt.Sprintf("%d images", f.count("manifest")) }
