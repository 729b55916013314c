package postgres_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/postgres/postgrestest"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// trace asks for a tag, a digest or both of a repository of the registry "main".
func trace(t *testing.T, w *postgrestest.World, access report.Access, repository, tag string, digest image.Digest) report.Trace {
	t.Helper()
	got, err := w.Store.Trace(t.Context(), access, report.Target{RepositoryRef: report.RepositoryRef{Registry: "main", Name: repository}, Tag: tag, Digest: digest}, []string{"main"})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// says checks the outcome, and that a step about something holds words.
func says(t *testing.T, got report.Trace, outcome report.Outcome, what report.What, words string) {
	t.Helper()
	var told []string
	for _, s := range got.Steps {
		if s.What == what && strings.Contains(s.Text, words) {
			words = ""
		}
		told = append(told, fmt.Sprintf("%s %s: %s", s.Mood, s.What, s.Text))
	}
	if got.Outcome != outcome || words != "" {
		t.Errorf("outcome %s, want %s; no step about %s says %q:\n%s", got.Outcome, outcome, what, words, strings.Join(told, "\n"))
	}
}

func TestTraceOfTheHarbour(t *testing.T) {
	w := postgrestest.Harbour(t)
	app := postgrestest.App("app-amd64", "linux/amd64").Manifest().Digest
	for _, tt := range []struct {
		repository, tag string
		digest          image.Digest
		outcome         report.Outcome
		what            report.What
		words           string
	}{
		{"team/app", "1.0", "", report.OutcomeAnswered, report.AboutAnswer, "4 vulnerabilities: 1 critical, 2 high, 1 negligible; 3 can be fixed; 1 known to be exploited"},
		{"team/app", "1.0", "", report.OutcomeAnswered, report.AboutDelivery, "a push of 1.0 at sha256:"},
		{"team/app", "", app, report.OutcomeAnswered, report.AboutTag, "live tags that point to it: 1.0"},
		{"team/app", "multi", "", report.OutcomeAnswered, report.AboutManifest, "an index of 2 images"},
		{"team/app", "", postgrestest.App("app-arm64", "linux/arm64/v8").Manifest().Digest, report.OutcomeAnswered, report.AboutManifest, "is an image for linux/arm64/v8 of the index multi"},
		{"team/app", "", postgrestest.App("app-arm64", "linux/arm64/v8").Manifest().Digest, report.OutcomeAnswered, report.AboutScan, "is done"},
		{"team/app", "", postgrestest.Image{Name: "app-s390x"}.Manifest().Digest, report.OutcomeExcluded, report.AboutRule, "the rule platforms leaves it out"},
		{"team/app", "2.0", "", report.OutcomeUnknown, report.AboutDelivery, "no webhook told of tag 2.0; the last about this repository was of"},
		{"team/chart", "1", "", report.OutcomeUnsupported, report.AboutManifest, "is a Helm chart"},
		{"team/broken", "1", "", report.OutcomeFailed, report.AboutManifest, "its content is damaged: catalog: layer 3"},
		{"legacy/centos", "7", "", report.OutcomeAnswered, report.AboutAnswer, "the database has nothing for distro:centos:7"},
		{"team/nobody", "1", "", report.OutcomeUnknown, report.AboutDelivery, "no webhook told of this repository"},
	} {
		t.Run(tt.repository+":"+tt.tag+" "+string(tt.what), func(t *testing.T) {
			says(t, trace(t, w, all, tt.repository, tt.tag, tt.digest), tt.outcome, tt.what, tt.words)
		})
	}
}

func TestTraceInTheQueue(t *testing.T) {
	w := postgrestest.New(t)
	queued(w, "team/app", "1", "")
	queued(w, "team/app", "2", "")
	queued(w, "team/app", "3", "")
	says(t, trace(t, w, all, "team/app", "3", ""), report.OutcomePending, report.AboutScan, "2 are before it, and 0 scans run")
	job := w.Claim()
	says(t, trace(t, w, all, "team/app", "1", ""), report.OutcomePending, report.AboutScan, "attempt 1: it asks the registry what this is")
	says(t, trace(t, w, all, "team/app", "3", ""), report.OutcomePending, report.AboutScan, "1 is before it, and 1 scan runs")
	queued(w, "team/app", "1", "")
	says(t, trace(t, w, all, "team/app", "1", ""), report.OutcomePending, report.AboutScan, "waits until another scan of the same target has ended")
	img := postgrestest.Image{Name: "app"}
	if err := w.Store.SaveManifest(t.Context(), *job, img.Manifest()); err != nil {
		t.Fatal(err)
	}
	if err := w.Store.Reserve(t.Context(), *job, img.Manifest().Digest); err != nil {
		t.Fatal(err)
	}
	says(t, trace(t, w, all, "team/app", "", img.Manifest().Digest), report.OutcomePending, report.AboutScan, "it pulls and catalogues the image for linux/amd64")
	execute(t, w, `UPDATE registry SET max_running = 1`)
	says(t, trace(t, w, all, "team/app", "3", ""), report.OutcomePending, report.AboutScan, "1 scan of at most 1 runs")
	execute(t, w, `UPDATE registry SET max_running = NULL`)
	next := w.Claim()
	if err := w.Store.RetryScan(t.Context(), *next, scan.Result{}, errs.New(errs.RateLimited, "registry: 429"), time.Minute, true); err != nil {
		t.Fatal(err)
	}
	got := trace(t, w, all, "team/app", "2", "")
	says(t, got, report.OutcomePending, report.AboutScan, "attempt 1 of scan")
	for _, s := range got.Steps {
		if s.What == report.AboutScan && (s.Until == nil || s.ScanID == nil || s.Reason != "rate_limited" || !strings.Contains(s.Text, "the registry asks to slow down: registry: 429; the next is due in 5")) {
			t.Errorf("step = %+v", s)
		}
	}
}

// While a newer push is under way, the answer is told as that of the one before.
func TestTraceOfAMovingTag(t *testing.T) {
	w := postgrestest.New(t)
	first := w.Push("team/app", "1", postgrestest.Image{Name: "one"})
	second := w.Push("team/app", "1", postgrestest.Image{Name: "two"})
	got := trace(t, w, all, "team/app", "1", "")
	says(t, got, report.OutcomeAnswered, report.AboutTag, "just now from "+string(first[:19]))
	if got.Digest != second {
		t.Errorf("digest %s, want %s", got.Digest, second)
	}
	says(t, trace(t, w, all, "team/app", "1", first), report.OutcomeAnswered, report.AboutTag, string(first[:19])+" is not what it points to")
	queued(w, "team/app", "1", postgrestest.Digest("three"))
	got = trace(t, w, all, "team/app", "1", "")
	says(t, got, report.OutcomePending, report.AboutAnswer, "no known vulnerability")
	if got.Assessment == nil || got.Answered || !strings.Contains(got.Conclusion, "The answer that stands is of the push before.") {
		t.Errorf("trace = %+v", got)
	}
	job := w.Claim()
	if err := w.Store.SaveGone(t.Context(), *job); err != nil {
		t.Fatal(err)
	}
	if err := w.Store.FinishScan(t.Context(), *job, scan.Result{}, nil); err != nil {
		t.Fatal(err)
	}
	says(t, trace(t, w, all, "team/app", "1", ""), report.OutcomeGone, report.AboutTag, "tag 1 was found deleted just now")
}

func TestTraceOfDeliveries(t *testing.T) {
	w := postgrestest.New(t)
	if err := w.Store.SyncRegistries(t.Context(), []postgres.Registry{{Name: "main", Host: postgrestest.Host}, {Name: "second", Host: "second.example.com"}}); err != nil {
		t.Fatal(err)
	}
	w.Deliver("main", postgres.Delivery{DedupeKey: "a", Ignored: "signature", Action: "push", Repository: "team/app", Tag: "sig", Actor: "cosign"})
	says(t, trace(t, w, all, "team/app", "sig", ""), report.OutcomeIgnored, report.AboutDelivery, "an event that was ignored: it tells of a signature, by cosign")
	w.Deliver("second", postgres.Delivery{DedupeKey: "b", Ignored: "other_registry", Action: "push", Host: postgrestest.Host, Repository: "team/stray", Tag: "1"})
	says(t, trace(t, w, all, "team/stray", "1", ""), report.OutcomeUnknown, report.AboutDelivery, "came to the endpoint of registry second and was ignored")
	says(t, trace(t, w, team, "team/stray", "1", ""), report.OutcomeUnknown, report.AboutDelivery, "no webhook told of this repository")
	w.Deliver("main", postgres.Delivery{DedupeKey: "c", Ignored: "other_registry", Action: "push", Host: "inner.example.com", Repository: "team/inner", Tag: "1"})
	got := trace(t, w, all, "team/inner", "1", "")
	says(t, got, report.OutcomeIgnored, report.AboutDelivery, "it names the host inner.example.com, which is not one of this registry's")
	if !strings.Contains(got.NextStep, "add inner.example.com to the aliases of registry main") {
		t.Errorf("next step %q", got.NextStep)
	}
	if limited := trace(t, w, team, "team/inner", "1", ""); limited.Outcome != report.OutcomeUnknown {
		t.Errorf("a limited reader is told of another host: %+v", limited)
	}
}

// A limited reader is told nothing of what endpoints hear and refuse.
func TestTraceTellsOfRefusedRequests(t *testing.T) {
	w := postgrestest.New(t)
	now := time.Now().UTC()
	rejection := postgres.Rejection{Registry: "main", At: now, Status: 401, Reason: "unauthorized", Detail: "the secret is wrong"}
	counts := []postgres.RejectionCount{{Hour: now.Truncate(time.Hour), Status: 404, Reason: "not_found", Requests: 9, LastAt: now}}
	if err := w.Store.SaveRejections(t.Context(), counts, []postgres.Rejection{rejection, rejection}); err != nil {
		t.Fatal(err)
	}
	got := trace(t, w, all, "team/app", "1", "")
	says(t, got, report.OutcomeUnknown, report.AboutRejected, "2 requests to the endpoint were refused with 401 in the last hour: the secret may be wrong")
	says(t, got, report.OutcomeUnknown, report.AboutRejected, "9 requests were sent to addresses below /webhooks/ that are no endpoint")
	says(t, got, report.OutcomeUnknown, report.AboutEndpoint, "the endpoint /webhooks/main has never heard from its registry")
	for _, s := range trace(t, w, team, "team/app", "1", "").Steps {
		if s.What == report.AboutRejected || s.What == report.AboutEndpoint {
			t.Errorf("a limited reader is told: %s", s.Text)
		}
	}
}

func TestTraceTellsOfReconciling(t *testing.T) {
	w := postgrestest.New(t)
	w.Push("team/app", "1", postgrestest.Image{Name: "one"})
	execute(t, w, `UPDATE repository SET listed_at = now() - interval '2 hours', excluded = 'old' WHERE name = 'team/app'`)
	execute(t, w, `INSERT INTO reconciliation (registry_id, cause, state, finished_at) VALUES (1, 'schedule', 'done', now() - interval '3 hours'), (1, 'request', 'running', NULL)`)
	got := trace(t, w, all, "team/app", "1", "")
	says(t, got, report.OutcomeAnswered, report.AboutReconcile, "last compared as a whole 3 h ago, this repository 2 h ago; it is being compared now; the tag was last seen there just now")
	says(t, got, report.OutcomeAnswered, report.AboutRule, "the rule old leaves the whole repository out")
}

func TestTraceNeedsItsRegistry(t *testing.T) {
	w := postgrestest.New(t)
	_, err := w.Store.Trace(t.Context(), all, report.Target{RepositoryRef: report.RepositoryRef{Registry: "nobody", Name: "a"}, Tag: "1"}, nil)
	if !errs.Is(err, errs.NotFound) {
		t.Errorf("got %v", err)
	}
}
