package api_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/postgres/postgrestest"
	"github.com/tidewaiter/tidewaiter/internal/reconcile"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// compare asks for a reconciliation.
func (b *bench) compare(token, body string) reply {
	b.t.Helper()
	return b.do(http.MethodPost, "/reconciliations", token, "application/json", body)
}

func TestAReconciliationIsRequestedAndRead(t *testing.T) {
	b := newBench(t, postgrestest.New(t))
	triage := b.newToken("triage", report.ScopeTriage)
	answer := b.compare(triage, `{"registry": "main"}`)
	queued := into[report.ReconciliationReport](t, answer)
	if answer.status != http.StatusAccepted || queued.State != report.RunQueued || queued.Registry != "main" || queued.Repository != "" || queued.Cause != "request" {
		t.Fatalf("%d %+v", answer.status, queued)
	}
	if want := fmt.Sprintf("/api/v1/reconciliations/%d", queued.ID); answer.header.Get("Location") != want {
		t.Errorf("Location is %q, want %q", answer.header.Get("Location"), want)
	}
	if again := into[report.ReconciliationReport](t, b.compare(triage, `{"registry": "main"}`)); again.ID != queued.ID {
		t.Errorf("asked twice: runs %d and %d", queued.ID, again.ID)
	}
	for _, given := range []string{"team/app", postgrestest.Host + "/team/app", "alias.example.com:5000/team/app"} {
		one := into[report.ReconciliationReport](t, b.compare(triage, fmt.Sprintf(`{"registry": "main", "repository": %q}`, given)))
		if one.Repository != postgrestest.Host+"/team/app" {
			t.Errorf("%s was read as %q", given, one.Repository)
		}
	}

	// One runs, meets a problem and ends.
	store := postgres.Reconciliations{Store: b.Store, Permits: postgrestest.NoPermits}
	run, err := store.ClaimReconciliation(t.Context(), map[string]string{"main": ""})
	if err != nil || run == nil || run.Repository != "team/app" {
		t.Fatalf("claimed %+v, %v", run, err)
	}
	run.Counts = reconcile.Counts{Repositories: 1, Tags: 3, New: 2, Errors: 1, Queued: 2, Requests: 4}
	run.Position.After = "team/app"
	problem := reconcile.Problem{Repository: "team/app", Tag: "1", Err: errs.New(errs.Forbidden, "no\x00pe")}
	if err := store.SaveProblem(t.Context(), *run, problem); err != nil {
		t.Fatal(err)
	}
	if err := store.FinishReconciliation(t.Context(), *run, nil); err != nil {
		t.Fatal(err)
	}
	done := into[report.ReconciliationReport](t, b.get(fmt.Sprintf("/reconciliations/%d", run.ID)))
	if done.State != report.RunDone || done.Counts != report.ReconciliationCounts(run.Counts) || done.LastRepository != "team/app" || done.FinishedAt == nil || done.HeartbeatAt == nil {
		t.Errorf("done: %+v", done)
	}
	want := []report.ReconciliationProblem{{OccurredAt: done.Problems[0].OccurredAt, Repository: postgrestest.Host + "/team/app", Tag: "1", Reason: "forbidden", Detail: done.Problems[0].Detail}}
	if diff := cmp.Diff(want, done.Problems); diff != "" {
		t.Error(diff)
	}

	first := into[report.List[report.Reconciliation]](t, b.get("/reconciliations", "limit", "1"))
	second := into[report.List[report.Reconciliation]](t, b.get("/reconciliations", "limit", "1", "cursor", first.NextCursor))
	if len(first.Items) != 1 || first.Items[0].ID != run.ID || len(second.Items) != 1 || second.Items[0].ID != queued.ID || second.NextCursor != "" {
		t.Errorf("pages %+v and %+v", first, second)
	}
	if found := into[report.List[report.Reconciliation]](t, b.get("/reconciliations", "state", "done", "registry", "main")); len(found.Items) != 1 {
		t.Errorf("done: %+v", found)
	}
	if found := into[report.List[report.Reconciliation]](t, b.get("/reconciliations", "registry", "sboms")); len(found.Items) != 0 {
		t.Errorf("of another registry: %+v", found)
	}
}

func TestAReconciliationThatCannotBeRequestedSaysWhy(t *testing.T) {
	b := newBench(t, postgrestest.New(t))
	for _, c := range []struct {
		name, body string
		kind       errs.Kind
		field      string
	}{
		{"nothing", `{}`, errs.Invalid, "registry"},
		{"not JSON", `registry`, errs.Invalid, "body"},
		{"an unknown field", `{"registry": "main", "all": true}`, errs.Invalid, "body"},
		{"an unknown registry", `{"registry": "nowhere"}`, errs.NotFound, "registry"},
		{"the uploads", `{"registry": "sboms"}`, errs.NotFound, "registry"},
		{"a host that is another's", `{"registry": "main", "repository": "Other.example/x"}`, errs.Invalid, "repository"},
		{"no repository", `{"registry": "main", "repository": "../x"}`, errs.Invalid, "repository"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if p := b.compare(b.token, c.body).refused(t, c.kind, c.field); p.Hint == "" && c.kind != errs.Invalid {
				t.Errorf("no hint: %+v", p)
			}
		})
	}
	b.compare(b.newToken("reader", report.ScopeRead), `{"registry": "main"}`).refused(t, errs.Forbidden, "")
	b.get("/reconciliations/0").refused(t, errs.Invalid, "id")
	b.get("/reconciliations/99").refused(t, errs.NotFound, "")
	b.get("/reconciliations", "state", "over").refused(t, errs.Invalid, "state")
}

// A limited token compares what it sees, and reads of nothing else.
func TestALimitedTokenAndReconciliations(t *testing.T) {
	b := newBench(t, postgrestest.New(t))
	limited := b.newToken("limited", report.ScopeTriage, postgrestest.Host+"/team/")
	host := b.newToken("host", report.ScopeTriage, postgrestest.Host+"/")
	b.compare(limited, `{"registry": "main"}`).refused(t, errs.NotFound, "registry")
	b.compare(limited, `{"registry": "main", "repository": "other/app"}`).refused(t, errs.NotFound, "")
	own := into[report.ReconciliationReport](t, b.compare(limited, `{"registry": "main", "repository": "team/app"}`))
	whole := into[report.ReconciliationReport](t, b.compare(host, `{"registry": "main"}`))
	for _, c := range []struct {
		name, token string
		want        []int64
	}{{"limited", limited, []int64{own.ID}}, {"the whole host", host, []int64{whole.ID, own.ID}}} {
		var got []int64
		for _, r := range into[report.List[report.Reconciliation]](t, b.do(http.MethodGet, "/reconciliations", c.token, "", "")).Items {
			got = append(got, r.ID)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
	b.do(http.MethodGet, fmt.Sprintf("/reconciliations/%d", whole.ID), limited, "", "").refused(t, errs.NotFound, "")
}
