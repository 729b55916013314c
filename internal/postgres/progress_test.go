package postgres_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/postgres/postgrestest"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

func progressOf(t *testing.T, w *postgrestest.World, id int64) *report.Progress {
	t.Helper()
	got, err := w.Store.Scan(t.Context(), all, id)
	must(t, err)
	return got.Progress
}

func TestProgressIsShownWhileAScanRuns(t *testing.T) {
	w := postgrestest.New(t)
	queued(w, "team/app", "1", "")
	job := w.Claim()
	if got := progressOf(t, w, job.ID); got != nil {
		t.Errorf("at first: %+v", got)
	}
	must(t, w.Store.ShowProgress(t.Context(), *job, nil))
	p := scan.Progress{Phase: "match", Platform: "linux/\x00arm64", Image: 1, Images: 3, Bytes: 1 << 40, BytesOf: 2 << 40, Layers: 4, LayersOf: 5, Packages: 6}
	must(t, w.Store.ShowProgress(t.Context(), *job, &p))
	got := progressOf(t, w, job.ID)
	want := &report.Progress{Phase: "match", Platform: "linux/\uFFFDarm64", Image: 1, Images: 3, Bytes: 1 << 40, BytesOf: 2 << 40, Layers: 4, LayersOf: 5, Packages: 6}
	if got != nil {
		want.At = got.At
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	if i := imageAt(t, w, "1", ""); i.LastScan.Progress == nil || *i.LastScan.Progress != *want {
		t.Errorf("GET /image: %+v", i.LastScan)
	}
	told := trace(t, w, all, "team/app", "1", "")
	says(t, told, report.OutcomePending, report.AboutScan, "it judges the image for linux/\uFFFDarm64, 1 of 3: 6 packages")
	must(t, w.Store.RetryScan(t.Context(), *job, scan.Result{}, errs.New(errs.Unavailable, "down"), 0, true))
	if got := progressOf(t, w, job.ID); got != nil {
		t.Errorf("while it waits: %+v", got)
	}
	again := w.Claim()
	if got := progressOf(t, w, again.ID); again.ID != job.ID || got != nil {
		t.Errorf("the next attempt shows that of the one before: %+v", got)
	}
	must(t, w.Store.ShowProgress(t.Context(), *again, &scan.Progress{Phase: "resolve"}))
	must(t, w.Store.FinishScan(t.Context(), *again, scan.Result{}, nil))
	if got := progressOf(t, w, job.ID); got != nil {
		t.Errorf("when it is done: %+v", got)
	}
}

// While a scan stores its answer its row is locked; showing must not wait.
func TestShowingProgressWaitsForNobody(t *testing.T) {
	w := postgrestest.New(t)
	queued(w, "team/app", "1", "")
	job := w.Claim()
	tx, err := w.Pool.Begin(t.Context())
	must(t, err)
	defer func() { _ = tx.Rollback(t.Context()) }()
	_, err = tx.Exec(t.Context(), `SELECT 1 FROM scan WHERE id = $1 FOR UPDATE`, job.ID)
	must(t, err)
	must(t, w.Store.ShowProgress(t.Context(), *job, &scan.Progress{Phase: "store"}))
	if got := progressOf(t, w, job.ID); got != nil {
		t.Errorf("written into a locked row: %+v", got)
	}
}

func TestAStaleJobShowsNothing(t *testing.T) {
	w := postgrestest.New(t)
	queued(w, "team/app", "1", "")
	job := w.Claim()
	stale := *job
	stale.Lease = "00000000-0000-0000-0000-000000000000"
	err := w.Store.ShowProgress(t.Context(), stale, &scan.Progress{Phase: "store"})
	if _, canceled := scan.CanceledBy(err); !errs.Is(err, errs.Canceled) || canceled {
		t.Errorf("got %v", err)
	}
	if got := progressOf(t, w, job.ID); got != nil {
		t.Errorf("progress %+v", got)
	}
}

func TestScansTellTheirLane(t *testing.T) {
	w := postgrestest.New(t)
	queued(w, "team/app", "1", "")
	id := newest(t, w)
	for priority, want := range map[int]string{scan.PriorityPush: "push", scan.PriorityRescan: "rescan", scan.PriorityReconcile: "backfill", scan.PriorityRequest: "waiting"} {
		_, err := w.Pool.Exec(t.Context(), `UPDATE scan SET priority = $1`, priority)
		must(t, err)
		if got, err := w.Store.Scan(t.Context(), all, id); err != nil || got.Lane != want {
			t.Errorf("priority %d: lane %q, %v, want %q", priority, got.Lane, err, want)
		}
	}
}
