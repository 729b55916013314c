package postgres_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

const day = 24 * time.Hour

var shortLived = postgres.Retention{
	Untagged: 60 * day, Gone: 20 * day, Documents: 10 * day, History: 90 * day, Events: 90 * day,
	Deliveries: 30 * day, Scans: 30 * day, Reconciliations: 30 * day,
}

// collect runs a pass to its end.
func (f *fixture) collect(r postgres.Retention) postgres.Figures {
	f.t.Helper()
	done, err := f.store.Collect(f.t.Context(), r, postgres.CollectOptions{})
	f.ok(err)
	if len(done.Skipped) > 0 || !done.Due {
		f.t.Fatalf("not collected to the end: %+v", done)
	}
	return done.Figures
}

// rehearsed is what a pass would take.
func (f *fixture) rehearsed(r postgres.Retention) postgres.Figures {
	f.t.Helper()
	done, err := f.store.Collect(f.t.Context(), r, postgres.CollectOptions{DryRun: true})
	f.ok(err)
	return done.Figures
}

func rowsOf(all postgres.Figures) map[string]int64 {
	out := map[string]int64{}
	for table, f := range all {
		out[table] = f.Rows
	}
	return out
}

func TestCollectionTakesExactlyWhatNothingLeadsTo(t *testing.T) {
	total := postgres.Figures{}
	for seed := range uint64(2) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			w := newRandomWorld(t, seed)
			for range 4 {
				for range 18 {
					w.happen()
				}
				w.age(time.Duration(10+w.rand.IntN(40)) * day)
				total.Add(w.checkCollection(shortLived))
			}
			w.age(200 * day)
			total.Add(w.checkCollection(shortLived))
			if again := w.collect(shortLived); len(again) > 0 {
				t.Errorf("another pass finds %v", rowsOf(again))
			}
		})
	}
	for _, table := range []string{"manifest", "inventory", "inventory_package", "package", "package_match", "vulnerability", "tag_event", "repository_manifest", "sbom", "repository_finding", "delivery", "scan"} {
		if total[table].Rows == 0 || total[table].Bytes == 0 {
			t.Errorf("nothing of %s was ever collected: the test tries nothing", table)
		}
	}
}

// checkCollection collects and holds what is left against what should be, and
// what readers are told against what they were told before.
func (w *randomWorld) checkCollection(r postgres.Retention) postgres.Figures {
	w.t.Helper()
	now := time.Now()
	var moments []time.Time
	for ago := time.Hour; ago < r.History; ago += 55 * day {
		moments = append(moments, now.Add(-ago))
	}
	before := w.answers(moments)
	rehearsed := w.rehearsed(r)
	want := w.expect(r)
	got := w.collect(r)
	if diff := cmp.Diff(rowsOf(got), rowsOf(rehearsed)); diff != "" {
		w.t.Errorf("the dry run says otherwise (-went +rehearsed):\n%s", diff)
	}
	for name, rows := range want {
		if diff := cmp.Diff(rows, w.left(leftovers[name])); diff != "" {
			w.t.Errorf("what is left of %s (-want +got):\n%s", name, diff)
		}
	}
	if diff := cmp.Diff(before, w.answers(moments)); diff != "" {
		w.t.Errorf("readers are told otherwise (-before +after):\n%s", diff)
	}
	return got
}

