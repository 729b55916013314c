package api_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/api"
	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/postgres/postgrestest"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

func withEndpoints(names ...string) func(*api.Options) {
	return func(o *api.Options) { o.Endpoints = names }
}

func TestCoverage(t *testing.T) {
	w := postgrestest.Harbour(t)
	now := time.Now().UTC()
	err := w.Store.SaveRejections(t.Context(),
		[]postgres.RejectionCount{
			{Registry: "main", Hour: now.Truncate(time.Hour), Status: 401, Reason: "unauthorized", Requests: 3, LastAt: now},
			{Hour: now.Truncate(time.Hour), Status: 404, Reason: "not_found", Requests: 2, LastAt: now},
		},
		[]postgres.Rejection{{Registry: "main", At: now, Status: 401, Reason: "unauthorized", Detail: "webhook: the secret is wrong"}})
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t, w, withEndpoints("main"))
	got := into[report.Coverage](t, b.get("/coverage"))
	if got.WindowSeconds != 86400 || len(got.Items) != 2 || got.Total.Known != 12 || got.Total.Covered != 11 || got.NoEndpoint.Requests != 2 {
		t.Errorf("coverage = %+v", got)
	}
	e := got.Items[0].Endpoint
	if e == nil || !e.Configured || e.Events.Ignored != 2 || e.Rejected.Requests != 3 || len(e.LastIgnored) != 2 || len(e.LastRejected) != 1 {
		t.Errorf("endpoint = %+v", e)
	}
	if one := into[report.Coverage](t, b.get("/coverage", "registry", "sboms", "window", "720h")); len(one.Items) != 1 || one.Items[0].Endpoint != nil || one.WindowSeconds != 720*3600 {
		t.Errorf("one registry = %+v", one)
	}
	for _, c := range [][]string{{"window", "721h"}, {"window", "week"}, {"registri", "main"}} {
		b.get("/coverage", c...).refused(t, errs.Invalid, c[0])
	}
	b.get("/coverage", "registry", "nobody").refused(t, errs.NotFound, "registry")
	limited := into[report.Coverage](t, b.do("GET", "/coverage", b.newToken("team", report.ScopeRead, postgrestest.Host+"/team/"), "", ""))
	if len(limited.Items) != 1 || limited.Items[0].Endpoint != nil || limited.NoEndpoint != nil || limited.Total.Known != 8 {
		t.Errorf("a limited token is told %+v", limited)
	}
}

func TestRepositoryCoverage(t *testing.T) {
	b := newBench(t, postgrestest.Harbour(t))
	var names []string
	for cursor := ""; ; {
		page := into[report.List[report.RepositoryCoverage]](t, b.get("/coverage/repositories", "registry", "main", "limit", "3", "cursor", cursor))
		for _, r := range page.Items {
			names = append(names, r.Repository)
		}
		if cursor = page.NextCursor; cursor == "" {
			break
		}
	}
	if len(names) != 7 {
		t.Errorf("repositories = %v, want all seven", names)
	}
	open := into[report.List[report.RepositoryCoverage]](t, b.get("/coverage/repositories", "uncovered", "true"))
	if len(open.Items) != 1 || open.Items[0].Repository != postgrestest.Host+"/team/broken" || open.Items[0].States.Failed != 1 {
		t.Errorf("not covered = %+v", open.Items)
	}
	b.get("/coverage/repositories", "uncovered", "yes").refused(t, errs.Invalid, "uncovered")
	b.get("/coverage/repositories", "cursor", "x").refused(t, errs.Invalid, "cursor")
	limited := b.do("GET", "/coverage/repositories", b.newToken("legacy", report.ScopeRead, postgrestest.Host+"/legacy/"), "", "")
	if got := into[report.List[report.RepositoryCoverage]](t, limited); len(got.Items) != 2 {
		t.Errorf("a limited token sees %+v", got.Items)
	}
}

