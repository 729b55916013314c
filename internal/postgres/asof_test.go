package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/postgres/postgrestest"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// now is the database's clock, which history is written by.
func now(t *testing.T, w *postgrestest.World) time.Time {
	t.Helper()
	var at time.Time
	if err := w.Pool.QueryRow(t.Context(), `SELECT clock_timestamp()`).Scan(&at); err != nil {
		t.Fatal(err)
	}
	return at
}

// one is an image with one npm package that has some vulnerabilities.
func one(name, version string, ids ...string) postgrestest.Image {
	p := postgrestest.Package{Package: npm("left-pad", version)}
	for _, id := range ids {
		p.Matches = append(p.Matches, finding(id))
	}
	return postgrestest.Image{Name: name, Packages: []postgrestest.Package{p}}
}

func pastOf(t *testing.T, w *postgrestest.World, tag string, at time.Time) (report.FindingPage, error) {
	t.Helper()
	return w.Store.Findings(t.Context(), all, report.FindingScope{Target: targetTag("team/app", tag), AsOf: at},
		report.FindingFilter{Sort: report.SortSeverity}, report.Page{})
}

// A tag moves, its package is judged otherwise by another build, the tag is
// deleted: at each moment the answer is what stood then.
func TestThePastOfATag(t *testing.T) {
	w := postgrestest.New(t)
	before := now(t, w)
	first := w.Push("team/app", "1", one("a", "1.0.0", "CVE-1", "CVE-2"))
	pushed := now(t, w)
	second := w.Push("team/app", "1", one("b", "1.1.0", "CVE-2"))
	moved := now(t, w)
	next := postgrestest.NewBuild("two")
	rejudge(t, w, judge{build: next, matches: map[string][]vuln.Match{"left-pad": {finding("CVE-3")}}})
	switched := now(t, w)
	drop(t, w, "team/app", "1")
	deleted := now(t, w)

	for _, tt := range []struct {
		name   string
		at     time.Time
		digest string
		build  string
		want   []string
	}{
		{"after the push", pushed, string(first), "sha256:one", []string{"left-pad CVE-1", "left-pad CVE-2"}},
		{"after the tag moved", moved, string(second), "sha256:one", []string{"left-pad CVE-2"}},
		{"after the switch", switched, string(second), "sha256:two", []string{"left-pad CVE-3"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := pastOf(t, w, "1", tt.at)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, findingNames(got)); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
			if string(got.AsOf.Digest) != tt.digest || got.Build.Checksum != tt.build || got.AsOf.MovedAt == nil || got.Counts.Total != len(tt.want) {
				t.Errorf("as of %+v, build %s, counts %+v", got.AsOf, got.Build.Checksum, got.Counts)
			}
			if tt.build == "sha256:one" && got.Items[0].Risk != 0 {
				t.Error("risk of today is told of another day")
			}
		})
	}
	for name, at := range map[string]time.Time{"before the first push": before, "after the tag was deleted": deleted, "before the first build": before.AddDate(0, 0, -1)} {
		if _, err := pastOf(t, w, "1", at); !errs.Is(err, errs.NotFound) || errs.Field(err) != "as_of" {
			t.Errorf("%s: %v, want it not found", name, err)
		}
	}
	// By digest it is there as long as it was known.
	got, err := w.Store.Findings(t.Context(), all, report.FindingScope{AsOf: deleted,
		Target: report.Target{RepositoryRef: targetTag("team/app", "").RepositoryRef, Digest: first}}, report.FindingFilter{}, report.Page{})
	if err != nil || len(got.Items) != 1 || got.Items[0].Vulnerability != "CVE-3" {
		t.Errorf("by digest: %v, %v", findingNames(got), err)
	}
}

// An image catalogued anew keeps what it was answered with before, and which
// distros the build of the day had no data for.
func TestThePastOfAnImageCataloguedAnew(t *testing.T) {
	w := postgrestest.New(t)
	i := one("a", "1.0.0", "CVE-1")
	i.NoData = []string{"ecosystem:gem"}
	w.Push("team/app", "1", i)
	before := now(t, w)
	again := one("a", "1.0.0", "CVE-1")
	again.Packages = append(again.Packages, one("", "2.0.0", "CVE-9").Packages...)
	w.Push("team/app", "1", again)
	later := now(t, w)

	got, err := pastOf(t, w, "1", before)
	if err != nil || cmp.Diff([]string{"left-pad CVE-1"}, findingNames(got)) != "" || got.Complete || got.NoData[0] != "ecosystem:gem" {
		t.Errorf("before: %v, %+v, %v", findingNames(got), got.Assessment, err)
	}
	if len(got.Items) > 0 && got.Items[0].LocationsTotal != 0 {
		t.Error("places are those of another SBOM")
	}
	got, err = pastOf(t, w, "1", later)
	if err != nil || len(got.Items) != 2 || !got.Complete {
		t.Errorf("later: %v, %+v, %v", findingNames(got), got.Assessment, err)
	}
	if _, err := w.Pool.Exec(t.Context(), `UPDATE manifest_past SET inventory_id = NULL`); err != nil {
		t.Fatal(err)
	}
	got, err = pastOf(t, w, "1", before)
	if err != nil || got.AsOf.Note == "" || got.Complete || len(got.Items) != 0 || got.Answer == report.Clean {
		t.Errorf("collected: %+v, %+v, %v", got.AsOf, got.Assessment, err)
	}
}

