package match

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

func TestWithoutDatabase(t *testing.T) {
	e := NewEngine(Options{})
	_, err := e.Open(t.Context())
	if !errs.Is(err, errs.Unavailable) || errs.Hint(err) == "" {
		t.Errorf("open: %v, hint %q", err, errs.Hint(err))
	}
	if _, ok := e.Current(); ok {
		t.Error("there is a current build")
	}
	if err := e.Use(t.Context(), vulndb.Installed{Dir: t.TempDir()}); !errs.Is(err, errs.Malformed) {
		t.Errorf("use of an empty directory: %v", err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

func TestBuildNamesEverythingThatDecides(t *testing.T) {
	in := sample(t)
	e := NewEngine(Options{})
	if err := e.Use(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	got := pin(t, e).Build()
	want := vuln.Build{
		Checksum: in.Checksum, SchemaVersion: in.SchemaVersion, Built: in.Built, Source: in.Source, Sample: true,
		Engine: "grype", EngineVersion: engineVersion, Config: configName(),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("build (-want +got):\n%s", diff)
	}
	if _, sum, ok := strings.Cut(got.Config, "-"); !ok || len(sum) != 12 {
		t.Errorf("configuration %q", got.Config)
	}
}

// TestSwapDoesNotCutSessions judges with a pinned session while the engine takes
// another database and is closed.
func TestSwapDoesNotCutSessions(t *testing.T) {
	e := sampleEngine(t)
	inv := take(t, mixed())
	first := e.current
	s, err := e.Pin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want, err := s.Judge(t.Context(), inv.Packages)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Use(t.Context(), sample(t)); err != nil {
		t.Fatal(err)
	}
	if e.current == first {
		t.Error("the engine kept its database")
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := s.Judge(t.Context(), inv.Packages)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("after the swap (-before +after):\n%s", diff)
	}
	if first.holders != 1 {
		t.Errorf("%d hold the first database, want the session alone", first.holders)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if first.holders != 0 {
		t.Errorf("%d hold the first database after the session is closed twice", first.holders)
	}
}

// TestClosedDatabaseIsNotClean takes the database away under a session: grype's
// matchers would swallow the error and call every package clean.
func TestClosedDatabaseIsNotClean(t *testing.T) {
	e := sampleEngine(t)
	s := pin(t, e)
	if err := e.current.provider.Close(); err != nil {
		t.Fatal(err)
	}
	for _, p := range []inventory.Package{{Type: "npm", Name: "lodash", Version: "4.17.15", Language: "javascript"}, {Type: "deb", Name: "openssl", Version: "3.0.9-1", Distro: &inventory.Distro{Type: "debian", Version: "12"}}} {
		if _, err := s.Judge(t.Context(), []inventory.Package{p}); !errs.Is(err, errs.Internal) {
			t.Errorf("%s: %v", p.Name, err)
		}
	}
}

func TestJudgeStopsWithItsContext(t *testing.T) {
	s := pin(t, sampleEngine(t))
	packages := make([]inventory.Package, 100)
	for i := range packages {
		packages[i] = inventory.Package{Type: "npm", Name: "lodash", Version: "4.17.15", Language: "javascript"}
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Judge(stopped, packages); !errs.Is(err, errs.Canceled) {
		t.Errorf("judge: %v", err)
	}
	why := errors.New("why")
	caused, cancelCause := context.WithCancelCause(t.Context())
	cancelCause(why)
	if _, err := s.Judge(caused, packages); !errors.Is(err, why) {
		t.Errorf("judge: %v does not tell the cause", err)
	}
	if _, err := s.Vulnerabilities(stopped, []vuln.Ref{{ID: "CVE-1"}}); !errs.Is(err, errs.Canceled) {
		t.Errorf("vulnerabilities: %v", err)
	}
	if _, _, err := s.Coverage(stopped, &inventory.Inventory{}); !errs.Is(err, errs.Canceled) {
		t.Errorf("coverage: %v", err)
	}
	if _, err := TakeInventory(stopped, mixed().document(t)); !errs.Is(err, errs.Canceled) {
		t.Errorf("inventory: %v", err)
	}
}

// TestSessionsInParallel judges from several sessions at once while databases
// are swapped.
func TestSessionsInParallel(t *testing.T) {
	e := sampleEngine(t)
	inv := take(t, mixed())
	next := sample(t)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 3 {
				s, err := e.Open(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := s.Judge(t.Context(), inv.Packages); err != nil {
					t.Error(err)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 5 {
		if err := e.Use(t.Context(), next); err != nil {
			t.Error(err)
		}
	}
	group.Wait()
}

func TestVulnerabilities(t *testing.T) {
	s := pin(t, sampleEngine(t))
	refs := []vuln.Ref{
		{ID: "GHSA-jfh8-c2jp-5v3q", Namespace: "github:language:java"},
		{ID: "CVE-2024-6387", Namespace: "debian:distro:debian:12"},
		{ID: "CVE-0000-0000", Namespace: "debian:distro:debian:12"},
	}
	lookedUp, err := s.Vulnerabilities(t.Context(), refs)
	if err != nil {
		t.Fatal(err)
	}
	if len(lookedUp) != 2 {
		t.Fatalf("%d described, want the two that exist", len(lookedUp))
	}
	log4shell := lookedUp[0]
	if log4shell.Severity != vuln.SeverityCritical || len(log4shell.KEV) == 0 || !log4shell.KEV[0].Ransomware || log4shell.EPSS == nil || log4shell.EPSS.Score < 0.9 || log4shell.Risk < 90 {
		t.Errorf("log4shell: %+v", log4shell)
	}
	_, err = s.Judge(t.Context(), []inventory.Package{
		{Type: "java-archive", Name: "log4j-core", Version: "2.14.1", Language: "java", Java: &inventory.Java{GroupID: "org.apache.logging.log4j", ArtifactID: "log4j-core"}},
		{Type: "deb", Name: "openssh-server", Version: "1:9.2p1-2", Upstreams: []inventory.Upstream{{Name: "openssh"}}, Distro: &inventory.Distro{Type: "debian", Version: "12"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	met, err := s.Vulnerabilities(t.Context(), refs)
	if err != nil {
		t.Fatal(err)
	}
	for i := range lookedUp {
		lookedUp[i].Aliases, met[i].Aliases = nil, nil // grype adds to them while it matches
	}
	if diff := cmp.Diff(lookedUp, met); diff != "" {
		t.Errorf("a record reads otherwise when met while judging (-looked up +met):\n%s", diff)
	}
}
