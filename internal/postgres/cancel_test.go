package postgres_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/postgres/postgrestest"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// newest is the id of the newest scan.
func newest(t *testing.T, w *postgrestest.World) (id int64) {
	t.Helper()
	if err := w.Pool.QueryRow(t.Context(), `SELECT max(id) FROM scan`).Scan(&id); err != nil {
		t.Fatal(err)
	}
	return id
}

func cancel(t *testing.T, w *postgrestest.World, id int64) report.RunState {
	t.Helper()
	was, err := w.Store.CancelScan(t.Context(), all, id, "ci")
	if err != nil {
		t.Fatal(err)
	}
	return was
}

func imageAt(t *testing.T, w *postgrestest.World, tag string, digest image.Digest) report.Image {
	t.Helper()
	got, err := w.Store.Image(t.Context(), all, report.Target{RepositoryRef: report.RepositoryRef{Registry: "main", Name: "team/app"}, Tag: tag, Digest: digest})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// states counts what the ledger of the registry holds.
func states(t *testing.T, w *postgrestest.World) report.Ledger {
	t.Helper()
	got, err := w.Store.Coverage(t.Context(), all, report.CoverageFilter{Window: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return got.Total
}

func items(t *testing.T, w *postgrestest.World, filter report.LedgerFilter) []report.LedgerItem {
	t.Helper()
	got, err := w.Store.Ledger(t.Context(), all, report.RepositoryRef{Registry: "main", Name: "team/app"}, filter, report.Page{})
	if err != nil {
		t.Fatal(err)
	}
	return got.Items
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAQueuedScanIsCanceledAtOnce(t *testing.T) {
	w := postgrestest.New(t)
	queued(w, "team/app", "1", "")
	id := newest(t, w)
	if was := cancel(t, w, id); was != report.RunQueued {
		t.Errorf("it was %s", was)
	}
	if was := cancel(t, w, id); was != report.RunCanceled {
		t.Errorf("the second time it was %s", was)
	}
	if job, err := w.Store.ClaimScan(t.Context()); err != nil || job != nil {
		t.Errorf("claimed %+v, %v", job, err)
	}
	got, err := w.Store.Scan(t.Context(), all, id)
	must(t, err)
	want := report.ScanState{ID: id, State: report.RunCanceled, Reason: "canceled", Detail: "canceled by ci", CanceledBy: "ci", CreatedAt: got.CreatedAt}
	if diff := cmp.Diff(want, got.ScanState); diff != "" || got.FinishedAt == nil {
		t.Errorf("finished %v (-want +got):\n%s", got.FinishedAt, diff)
	}
	i := imageAt(t, w, "1", "")
	if i.State != report.StateCanceled || i.Answer != report.None || !i.Settled() || i.Detail != "canceled by ci" {
		t.Errorf("image: %+v", i)
	}
	says(t, trace(t, w, all, "team/app", "1", ""), report.OutcomeCanceled, report.AboutScan, "was canceled by ci just now")
	if l := states(t, w); l.States != (report.LedgerCounts{Canceled: 1}) || l.Unresolved != 1 || l.Covered != 0 {
		t.Errorf("ledger: %+v", l)
	}
	if found := items(t, w, report.LedgerFilter{Uncovered: true}); len(found) != 1 || found[0].State != report.LedgerCanceled || found[0].Detail != "canceled by ci" || found[0].Tag != "1" {
		t.Errorf("items: %+v", found)
	}
	// A later push is looked at, and then there is nothing more to say of it.
	w.Push("team/app", "1", postgrestest.Image{Name: "one"})
	if l := states(t, w); l.States != (report.LedgerCounts{Done: 1}) {
		t.Errorf("ledger after a push: %+v", l)
	}
	says(t, trace(t, w, all, "team/app", "1", ""), report.OutcomeAnswered, report.AboutScan, "is done")
}

func TestARunningScanLosesItsLeaseAndItsImagesReturn(t *testing.T) {
	w := postgrestest.New(t)
	amd, arm := postgrestest.Image{Name: "amd"}, postgrestest.Image{Name: "arm", Platform: "linux/arm64", Pending: true}
	index := w.PushIndex("team/app", "1", amd, arm)
	id, job := newest(t, w), running(t, w)
	must(t, w.Store.Reserve(t.Context(), job, arm.Manifest().Digest))
	must(t, w.Store.ShowProgress(t.Context(), job, &scan.Progress{Phase: "pull", Platform: "linux/arm64", Image: 2, Images: 2, Bytes: 3, BytesOf: 9, LayersOf: 2}))
	if was := cancel(t, w, id); was != report.RunRunning {
		t.Errorf("it was %s", was)
	}
	for name, err := range map[string]error{
		"renew":        w.Store.RenewLease(t.Context(), job),
		"show":         w.Store.ShowProgress(t.Context(), job, &scan.Progress{Phase: "store"}),
		"look":         w.Store.ShowProgress(t.Context(), job, nil),
		"reserve":      w.Store.Reserve(t.Context(), job, arm.Manifest().Digest),
		"save failure": w.Store.SaveFailure(t.Context(), job, arm.Manifest().Digest, errs.New(errs.Malformed, "bad")),
		"finish":       w.Store.FinishScan(t.Context(), job, scan.Result{}, nil),
		"fail":         w.Store.FinishScan(t.Context(), job, scan.Result{}, errs.New(errs.Malformed, "bad")),
		"retry":        w.Store.RetryScan(t.Context(), job, scan.Result{}, errs.New(errs.Unavailable, "down"), 0, true),
	} {
		if who, ok := scan.CanceledBy(err); !ok || who != "ci" || !errs.Is(err, errs.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := w.Store.SweepScans(t.Context(), 6, postgrestest.NoPermits)
	must(t, err)
	got, err := w.Store.Scan(t.Context(), all, id)
	must(t, err)
	if got.State != report.RunCanceled || got.Progress == nil || got.Progress.Phase != "pull" || got.Progress.Bytes != 3 {
		t.Errorf("scan: %+v, progress %+v", got, got.Progress)
	}
	i := imageAt(t, w, "1", "")
	if i.State != report.StateCanceled || i.Answer == report.Pending || i.Complete || i.Detail != "canceled by ci" || !i.Settled() {
		t.Errorf("index: %+v", i)
	}
	for _, p := range i.Platforms {
		want := map[string]report.State{"linux/amd64": report.StateDone, "linux/arm64": report.StateCanceled}[p.Platform]
		if p.State != want {
			t.Errorf("%s is %s, want %s", p.Platform, p.State, want)
		}
	}
	if l := states(t, w); l.States != (report.LedgerCounts{Done: 1, Canceled: 2}) {
		t.Errorf("ledger: %+v", l)
	}
	for _, found := range items(t, w, report.LedgerFilter{State: report.LedgerCanceled}) {
		if found.Detail != "canceled by ci" || found.Digest != index && found.Digest != arm.Manifest().Digest {
			t.Errorf("item: %+v", found)
		}
	}
	got2 := trace(t, w, all, "team/app", "1", "")
	says(t, got2, report.OutcomeCanceled, report.AboutScan, "last heard: it pulls the image for linux/arm64, 2 of 2: 0.0 of 0.0 MB, 0 of 2 layers")
	says(t, got2, report.OutcomeCanceled, report.AboutManifest, "not catalogued: canceled by ci")
	// Another scan of it, and it waits like any other.
	queued(w, "team/app", "1", index)
	again := w.Claim()
	must(t, w.Store.SaveManifest(t.Context(), *again, postgrestest.Image{Name: "other"}.Manifest()))
	if again.ID == id {
		t.Error("the canceled scan was claimed")
	}
}

// running returns the job of the only scan that runs.
func running(t *testing.T, w *postgrestest.World) (job scan.Job) {
	t.Helper()
	err := w.Pool.QueryRow(t.Context(), `SELECT id, lease_token::text, repository_id FROM scan WHERE state = 'running'`).Scan(&job.ID, &job.Lease, &job.Repository)
	must(t, err)
	return job
}

// What had failed before is failed again, for the reason it had.
func TestACanceledScanGivesImagesTheStateBefore(t *testing.T) {
	for _, c := range []struct {
		name   string
		before error
		want   report.State
		reason string
	}{
		{"failed", errs.New(errs.Malformed, "layer 3"), report.StateFailed, "malformed"},
		{"too large", errs.New(errs.TooLarge, "the limit is 5"), report.StateTooLarge, "too_large"},
		{"unsupported", errs.New(errs.Unsupported, "encrypted"), report.StateUnsupported, "unsupported"},
		{"never looked at", nil, report.StateCanceled, "canceled"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := postgrestest.New(t)
			img := postgrestest.Image{Name: "one", Failure: c.before}
			if c.before != nil {
				w.Push("team/app", "1", img)
			}
			queued(w, "team/app", "1", img.Manifest().Digest)
			job := w.Claim()
			must(t, w.Store.SaveManifest(t.Context(), *job, img.Manifest()))
			must(t, w.Store.Reserve(t.Context(), *job, img.Manifest().Digest))
			if i := imageAt(t, w, "1", ""); i.State != report.StateRunning {
				t.Fatalf("before it is %s", i.State)
			}
			cancel(t, w, job.ID)
			if i := imageAt(t, w, "1", ""); i.State != c.want || i.Reason != c.reason || i.Detail == "" {
				t.Errorf("%s, %q, %q; want %s, %q", i.State, i.Reason, i.Detail, c.want, c.reason)
			}
		})
	}
}

// An answer that is there stands, whatever is canceled.
func TestAnAnswerStandsWhenANewerScanIsCanceled(t *testing.T) {
	w := postgrestest.New(t)
	digest := w.Push("team/app", "1", postgrestest.Image{Name: "one"})
	queued(w, "team/app", "1", postgrestest.Digest("two"))
	cancel(t, w, newest(t, w))
	i := imageAt(t, w, "1", "")
	if i.Digest != digest || i.State != report.StateDone || i.LastScan.CanceledBy != "ci" || !i.Settled() {
		t.Errorf("image: %+v, %+v", i, i.LastScan)
	}
	got := trace(t, w, all, "team/app", "1", "")
	says(t, got, report.OutcomeCanceled, report.AboutAnswer, "no known vulnerability")
	if got.Assessment == nil {
		t.Error("the answer that stands is not told")
	}
	if l := states(t, w); l.States != (report.LedgerCounts{Done: 1, Canceled: 1}) || l.Unresolved != 1 {
		t.Errorf("ledger: %+v", l)
	}
	// The tag was compared since and is what it was.
	execute(t, w, `UPDATE tag SET checked_at = now() + interval '1 second'`)
	if l := states(t, w); l.States != (report.LedgerCounts{Done: 1}) {
		t.Errorf("ledger after the tag was seen: %+v", l)
	}
	says(t, trace(t, w, all, "team/app", "1", ""), report.OutcomeAnswered, report.AboutScan, "was canceled by ci")
}

// Two scans find the same manifest; one of them is enough.
func TestAManifestThatAnotherScanLooksAtIsNotCanceled(t *testing.T) {
	w := postgrestest.New(t)
	img := postgrestest.Image{Name: "one"}
	var jobs []*scan.Job
	for _, tag := range []string{"1", "2"} {
		queued(w, "team/app", tag, img.Manifest().Digest)
		job := w.Claim()
		must(t, w.Store.SaveManifest(t.Context(), *job, img.Manifest()))
		jobs = append(jobs, job)
	}
	cancel(t, w, jobs[0].ID)
	if l := states(t, w); l.States != (report.LedgerCounts{Queued: 1}) {
		t.Errorf("ledger: %+v", l)
	}
	if i := imageAt(t, w, "1", ""); i.State != report.StateQueued {
		t.Errorf("image is %s", i.State)
	}
	cancel(t, w, jobs[1].ID)
	if l := states(t, w); l.States != (report.LedgerCounts{Canceled: 1}) {
		t.Errorf("ledger when both are canceled: %+v", l)
	}
}

func TestWhatCannotBeCanceled(t *testing.T) {
	w := postgrestest.New(t)
	w.Push("team/app", "1", postgrestest.Image{Name: "one"})
	done := newest(t, w)
	queued(w, "team/failed", "1", "")
	job := w.Claim()
	must(t, w.Store.FinishScan(t.Context(), *job, scan.Result{}, errs.New(errs.NotFound, "no such tag")))
	for name, c := range map[string]struct {
		id     int64
		access report.Access
		kind   errs.Kind
	}{
		"done":            {done, all, errs.Conflict},
		"failed":          {job.ID, all, errs.Conflict},
		"not there":       {1 << 40, all, errs.NotFound},
		"somebody else's": {done, report.Access{Prefixes: []string{postgrestest.Host + "/other"}}, errs.NotFound},
	} {
		if _, err := w.Store.CancelScan(t.Context(), c.access, c.id, "ci"); !errs.Is(err, c.kind) {
			t.Errorf("%s: %v, want kind %s", name, err, c.kind)
		}
	}
	var n int
	must(t, w.Pool.QueryRow(t.Context(), `SELECT count(*) FROM scan WHERE canceled_by IS NOT NULL`).Scan(&n))
	if n != 0 {
		t.Errorf("%d scans were canceled", n)
	}
}

// Others may have canceled scans for reasons of their own: nobody asked for it,
// and nothing is missing.
func TestAScanThatGaveWayIsNotCalledCanceled(t *testing.T) {
	w := postgrestest.New(t)
	queued(w, "team/app", "1", "")
	job := w.Claim()
	queued(w, "team/app", "1", "")
	must(t, w.Store.RetryScan(t.Context(), *job, scan.Result{}, errs.New(errs.Canceled, "stopping"), 0, false))
	if l := states(t, w); l.States != (report.LedgerCounts{Queued: 1}) {
		t.Errorf("ledger: %+v", l)
	}
	got, err := w.Store.Scan(t.Context(), all, job.ID)
	must(t, err)
	if got.State != report.RunCanceled || got.CanceledBy != "" {
		t.Errorf("scan: %+v", got)
	}
}

// What was canceled in one repository is no business of another that has the same
// image.
func TestCanceledInOneRepositoryOnly(t *testing.T) {
	w := postgrestest.New(t)
	img := postgrestest.Image{Name: "one"}
	var jobs []*scan.Job
	for _, repository := range []string{"team/app", "other/app"} {
		w.Deliver("main", postgres.Delivery{DedupeKey: repository, Action: "push", Repository: repository, Tag: "1", Digest: img.Manifest().Digest})
		job := w.Claim()
		must(t, w.Store.SaveManifest(t.Context(), *job, img.Manifest()))
		jobs = append(jobs, job)
	}
	cancel(t, w, jobs[0].ID)
	if l := states(t, w); l.States != (report.LedgerCounts{Queued: 1, Canceled: 1}) {
		t.Errorf("ledger: %+v", l)
	}
	got, err := w.Store.Image(t.Context(), all, report.Target{RepositoryRef: report.RepositoryRef{Registry: "main", Name: "other/app"}, Tag: "1"})
	must(t, err)
	if got.State != report.StateQueued || got.Detail != "" {
		t.Errorf("the other repository is told %s, %q", got.State, got.Detail)
	}
}

// Scans of shared images are claimed, stored, ended and canceled all at once:
// nobody waits for ever, and nothing is left half done.
func TestCancelingBesideEverythingElse(t *testing.T) {
	const scans, workers = 60, 4
	w := postgrestest.New(t)
	shared := scan.Manifest{Digest: postgrestest.Digest("shared"), Kind: image.KindIndex, MediaType: image.MediaTypeOCIIndex}
	for _, name := range []string{"a", "b", "c"} {
		shared.Children = append(shared.Children, postgrestest.Image{Name: name}.Manifest())
	}
	for n := range scans {
		queued(w, "team/app", fmt.Sprint("t", n), "")
	}
	var working sync.WaitGroup
	for n := range workers {
		working.Go(func() {
			for {
				job, err := w.Store.ClaimScan(t.Context())
				if err != nil || job == nil {
					noTrouble(t, err)
					return
				}
				noTrouble(t, w.Store.SaveManifest(t.Context(), *job, shared))
				for _, c := range shared.Children {
					noTrouble(t, w.Store.Reserve(t.Context(), *job, c.Digest))
				}
				noTrouble(t, w.Store.ShowProgress(t.Context(), *job, &scan.Progress{Phase: "match"}))
				noTrouble(t, w.Store.RenewLease(t.Context(), *job))
				var cause error
				if n%2 == 0 {
					cause = errs.New(errs.Malformed, "bad")
				}
				noTrouble(t, w.Store.FinishScan(t.Context(), *job, scan.Result{Digest: shared.Digest}, cause))
			}
		})
	}
	working.Go(func() {
		for id := int64(1); id <= scans; id += 2 {
			_, err := w.Store.CancelScan(t.Context(), all, id, "ci")
			noTrouble(t, err)
		}
	})
	working.Wait()
	for what, query := range map[string]string{
		"scan is not over":                  `scan WHERE state IN ('queued', 'running') OR lease_token IS NOT NULL`,
		"manifest is still being looked at": `manifest WHERE state = 'running' OR lease_token IS NOT NULL`,
		"canceled scan is something else":   `scan WHERE (canceled_by IS NOT NULL) <> (state = 'canceled')`,
	} {
		var n int
		must(t, w.Pool.QueryRow(t.Context(), "SELECT count(*) FROM "+query).Scan(&n))
		if n != 0 {
			t.Errorf("%s: %d", what, n)
		}
	}
}

// noTrouble lets pass what is expected of scans that meet: one is canceled, over,
// or has to wait for the other.
func noTrouble(t *testing.T, err error) {
	t.Helper()
	var database *pgconn.PgError
	if errors.As(err, &database) || err != nil && !errs.Is(err, errs.Canceled) && !errs.Is(err, errs.Conflict) {
		t.Error(err)
	}
}
