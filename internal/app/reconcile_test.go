package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/sampleimage"
)

// deaf switches the receiver off: what is pushed is missed.
func deaf(c *config.Config) { c.Receiver.Enabled = false }

// ask posts a request to the API and reads what was accepted into v.
func (s *service) ask(path, body string, v any) {
	s.t.Helper()
	status, answer := s.send(path, []byte(body))
	if err := json.Unmarshal(answer, v); err != nil || status != http.StatusAccepted {
		s.t.Fatalf("%d %v %s", status, err, answer)
	}
}

// request asks for a scan of an image.
func (s *service) request(ref string) {
	s.t.Helper()
	var queued report.Scan
	s.ask("/api/v1/scans", fmt.Sprintf(`{"image": %q}`, s.registry.Host()+"/"+ref), &queued)
}

// reconcile asks for a run and waits for its end, and for that of its scans.
func (s *service) reconcile(repository string) report.ReconciliationReport {
	s.t.Helper()
	var run report.ReconciliationReport
	s.ask("/api/v1/reconciliations", fmt.Sprintf(`{"registry": "local", "repository": %q}`, repository), &run)
	s.until(`EXISTS (SELECT 1 FROM reconciliation WHERE id = $1 AND state IN ('done', 'failed'))`, run.ID)
	s.until(`NOT EXISTS (SELECT 1 FROM scan WHERE state IN ('queued', 'running'))`)
	s.get(fmt.Sprintf("/api/v1/reconciliations/%d", run.ID), &run)
	return run
}

func TestWhatWasPushedWhileNobodyListenedIsFound(t *testing.T) {
	s := start(t, deaf)
	first := s.push(withNPM(t, "lodash", "4.17.15"), "demo/shop:1.0")
	s.push(withNPM(t, "minimist", "1.2.0"), "demo/web:1.0")
	arm, err := sampleimage.Build(sampleimage.Content{Platform: v1.Platform{OS: "linux", Architecture: "arm64"}, Distro: sampleimage.Debian12()})
	if err != nil {
		t.Fatal(err)
	}
	index, err := sampleimage.Index(true, withNPM(t, "lodash", "4.17.20"), arm)
	if err != nil {
		t.Fatal(err)
	}
	s.push(index, "demo/multi:1.0")
	if n := s.count("scan"); n != 0 {
		t.Fatalf("%d scans without a word: the test shows nothing", n)
	}

	run := s.reconcile("")
	if run.State != report.RunDone || run.Counts.New != 3 || run.Counts.Queued != 3 || run.Counts.Repositories != 3 || run.Counts.Errors != 0 {
		t.Errorf("the first run: %+v", run)
	}
	s.settled("demo/shop", "1.0", first)
	if n := s.count(`tag t JOIN manifest m ON m.id = t.manifest_id WHERE m.state = 'done'`); n != 3 {
		t.Errorf("%d tags are answered, want 3: %s", n, s.scans())
	}
	if s.open("CVE-2021-44906") == 0 { // minimist
		t.Error("the findings of what was missed are missing")
	}

	scans := s.count("scan")
	if run := s.reconcile(""); run.Counts.Same != 3 || run.Counts.Queued != 0 || run.Counts.Requests != 1+3+3 {
		t.Errorf("nothing changed: %+v", run)
	}
	if n := s.count("scan"); n != scans {
		t.Errorf("%d scans were made for nothing", n-scans)
	}

	moved := s.push(withNPM(t, "lodash", "4.17.21"), "demo/shop:1.0")
	s.deleteTag("demo/web", "1.0")
	if run := s.reconcile(""); run.Counts.Moved != 1 || run.Counts.Gone != 1 || run.Counts.Queued < 2 {
		t.Errorf("one moved, one gone: %+v", run)
	}
	s.settled("demo/shop", "1.0", moved)
	if n := s.count(`tag t JOIN repository r ON r.id = t.repository_id WHERE r.name = 'demo/web'`); n != 0 {
		t.Error("the tag that was deleted is still there")
	}
	if s.open("CVE-2021-44906") != 0 {
		t.Error("the findings of the tag that was deleted are still open")
	}
}

