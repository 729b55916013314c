package api_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/api"
	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/postgres/postgrestest"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// pushed leaves a scan in the queue and returns its path and number.
func (b *bench) pushed(repository, tag string) (path string, id int64) {
	b.t.Helper()
	b.Deliver("main", postgres.Delivery{DedupeKey: repository + tag, Action: "push", Repository: repository, Tag: tag})
	if err := b.Pool.QueryRow(b.t.Context(), `SELECT max(id) FROM scan`).Scan(&id); err != nil {
		b.t.Fatal(err)
	}
	return fmt.Sprintf("/scans/%d", id), id
}

func TestCancelScan(t *testing.T) {
	var log bytes.Buffer
	b := newBench(t, postgrestest.New(t), func(o *api.Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	ci := b.newToken("ci", report.ScopeTriage, postgrestest.Host+"/team")
	path, id := b.pushed("team/app", "1")
	got := into[report.Scan](t, b.do(http.MethodDelete, path, ci, "", ""))
	if got.ID != id || got.State != report.RunCanceled || got.CanceledBy != "ci" || got.Reason != "canceled" || got.Detail != "canceled by ci" || got.FinishedAt == nil {
		t.Errorf("canceled: %+v", got)
	}
	again := into[report.Scan](t, b.do(http.MethodDelete, path, b.token, "", ""))
	if again.CanceledBy != "ci" || !again.FinishedAt.Equal(*got.FinishedAt) {
		t.Errorf("canceled again: %+v", again)
	}
	if n := strings.Count(log.String(), `msg="scan canceled" token=ci scan=`+fmt.Sprint(id)); n != 1 {
		t.Errorf("%d lines in the log say so:\n%s", n, log.String())
	}
	// Who waits for the answer is told at once that none is coming.
	told := into[report.Image](t, b.get("/image", "ref", postgrestest.Host+"/team/app:1", "wait", "60s"))
	if told.State != report.StateCanceled || told.Answer != report.None || told.LastScan.CanceledBy != "ci" {
		t.Errorf("image: %+v", told)
	}
	b.get("/coverage")
	if items := into[report.List[report.LedgerItem]](t, b.get("/coverage/manifests", "repository", postgrestest.Host+"/team/app", "state", "canceled")); len(items.Items) != 1 {
		t.Errorf("ledger: %+v", items)
	}
	if trace := into[report.Trace](t, b.get("/trace", "ref", postgrestest.Host+"/team/app:1")); trace.Outcome != report.OutcomeCanceled {
		t.Errorf("trace: %+v", trace)
	}
}

func TestCancelARunningScan(t *testing.T) {
	b := newBench(t, postgrestest.New(t))
	path, _ := b.pushed("team/app", "1")
	job := b.Claim()
	if err := b.Store.ShowProgress(t.Context(), *job, &scan.Progress{Phase: scan.PhasePull, Image: 1, Images: 1, Bytes: 5, BytesOf: 9, LayersOf: 2}); err != nil {
		t.Fatal(err)
	}
	if got := into[report.Scan](t, b.get(path)); got.State != report.RunRunning || got.Lane != "push" || got.Progress == nil || got.Progress.Bytes != 5 {
		t.Errorf("running: %+v", got)
	}
	if got := into[report.Trace](t, b.get("/trace", "ref", postgrestest.Host+"/team/app:1")); got.Steps[len(got.Steps)-2].Progress == nil {
		t.Errorf("trace: %+v", got)
	}
	got := into[report.Scan](t, b.do(http.MethodDelete, path, b.token, "", ""))
	if got.State != report.RunCanceled || got.Progress == nil || got.Progress.Phase != "pull" {
		t.Errorf("canceled: %+v", got)
	}
	if _, canceled := scan.CanceledBy(b.Store.RenewLease(t.Context(), *job)); !canceled {
		t.Error("the worker does not learn of it")
	}
}

func TestCancelScanRefuses(t *testing.T) {
	b := newBench(t, postgrestest.New(t))
	b.Push("team/app", "1", postgrestest.Image{Name: "one"})
	done := "/scans/1"
	path, _ := b.pushed("team/app", "2")
	for _, tt := range []struct {
		name, path, token string
		kind              errs.Kind
		field, detail     string
	}{
		{"it is done", done, b.token, errs.Conflict, "", "scan 1 is over: it is done"},
		{"there is none", "/scans/99", b.token, errs.NotFound, "", "there is no scan 99"},
		{"no number", "/scans/x", b.token, errs.Invalid, "id", "number"},
		{"a parameter", path + "?force=true", b.token, errs.Invalid, "force", "force"},
		{"the token only reads", path, b.newToken("reader", report.ScopeRead), errs.Forbidden, "", "read"},
		{"another's repository", path, b.newToken("other", report.ScopeTriage, postgrestest.Host+"/other"), errs.NotFound, "", "there is no scan 2"},
		{"no token", path, "", errs.Unauthorized, "", "token"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if p := b.do(http.MethodDelete, tt.path, tt.token, "", "").refused(t, tt.kind, tt.field); !strings.Contains(p.Detail, tt.detail) {
				t.Errorf("detail %q", p.Detail)
			}
		})
	}
	if got := into[report.Scan](t, b.get(path)); got.State != report.RunQueued {
		t.Errorf("refused requests changed the scan: %+v", got)
	}
}
