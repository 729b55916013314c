// Package postgrestest fills a test's database the way scans do, so that tests
// of readers start from a few lines that say what was pushed.
//
// It is for tests only. It must write through postgres.Store alone: what a scan
// cannot bring about, no reader has to deal with.
package postgrestest

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/pgtest"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/sbom"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// Host is the host of the registry "main".
const Host = "registry.example.com"

// World is a database with the registries "main" and "sboms" and an active
// build.
type World struct {
	t     testing.TB
	Store *postgres.Store
	Pool  *pgxpool.Pool
	Build vuln.Build
	// Vulnerabilities describe the records that matches name; a record without
	// an entry is of unknown severity.
	Vulnerabilities map[vuln.Ref]vuln.Vulnerability
}

// New returns a world on a database of its own.
func New(t testing.TB) *World {
	t.Helper()
	return NewWith(t, NewBuild("one"), postgres.Registry{Name: "main", Host: Host}, postgres.Registry{Name: "sboms", Host: "sboms"})
}

// NewWith returns a world with another build and other registries, for tests
// that take the steps of a scan themselves: what pushes takes "main" for granted.
func NewWith(t testing.TB, build vuln.Build, registries ...postgres.Registry) *World {
	t.Helper()
	pool := pgtest.New(t)
	w := &World{t: t, Pool: pool, Store: postgres.New(pool), Build: build, Vulnerabilities: map[vuln.Ref]vuln.Vulnerability{}}
	w.must(w.Store.SyncRegistries(t.Context(), registries))
	_, active, err := w.Store.BeginBuild(t.Context(), build)
	w.must(err)
	if !active {
		t.Fatal("postgrestest: the first build is not active")
	}
	return w
}

// NewBuild returns a database build of that name, two days old.
func NewBuild(name string) vuln.Build {
	return vuln.Build{
		Checksum: "sha256:" + name, SchemaVersion: "6.1.0", Built: time.Now().Add(-48 * time.Hour).UTC().Truncate(time.Second),
		Source: "https://user:secret@mirror.example.com/db.tar.gz?key=secret", Engine: "grype", EngineVersion: "0.121.0", Config: "default",
	}
}

func (w *World) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// Know adds records.
func (w *World) Know(records ...vuln.Vulnerability) {
	for _, v := range records {
		w.Vulnerabilities[v.Ref] = v
	}
}

// Image is an image to push.
type Image struct {
	Name      string // tells digests apart; images of one name are the same
	Platform  string // "linux/amd64" when empty
	Kind      image.Kind
	Distro    *inventory.Distro
	Packages  []Package
	Layers    []scan.Layer
	NoData    []string
	Partial   string
	EndOfLife time.Time
	Failure   error // when set, it is not answered
	Pending   bool  // when set, its scan does not come to it
	Excluded  string
}

// Package is a package of an image.
type Package struct {
	inventory.Package
	Owners    []int // indexes into Image.Packages
	Excluded  string
	Locations []inventory.Location
	Matches   []vuln.Match
	Ignores   []vuln.Ignore
}

// Manifest is what a registry would say of the image.
func (i Image) Manifest() scan.Manifest {
	if i.Platform == "" {
		i.Platform = "linux/amd64"
	}
	platform, _ := image.ParsePlatform(i.Platform)
	if i.Kind == "" {
		i.Kind = image.KindImage
	}
	return scan.Manifest{
		Digest: image.DigestOf([]byte("image " + i.Name)), MediaType: image.MediaTypeOCIManifest, Kind: i.Kind,
		Platform: platform, Size: 500, ContentSize: 1000, Layers: i.Layers, Excluded: i.Excluded,
	}
}

// Push scans an image pushed to a repository of the registry "main", and
// returns its digest.
func (w *World) Push(repository, tag string, i Image) image.Digest {
	w.t.Helper()
	return w.scan("main", repository, tag, i.Manifest(), []Image{i})
}

// PushIndex scans an index of images.
func (w *World) PushIndex(repository, tag string, images ...Image) image.Digest {
	w.t.Helper()
	root := scan.Manifest{MediaType: image.MediaTypeOCIIndex, Kind: image.KindIndex, Size: 300}
	names := ""
	for _, i := range images {
		root.Children = append(root.Children, i.Manifest())
		names += " " + i.Name
	}
	root.Digest = image.DigestOf([]byte("index" + names))
	return w.scan("main", repository, tag, root, images)
}

// Upload judges a document uploaded in place of an image.
func (w *World) Upload(repository, tag string, i Image) image.Digest {
	w.t.Helper()
	i.Kind, i.Platform = image.KindSBOM, ""
	m := i.Manifest()
	m.Platform = image.Platform{}
	_, err := w.Store.SaveUpload(w.t.Context(), "sboms", repository, tag, m.Digest, []byte(`{}`), NoPermits)
	w.must(err)
	return w.run(m, []Image{i})
}

// NoPermits is an enqueue that gives nobody a permit: the world takes scans
// itself.
func NoPermits(context.Context, pgx.Tx, int) error { return nil }

// Deliver records a push and leaves its scan in the queue.
func (w *World) Deliver(registry string, d postgres.Delivery) {
	w.t.Helper()
	_, err := w.Store.Accept(w.t.Context(), registry, []postgres.Delivery{d}, NoPermits)
	w.must(err)
}