func TestLedger(t *testing.T) {
	w := postgrestest.Harbour(t)
	w.Deliver("main", postgres.Delivery{DedupeKey: "wait", Action: "push", Repository: "team/app", Tag: "2.0"})
	b := newBench(t, w)
	for query, want := range map[string]int{"": 6, "&state=done": 3, "&uncovered=true": 1, "&state=gone": 0, "&limit=2": 2} {
		got := into[report.List[report.LedgerItem]](t, b.do("GET", "/coverage/manifests?repository="+appName+query, b.token, "", ""))
		if len(got.Items) != want {
			t.Errorf("%q: %d items, want %d: %+v", query, len(got.Items), want, got.Items)
		}
	}
	b.get("/coverage/manifests").refused(t, errs.Invalid, "repository")
	b.get("/coverage/manifests", "repository", appName, "state", "lost").refused(t, errs.Invalid, "state")
	b.get("/coverage/manifests", "repository", postgrestest.Host+"/team/nobody").refused(t, errs.NotFound, "")
}

func TestTrace(t *testing.T) {
	w := postgrestest.Harbour(t)
	w.Deliver("main", postgres.Delivery{DedupeKey: "wait", Action: "push", Repository: "team/new", Tag: "1"})
	b := newBench(t, w, withEndpoints("main"))
	for ref, want := range map[string]report.Outcome{
		appRef:                                report.OutcomeAnswered,
		"alias.example.com:5000/team/app:1.0": report.OutcomeAnswered,
		appName + ":multi":                    report.OutcomeAnswered,
		"sboms/team/app:ci":                   report.OutcomeAnswered,
		postgrestest.Host + "/team/chart:1":   report.OutcomeUnsupported,
		postgrestest.Host + "/team/broken:1":  report.OutcomeFailed,
		postgrestest.Host + "/team/new:1":     report.OutcomePending,
		postgrestest.Host + "/team/nobody:1":  report.OutcomeUnknown,
		"sboms/nobody:1":                      report.OutcomeUnknown,
		"elsewhere.example.com/team/app:1":    report.OutcomeNoRegistry,
		"team/app:1.0":                        report.OutcomeNoRegistry,
		appName + "@" + string(postgrestest.Image{Name: "app-s390x"}.Manifest().Digest): report.OutcomeExcluded,
	} {
		got := into[report.Trace](t, b.get("/trace", "ref", ref))
		if got.Outcome != want || got.Answered != (want == report.OutcomeAnswered) || got.Conclusion == "" || len(got.Steps) == 0 {
			t.Errorf("%s: %s, want %s: %+v", ref, got.Outcome, want, got)
		}
	}
	b.get("/trace").refused(t, errs.Invalid, "ref")
	b.get("/trace", "ref", "no reference at all").refused(t, errs.Invalid, "ref")
	b.get("/trace", "ref", appRef, "wait", "1s").refused(t, errs.Invalid, "wait")
}

// A limited token is told of its repositories, of others nothing, and of
// endpoints nothing.
func TestTraceForALimitedToken(t *testing.T) {
	b := newBench(t, postgrestest.Harbour(t), withEndpoints("main"))
	token := b.newToken("team", report.ScopeRead, postgrestest.Host+"/team/")
	trace := func(ref string) reply { return b.do("GET", "/trace"+encode([]string{"ref", ref}), token, "", "") }
	for _, ref := range []string{"/other/secret:1", "/other/nothing:1"} {
		for _, host := range []string{postgrestest.Host, "alias.example.com:5000"} {
			trace(host+ref).refused(t, errs.NotFound, "")
		}
	}
	for ref, want := range map[string]report.Outcome{"/team/app:1.0": report.OutcomeAnswered, "/team/nothing:1": report.OutcomeUnknown} {
		got := into[report.Trace](t, trace(postgrestest.Host+ref))
		if got.Outcome != want {
			t.Errorf("%s: %s, want %s", ref, got.Outcome, want)
		}
		for _, s := range got.Steps {
			if s.What == report.AboutEndpoint || s.What == report.AboutRejected {
				t.Errorf("%s: a limited token is told %q", ref, fmt.Sprint(s.Text))
			}
		}
	}
}