// What a collection has taken is not told of as if it had never been.
func TestThePastThatWasCollected(t *testing.T) {
	w := postgrestest.New(t)
	w.Push("team/app", "1", one("a", "1.0.0", "CVE-1"))
	kept := now(t, w)
	for _, history := range []time.Duration{0, time.Hour} {
		if _, err := w.Pool.Exec(t.Context(), `INSERT INTO collection (policy) VALUES (jsonb_build_object('history', $1::bigint))`, history); err != nil {
			t.Fatal(err)
		}
		if got, err := pastOf(t, w, "1", kept); err != nil || len(got.Items) != 1 {
			t.Errorf("history of %s: %v, %v", history, findingNames(got), err)
		}
	}
	if _, err := w.Pool.Exec(t.Context(), `INSERT INTO collection (policy) VALUES ('{"history": 1000}')`); err != nil {
		t.Fatal(err)
	}
	if _, err := pastOf(t, w, "1", kept); !errs.Is(err, errs.NotFound) || errs.Hint(err) == "" {
		t.Errorf("before the history begins: %v", err)
	}
}

// Until a push has its answer, what stood before is what was known.
func TestThePastBeforeAnAnswer(t *testing.T) {
	w := postgrestest.New(t)
	first := w.Push("team/app", "1", one("a", "1.0.0", "CVE-1"))
	pending := one("b", "2.0.0", "CVE-2")
	pending.Pending = true
	second := w.Push("team/app", "1", pending)
	between := now(t, w)
	finish(t, w, "b", pending)
	if _, err := w.Pool.Exec(t.Context(), `UPDATE manifest SET scanned_at = now(), answered_at = now() WHERE digest = $1`, second); err != nil {
		t.Fatal(err)
	}
	got, err := pastOf(t, w, "1", between)
	if err != nil || got.AsOf.Digest != first || got.AsOf.PointsTo != second || len(got.Items) != 1 || got.Items[0].Vulnerability != "CVE-1" {
		t.Errorf("as of %+v: %v, %v", got.AsOf, findingNames(got), err)
	}
}

// finish answers an image that was left pending.
func finish(t *testing.T, w *postgrestest.World, name string, i postgrestest.Image) {
	t.Helper()
	i.Pending = false
	w.Push("elsewhere", name, i)
}

func rejudge(t *testing.T, w *postgrestest.World, j judge) {
	t.Helper()
	done, err := (&scan.Rejudger{Store: w.Store, Activated: func(context.Context) error { return nil }}).Rejudge(t.Context(), j)
	if err != nil || !done.Switched {
		t.Fatalf("rejudged: %+v, %v", done, err)
	}
	w.Build = j.build
}

// What is over the threshold escalates once, and again only after it fell well
// below it.
func TestEscalatesWhenLikely(t *testing.T) {
	w := postgrestest.New(t)
	w.Push("team/app", "1", one("a", "1.0.0", "CVE-1"))
	w.Push("team/web", "1", one("a", "1.0.0", "CVE-1"))
	for n, step := range []struct {
		epss float64
		want int // events so far
	}{{0.49, 0}, {0.5, 2}, {0.45, 2}, {0.55, 2}, {0.3, 2}, {0.6, 4}} {
		matches := map[string][]vuln.Match{"left-pad": {finding("CVE-1")}}
		rejudge(t, w, judge{build: postgrestest.NewBuild(string(rune('b' + n))), matches: matches, epss: step.epss})
		found, err := w.Store.Events(t.Context(), all, report.EventFilter{Kinds: []report.EventKind{report.EventEscalated}, Causes: []report.EventCause{report.CauseBuild}}, report.Page{})
		if err != nil {
			t.Fatal(err)
		}
		likely := 0
		for _, e := range found.Items {
			if e.Escalation.EPSSTo != nil {
				likely++
			}
		}
		if likely != step.want {
			t.Fatalf("after %v: %d events, want %d: %+v", step.epss, likely, step.want, found.Items)
		}
	}
	found, err := w.Store.Events(t.Context(), all, report.EventFilter{Repository: &report.RepositoryRef{Registry: "main", Name: "team/web"}}, report.Page{Limit: 1})
	if err != nil || found.NextCursor == "" {
		t.Fatal(found, err)
	}
	e := found.Items[0]
	if e.Kind != report.EventEscalated || *e.Escalation.EPSSFrom != 0.3 || *e.Escalation.EPSSTo != 0.6 || e.Repository != "registry.example.com/team/web" {
		t.Errorf("event = %+v, escalation %+v", e, e.Escalation)
	}
}
