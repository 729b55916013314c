package app_test

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/app"
	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
)

// replica is another process over the Postgres of a service, with a directory of
// databases of its own.
type replica struct {
	url, library string
}

// replica runs one until the test ends.
func (s *service) replica(shared config.Config) replica {
	s.t.Helper()
	r := replica{library: filepath.Join(s.t.TempDir(), "vulndb")}
	shared.Listen, shared.VulnDB.Dir = "127.0.0.1:0", r.library
	a, err := app.New(s.t.Context(), app.Options{Config: shared, Logger: testLogger(s.t), Catalogues: true})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := a.Listen(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	r.url = "http://" + a.Addr()
	s.runUntilCleanup(a)
	return r
}

// eventually waits for something outside of the database.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within a minute", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// ready reports whether a process says that it can do its work.
func ready(url string) bool {
	resp, err := http.Get(url + "/readyz") //nolint:noctx // a loopback server of the test
	if err != nil {
		return false
	}
	defer func() { _ = resp.Body.Close() }()
	return resp.StatusCode == http.StatusOK
}

// current is the checksum of the current build of a library.
func current(t *testing.T, library string) string {
	t.Helper()
	l, err := vulndb.Open(vulndb.Config{Dir: library})
	if err != nil {
		t.Fatal(err)
	}
	in, err := l.Current()
	if err != nil {
		return ""
	}
	return in.Checksum
}

func TestAnImportOnOneReplicaReachesAll(t *testing.T) {
	library := filepath.Join(t.TempDir(), "vulndb")
	if err := installSample(t.Context(), library, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	var shared config.Config
	s := start(t, func(c *config.Config) { c.VulnDB.Dir, shared = library, *c })
	s.pushed(withNPM(t, "lodash", "4.17.20"), "demo/shop", "1")
	other := s.replica(shared)
	eventually(t, "the replica without a database has the one in force", func() bool { return ready(other.url) })
	if got, want := current(t, other.library), current(t, library); got != want {
		t.Errorf("the replica has %q, want %q", got, want)
	}
	importAdvisory(t, other.library)
	imported := current(t, other.library)
	s.until(`count(*) = 1 FROM vuln_build WHERE state = 'active' AND checksum = $1`, imported)
	s.until(`count(*) = 1 FROM repository_finding WHERE vulnerability = 'CVE-2026-99999' AND closed_at IS NULL`)
	eventually(t, "the first replica has what was imported on the second", func() bool { return current(t, library) == imported })
	s.pushed(withNPM(t, "lodash", "4.17.20", "left-pad", "1.0.0"), "demo/shop", "2")
	third := s.replica(shared)
	eventually(t, "a replica that comes later has it too", func() bool { return ready(third.url) && current(t, third.library) == imported })
}

func TestManyPackagesAreJudgedInShardsWithoutAPull(t *testing.T) {
	const packages = 3100 // four shards
	library := filepath.Join(t.TempDir(), "vulndb")
	feed{feedDay, 30, 0}.install(t, library)
	var shared config.Config
	s := start(t, func(c *config.Config) { c.VulnDB.Dir, shared = library, *c })
	var all []string
	for i := range packages {
		all = append(all, fmt.Sprintf("thing-%d", i), "1.0.0")
	}
	s.pushed(withNPM(t, all...), "demo/shop", "1")
	other := s.replica(shared)
	eventually(t, "the replica has the database", func() bool { return ready(other.url) })
	imported := feed{feedDay.Add(time.Hour), packages, 0}.install(t, library)
	s.until(`count(*) = 1 FROM vuln_build WHERE state = 'active' AND checksum = $1`, imported)
	if n := s.count("repository_finding WHERE closed_at IS NULL"); n != packages {
		t.Errorf("%d findings, want %d", n, packages)
	}
	if n := s.count("river_job WHERE kind = 'judge_shard' AND state = 'completed'"); n != 4 {
		t.Errorf("%d shards were judged as jobs, want 4", n)
	}
	if n := s.count("scan WHERE state <> 'done' OR pulled_bytes = 0"); n != 0 {
		t.Errorf("scans were made for it: %s", s.scans())
	}
}
