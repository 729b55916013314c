package postgres_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/postgres/postgrestest"
	"github.com/tidewaiter/tidewaiter/internal/sbom"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// fixture takes the steps of a scan one by one; where only their outcome
// matters, a world of postgrestest is enough.
type fixture struct {
	t     *testing.T
	world *postgrestest.World
	pool  *pgxpool.Pool
	store *postgres.Store
}

var build1 = vuln.Build{Checksum: "sha256:one", SchemaVersion: "v6.1.0", Built: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), Engine: "grype", EngineVersion: "v0.121.0", Config: "c"}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	w := postgrestest.NewWith(t, build1, postgres.Registry{Name: "prod", Host: "registry.example"}, postgres.Registry{Name: "sboms", Host: "sboms"})
	return &fixture{t: t, world: w, pool: w.Pool, store: w.Store}
}

func (f *fixture) ok(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func noPermits(context.Context, pgx.Tx, int) error { return nil }

// push records a push event and returns what became of it.
func (f *fixture) push(key, repository, tag string, digest image.Digest) postgres.Accepted {
	f.t.Helper()
	done, err := f.store.Accept(f.t.Context(), "prod", []postgres.Delivery{{DedupeKey: key, Action: "push", Repository: repository, Tag: tag, Digest: digest}}, noPermits)
	f.ok(err)
	return done
}

// claim takes the next scan, which must exist.
func (f *fixture) claim() scan.Job {
	f.t.Helper()
	return *f.world.Claim()
}

// release brings into the line what is due.
func (f *fixture) release() int { return f.world.Release() }

// count returns the number of rows a query finds.
func (f *fixture) count(query string, args ...any) int {
	f.t.Helper()
	var n int
	f.ok(f.pool.QueryRow(f.t.Context(), "SELECT count(*) FROM "+query, args...).Scan(&n))
	return n
}

func digestOf(name string) image.Digest { return image.DigestOf([]byte(name)) }

func imageManifest(name string) scan.Manifest {
	return scan.Manifest{
		Digest: digestOf(name), MediaType: image.MediaTypeOCIManifest, Kind: image.KindImage,
		Platform: image.Platform{OS: "linux", Architecture: "amd64"}, Size: 500, ContentSize: 1000,
		Layers: []scan.Layer{{Digest: digestOf(name + "-layer"), DiffID: digestOf(name + "-diff"), Size: 1000, CreatedBy: "COPY . /"}},
	}
}

func npm(name, version string) inventory.Package {
	return inventory.Package{Type: "npm", Name: name, Version: version, Language: "javascript", PURL: fmt.Sprintf("pkg:npm/%s@%s", name, version)}
}

func finding(id string, aliases ...string) vuln.Match {
	m := vuln.Match{
		Ref: vuln.Ref{ID: id, Namespace: "github:language:javascript"}, Fix: vuln.Fix{State: vuln.FixStateFixed, Versions: []string{"9.9.9"}},
		SuggestedVersion: "9.9.9", MatchType: "exact-direct-match", Matcher: "javascript-matcher", Confidence: 1, Details: []byte(`[]`),
	}
	for _, a := range aliases {
		m.Aliases = append(m.Aliases, vuln.Ref{ID: a, Namespace: "nvd:cpe"})
	}
	return m
}

// answer judges the given packages of an image: matches by package name.
func answer(name string, matches map[string][]vuln.Match, packages ...inventory.Package) scan.Answer {
	b := inventory.NewBuilder(nil)
	for i, p := range packages {
		b.Add(p, "", inventory.Occurrence{ID: fmt.Sprint(i), Locations: []inventory.Location{{Path: "/app/" + p.Name}}})
	}
	inv := b.Build()
	a := scan.Answer{
		Manifest: digestOf(name), CatalogVersion: "v1", Inventory: inv, Build: build1,
		Document: &sbom.Document{JSON: []byte(`{"of":"` + name + `"}`), Tool: "syft", ToolVersion: "1", Packages: len(packages)},
		Judged:   map[int]inventory.Judgement{},
	}
	for n, p := range inv.Packages {
		a.Judged[n] = inventory.Judgement{Matches: matches[p.Name]}
		for _, m := range matches[p.Name] {
			a.Vulnerabilities = append(a.Vulnerabilities, vuln.Vulnerability{Ref: m.Ref, Severity: vuln.SeverityHigh, Risk: 10})
		}
	}
	return a
}

// scanned pushes, claims, answers and finishes one image.
func (f *fixture) scanned(repository, tag, name string, a scan.Answer) scan.Job {
	f.t.Helper()
	f.push(repository+tag+name+fmt.Sprint(time.Now().UnixNano()), repository, tag, "")
	job := f.claim()
	f.ok(f.store.SaveManifest(f.t.Context(), job, imageManifest(name)))
	f.ok(f.store.Reserve(f.t.Context(), job, digestOf(name)))
	f.ok(f.store.SaveAnswer(f.t.Context(), job, a))
	f.ok(f.store.SaveFindings(f.t.Context(), job))
	f.ok(f.store.FinishScan(f.t.Context(), job, scan.Result{Digest: digestOf(name)}, nil))
	return job
}

// toJudge selects everything for a candidate and returns it.
func (f *fixture) toJudge(id int64) (out []scan.Stored) {
	f.t.Helper()
	shards, err := f.store.SelectPackages(f.t.Context(), id, scan.Change{Everything: "a test"})
	f.ok(err)
	for _, shard := range shards {
		packages, err := f.store.PackagesOf(f.t.Context(), shard, 0, 100)
		f.ok(err)
		out = append(out, packages...)
	}
	return out
}