func (w *World) scan(registry, repository, tag string, root scan.Manifest, images []Image) image.Digest {
	w.t.Helper()
	w.Deliver(registry, postgres.Delivery{
		DedupeKey: fmt.Sprint(time.Now().UnixNano(), repository, tag), Action: "push", Repository: repository, Tag: tag, Digest: root.Digest,
	})
	return w.run(root, images)
}

// run takes the scan that was just queued through its steps.
func (w *World) run(root scan.Manifest, images []Image) image.Digest {
	w.t.Helper()
	ctx := w.t.Context()
	job := w.Claim()
	w.must(w.Store.SaveManifest(ctx, *job, root))
	pending := false
	for _, i := range images {
		switch {
		case i.Pending:
			pending = true
		case i.Failure != nil:
			w.must(w.Store.SaveFailure(ctx, *job, i.Manifest().Digest, i.Failure))
		case i.Excluded == "" && (i.Kind == "" || i.Kind == image.KindImage || i.Kind == image.KindSBOM):
			w.must(w.Store.Reserve(ctx, *job, i.Manifest().Digest))
			w.must(w.Store.SaveAnswer(ctx, *job, w.answer(i)))
		}
	}
	if !pending {
		w.must(w.Store.SaveFindings(ctx, *job))
		phases := []scan.Phase{{Name: "resolve", Duration: 1500 * time.Millisecond, Bytes: 500}}
		w.must(w.Store.FinishScan(ctx, *job, scan.Result{Digest: root.Digest, Phases: phases, Pulled: 1000}, nil))
	}
	return root.Digest
}

// Release brings into the line what is due, and returns how many that were.
func (w *World) Release() int {
	w.t.Helper()
	n, err := w.Store.ReleaseScans(w.t.Context(), NoPermits)
	w.must(err)
	return n
}

// Claim takes the scan whose turn it is, which must exist.
func (w *World) Claim() *scan.Job {
	w.t.Helper()
	w.Release()
	job, err := w.Store.ClaimScan(w.t.Context())
	w.must(err)
	if job == nil {
		w.t.Fatal("postgrestest: no scan is due")
	}
	return job
}

// answer makes what cataloguing and judging the image would give.
func (w *World) answer(i Image) scan.Answer {
	w.t.Helper()
	builder := inventory.NewBuilder(i.Distro)
	handles := make([]int, len(i.Packages))
	for n, p := range i.Packages {
		handles[n] = builder.Add(p.Package, p.Excluded, inventory.Occurrence{ID: fmt.Sprint(n), Locations: p.Locations})
	}
	for n, p := range i.Packages {
		for _, owner := range p.Owners {
			builder.Own(handles[owner], handles[n])
		}
	}
	a := scan.Answer{
		Manifest: i.Manifest().Digest, CatalogVersion: "1", Partial: i.Partial, Inventory: builder.Build(),
		Build: w.Build, Judged: map[int]inventory.Judgement{}, NoData: i.NoData, EndOfLife: i.EndOfLife,
		Document: &sbom.Document{JSON: i.document(w.t), Tool: "syft", ToolVersion: "1.55.0", Packages: len(i.Packages)},
	}
	seen := map[vuln.Ref]bool{}
	for _, p := range i.Packages {
		n := slices.Index(a.Inventory.Fingerprints, inventory.FingerprintOf(p.Package))
		a.Judged[n] = inventory.Judgement{Matches: p.Matches, Ignores: p.Ignores, Names: []string{p.Name}}
		for _, m := range p.Matches {
			if !seen[m.Ref] {
				seen[m.Ref] = true
				a.Vulnerabilities = append(a.Vulnerabilities, w.record(m.Ref))
			}
		}
	}
	return a
}

func (w *World) record(ref vuln.Ref) vuln.Vulnerability {
	if v, ok := w.Vulnerabilities[ref]; ok {
		return v
	}
	return vuln.Vulnerability{Ref: ref, Severity: vuln.SeverityUnknown}
}

// document is a stand-in for syft's JSON: it names the image and its packages.
func (i Image) document(t testing.TB) []byte {
	names := []string{}
	for _, p := range i.Packages {
		names = append(names, p.Name)
	}
	b, err := json.Marshal(map[string]any{"source": i.Name, "artifacts": names})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Switch makes another build active under which packages keep their matches, as
// the version before does: counts and repositories follow afterwards.
func (w *World) Switch(next vuln.Build) {
	w.t.Helper()
	ctx := w.t.Context()
	id, active, err := w.Store.BeginBuild(ctx, next)
	w.must(err)
	if active {
		return
	}
	_, err = w.Pool.Exec(ctx, `UPDATE package SET judged_build = $1`, id)
	w.must(err)
	w.SwitchAsBefore(id)
	w.Build = next
}

// SwitchAsBefore makes a candidate active and leaves everything else to be settled,
// as the version before does.
func (w *World) SwitchAsBefore(id int64) {
	w.t.Helper()
	for _, statement := range []string{
		`UPDATE vuln_build SET state = 'retired', retired_at = now() WHERE state = 'active'`,
		fmt.Sprintf(`UPDATE vuln_build SET state = 'active', activated_at = now() WHERE id = %d`, id),
	} {
		_, err := w.Pool.Exec(w.t.Context(), statement)
		w.must(err)
	}
}

// Digest makes a digest out of a name.
func Digest(name string) image.Digest {
	return image.Digest(fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(name))))
}
