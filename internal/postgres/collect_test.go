package postgres_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/postgres"
)

const day = 24 * time.Hour

var shortLived = postgres.Retention{
	Untagged: 60 * day, Gone: 20 * day, SBOMs: 10 * day, History: 90 * day, Events: 90 * day,
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
	for seed := range uint64(2) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			w := newRandomWorld(t, seed)
			total := postgres.Figures{}
			for range 5 {
				for range 20 {
					w.happen()
				}
				w.age(time.Duration(w.rand.IntN(40)) * day)
				total.Add(w.checkCollection(shortLived))
			}
			w.age(200 * day)
			w.checkCollection(shortLived)
			w.age(200 * day)
			total.Add(w.checkCollection(shortLived))
			for _, table := range []string{"manifest", "inventory", "inventory_package", "package", "package_match", "vulnerability", "tag_event", "repository_manifest", "sbom", "repository_finding", "delivery", "scan"} {
				if total[table].Rows == 0 || total[table].Bytes == 0 {
					t.Errorf("nothing of %s was ever collected: the test tries nothing", table)
				}
			}
			if again := w.collect(shortLived); len(again) > 0 {
				t.Errorf("another pass finds %v", rowsOf(again))
			}
		})
	}
}

// checkCollection collects and holds what is left against what should be, and
// what readers are told against what they were told before.
func (w *randomWorld) checkCollection(r postgres.Retention) postgres.Figures {
	w.t.Helper()
	now := time.Now()
	var moments []time.Time
	for ago := time.Hour; ago < r.History; ago += 29 * day {
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