// What is exactly as old as it may be stays; what is a moment older goes.
func TestCollectionAtTheLimit(t *testing.T) {
	f := newFixture(t)
	f.exec(`INSERT INTO delivery (registry_id, dedupe_key, received_at, verdict) SELECT 1, n::text, now() - n * interval '1 hour', 'ignored' FROM generate_series(1, 10) n`)
	oldest := func() (age time.Duration) {
		var seconds float64
		f.ok(f.pool.QueryRow(t.Context(), `SELECT COALESCE(extract(epoch FROM max(now() - received_at)), 0) FROM delivery`).Scan(&seconds))
		return time.Duration(seconds * float64(time.Second))
	}
	for _, limit := range []time.Duration{0, 1000 * day, oldest() + time.Minute} {
		if gone := f.collect(postgres.Retention{Deliveries: limit}); len(gone) > 0 {
			t.Errorf("with %s, %v went", limit, rowsOf(gone))
		}
	}
	if gone := f.collect(postgres.Retention{Deliveries: 5*time.Hour + time.Minute}); gone["delivery"].Rows != 5 {
		t.Errorf("%v went, want 5 deliveries", rowsOf(gone))
	}
	// Ages are counted from the beginning of a pass: one that is gone on with does
	// not take what was young then.
	const at = `2026-11-01 12:00:00.000000+00`
	f.exec(`DELETE FROM delivery`)
	f.exec(`INSERT INTO delivery (registry_id, dedupe_key, received_at, verdict)
	        VALUES (1, 'over', $1::timestamptz - interval '1 hour 1 microsecond', 'ignored'), (1, 'exactly', $1::timestamptz - interval '1 hour', 'ignored')`, at)
	policy := postgres.Retention{Deliveries: time.Hour}
	encoded, err := json.Marshal(policy)
	f.ok(err)
	f.exec(`INSERT INTO collection (policy, at) VALUES ($1, $2)`, encoded, at)
	done, err := f.store.Collect(t.Context(), policy, postgres.CollectOptions{Every: time.Hour})
	f.ok(err)
	if left := f.left(`SELECT dedupe_key FROM delivery`); !done.Resumed || !slices.Equal(left, []string{"exactly"}) {
		t.Errorf("%+v, left %v", done, left)
	}
	if again, err := f.store.Collect(t.Context(), policy, postgres.CollectOptions{Every: 100000 * time.Hour}); err != nil || again.Due {
		t.Errorf("another pass before its time: %+v, %v", again, err)
	}
}

func TestWithoutLimitsNothingThatIsReadGoes(t *testing.T) {
	w := newRandomWorld(t, 7)
	for range 40 {
		w.happen()
	}
	w.collect(postgres.Retention{})
	w.age(4000 * day)
	w.exec(`UPDATE repository_manifest SET unneeded_since = now() - interval '3000 days' WHERE unneeded_since IS NOT NULL`)
	before := w.answers(nil)
	for table, gone := range w.collect(postgres.Retention{}) {
		t.Errorf("%d rows of %s went", gone.Rows, table)
	}
	if diff := cmp.Diff(before, w.answers(nil)); diff != "" {
		t.Error(diff)
	}
}

// A pass that is killed after any of its batches is gone on with, and ends with
// the figures of one that was not.
func TestCollectionGoesOnWhereItWasKilled(t *testing.T) {
	old := func(t *testing.T) *randomWorld {
		w := newRandomWorld(t, 3)
		for range 30 {
			w.happen()
		}
		w.collect(shortLived)
		w.age(100 * day)
		for range 10 {
			w.happen()
		}
		w.age(day)
		return w
	}
	whole := old(t)
	want := whole.collect(shortLived)
	killed := old(t)
	kills := 0
	for {
		ctx, kill := context.WithCancel(t.Context())
		var seen atomic.Int32
		done, err := killed.store.Collect(ctx, shortLived, postgres.CollectOptions{Observe: func(postgres.Figures) {
			if seen.Add(1) == 2 {
				kill()
			}
		}})
		kill()
		if err == nil {
			if diff := cmp.Diff(rowsOf(want), rowsOf(done.Figures)); diff != "" {
				t.Errorf("figures (-at once +in parts):\n%s", diff)
			}
			break
		}
		if kills++; !errs.Is(err, errs.Canceled) || kills > 100 {
			t.Fatalf("killed for the %d. time: %v", kills, err)
		}
	}
	if kills < 5 {
		t.Errorf("killed %d times only", kills)
	}
	for name, query := range leftovers {
		if diff := cmp.Diff(whole.left(query), killed.left(query)); diff != "" {
			t.Errorf("%s (-at once +in parts):\n%s", name, diff)
		}
	}
}

func TestOneProcessCollectsAtATime(t *testing.T) {
	f := newFixture(t)
	inside, leave := make(chan struct{}), make(chan struct{})
	var other sync.WaitGroup
	other.Go(func() {
		_ = f.store.Exclusively(t.Context(), "collect", func(context.Context) error { close(inside); <-leave; return nil })
	})
	<-inside
	_, err := f.store.Collect(t.Context(), shortLived, postgres.CollectOptions{})
	close(leave)
	other.Wait()
	if !errs.Is(err, errs.Conflict) {
		t.Errorf("two at a time: %v", err)
	}
}