func TestOneRepositoryIsReconciledOnDemand(t *testing.T) {
	s := start(t, deaf)
	s.push(withNPM(t, "lodash", "4.17.15"), "demo/shop:1.0")
	s.push(withNPM(t, "minimist", "1.2.0"), "demo/web:1.0")
	if run := s.reconcile("demo/web"); run.Counts.New != 1 || run.Repository != s.registry.Host()+"/demo/web" {
		t.Errorf("%+v", run)
	}
	if n := s.count(`repository WHERE name = 'demo/shop'`); n != 0 {
		t.Error("the other repository was looked at as well")
	}
	if run := s.reconcile("demo/nowhere"); run.State != report.RunFailed || run.Reason != "not_found" || run.Detail == "" {
		t.Errorf("a repository that does not exist: %+v", run)
	}
}

// The first run of a registry brings in what was there before us.
func TestTheFirstRunIsTheBackfill(t *testing.T) {
	s := start(t, func(c *config.Config) { c.Registries[0].Reconcile.Interval = time.Hour })
	s.until(`EXISTS (SELECT 1 FROM reconciliation WHERE cause = 'schedule' AND state = 'done' AND repository = '')`)
	if n := s.count("reconciliation"); n != 1 {
		t.Errorf("%d runs, want one an hour", n)
	}
	var coverage report.Coverage
	if status := s.get("/api/v1/coverage", &coverage); status != http.StatusOK || len(coverage.Items) == 0 {
		t.Fatalf("%d %+v", status, coverage)
	}
	for _, r := range coverage.Items {
		if (r.ReconciledAt != nil) != (r.Registry == "local") {
			t.Errorf("%s was reconciled at %v", r.Registry, r.ReconciledAt)
		}
	}
}

func TestWhatARuleLeavesOutIsRecordedAndNotPulled(t *testing.T) {
	rules := config.Rules{Exclude: []config.Rule{{Name: "pull requests", Tag: "pr-*"}, {Name: "caches", Repository: "cache/**"}}}
	s := start(t, deaf, func(c *config.Config) { c.Registries[0].Rules = rules })
	s.push(withNPM(t, "lodash", "4.17.15"), "demo/shop:pr-1")
	s.push(withNPM(t, "minimist", "1.2.0"), "cache/shop:1")
	shared := withNPM(t, "minimist", "1.2.5")
	s.push(shared, "demo/shop:pr-2")
	wanted := s.push(shared, "demo/shop:1.0")
	s.reconcile("")
	s.settled("demo/shop", "1.0", wanted)
	const left = `repository_manifest rm JOIN manifest m ON m.id = rm.manifest_id WHERE rm.presence = 'excluded' AND rm.reason = 'pull requests' AND m.inventory_id IS NULL`
	if n := s.count(left); n != 1 {
		t.Errorf("%d manifests are recorded as left out, want 1: that of pr-1", n)
	}
	if n := s.count("sbom"); n != 1 {
		t.Errorf("%d images were catalogued, want 1: what pr-2 and 1.0 both point to is wanted", n)
	}
	if n := s.count(`repository WHERE name = 'cache/shop' AND excluded = 'caches'`); n != 1 {
		t.Error("the repository is not recorded as left out")
	}
	if run := s.reconcile(""); run.Counts.Queued != 0 {
		t.Errorf("nothing changed: %+v", run)
	}

	s.request("demo/shop:pr-1") // what somebody asks for is looked at
	s.until(`count(*) = 2 FROM sbom`)
	s.until(`NOT EXISTS (SELECT 1 FROM scan WHERE state IN ('queued', 'running'))`)
	if n := s.count(left); n != 0 {
		t.Error("it is still recorded as left out")
	}
	if run := s.reconcile(""); run.Counts.Queued != 0 {
		t.Errorf("after it was asked for: %+v", run)
	}
}