// While a build is judged beside the one in force, packages stay; everything else
// goes on.
func TestPackagesStayWhileAnotherBuildIsJudged(t *testing.T) {
	f := newFixture(t)
	f.scanned("team/app", "1", "x", answer("x", nil, npm("a", "1")))
	f.exec(`DELETE FROM inventory_package`)
	f.exec(`INSERT INTO delivery (registry_id, dedupe_key, verdict) VALUES (1, 'old', 'ignored')`)
	f.age(300 * day)
	_, active, err := f.store.BeginBuild(t.Context(), secondBuild())
	f.ok(err)
	done, err := f.store.Collect(t.Context(), shortLived, postgres.CollectOptions{})
	f.ok(err)
	if active || f.count("package") != 1 || f.count("delivery WHERE dedupe_key = 'old'") != 0 || !slices.Contains(done.Skipped, "package") {
		t.Errorf("active %v, %d packages left, %+v", active, f.count("package"), done)
	}
	f.exec(`UPDATE vuln_build SET state = 'held' WHERE state = 'candidate'`)
	if f.collect(shortLived)["package"].Rows != 1 {
		t.Error("the package stays while a build is held")
	}
}

// Months of events go as a whole, what lies outside them row by row.
func TestEventsGoByMonths(t *testing.T) {
	f := newFixture(t)
	now := time.Now()
	for _, ago := range []int{0, 2, 5, 6} {
		f.ok(f.store.AddEventPartitions(t.Context(), now.AddDate(0, -ago, 1-now.Day())))
	}
	for n := range 9 {
		f.exec(`INSERT INTO finding_event (occurred_at, repository_id, package_type, package_name, vulnerability, kind, severity, cause)
		        VALUES (date_trunc('month', now()) - $1 * interval '1 month' + interval '1 day', 1, 'npm', 'a', 'CVE-1', 'opened', 'high', 'push')`, n)
	}
	first := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	limit := now.Sub(first.AddDate(0, -3, 0)) // all that is before the third month from here
	want := f.rehearsed(postgres.Retention{Events: limit})
	got := f.collect(postgres.Retention{Events: limit})
	if diff := cmp.Diff(rowsOf(want), rowsOf(got)); diff != "" {
		t.Errorf("(-rehearsed +went):\n%s", diff)
	}
	if left := f.count("finding_event"); left != 4 || got["finding_event"].Rows+got["finding_event_default"].Rows != 5 || got["finding_event"].Rows == 0 {
		t.Errorf("%d events left, want 4; went %v", left, rowsOf(got))
	}
	if f.count(`pg_class WHERE relname LIKE 'finding\_event\_2%' AND relkind = 'r' AND relname < $1`, first.AddDate(0, -3, 0).Format("finding_event_2006_01")) != 0 {
		t.Error("old months are still there")
	}
}

// An image whose SBOM went keeps its answer, says why there is no SBOM, and is
// catalogued anew when somebody asks.
func TestAnImageWithoutItsSBOM(t *testing.T) {
	f := newFixture(t)
	a := answer("x", map[string][]vuln.Match{"a": {finding("CVE-1")}}, npm("a", "1"), npm("b", "1"))
	f.push("first", "team/app", "", digestOf("x"))
	job := f.claim()
	f.ok(f.store.SaveManifest(t.Context(), job, imageManifest("x")))
	f.ok(f.store.SaveAnswer(t.Context(), job, a))
	f.ok(f.store.FinishScan(t.Context(), job, scan.Result{Digest: digestOf("x")}, nil))
	f.collect(shortLived)
	f.age(20 * day)
	if gone := f.collect(shortLived); gone["sbom"].Rows != 1 || gone["manifest"].Rows != 0 {
		t.Fatalf("went %v", rowsOf(gone))
	}
	target := report.Target{RepositoryRef: report.RepositoryRef{Registry: "prod", Name: "team/app"}, Digest: digestOf("x")}
	img, err := f.store.Image(t.Context(), all, target)
	f.ok(err)
	if img.Answer != report.Findings || img.Counts.Total != 1 || img.Platforms[0].Packages != 2 {
		t.Errorf("the image is told as %+v", img)
	}
	_, err = f.store.SBOM(t.Context(), all, target, image.Platform{})
	if !errs.Is(err, errs.NotFound) || !strings.Contains(err.Error(), "no longer kept") {
		t.Errorf("its SBOM: %v", err)
	}
	known, err := f.store.Known(t.Context(), digestOf("x"), "v1")
	f.ok(err)
	if known.Catalogued {
		t.Error("it would not be catalogued again")
	}
	f.push("again", "team/app", "", digestOf("x"))
	job = f.claim()
	f.ok(f.store.SaveManifest(t.Context(), job, imageManifest("x")))
	if n := f.count("repository_manifest WHERE unneeded_since IS NOT NULL"); n != 0 {
		t.Error("its time does not begin anew")
	}
}
