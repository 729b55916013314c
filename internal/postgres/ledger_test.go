package postgres_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/postgres/postgrestest"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// coverage reads a coverage of the last day.
func coverage(t *testing.T, w *postgrestest.World, access report.Access, registry string) report.Coverage {
	t.Helper()
	got, err := w.Store.Coverage(t.Context(), access, report.CoverageFilter{Registry: registry, Window: report.DefaultWindow, Endpoints: []string{"main"}})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// queued asks for a scan by a push and leaves it in the queue.
func queued(w *postgrestest.World, repository, tag string, digest image.Digest) {
	w.Deliver("main", postgres.Delivery{DedupeKey: fmt.Sprint(time.Now().UnixNano(), tag), Action: "push", Repository: repository, Tag: tag, Digest: digest})
}

func execute(t *testing.T, w *postgrestest.World, query string, args ...any) {
	t.Helper()
	if _, err := w.Pool.Exec(t.Context(), query, args...); err != nil {
		t.Fatal(err)
	}
}

func TestLedgerGivesEverythingOneState(t *testing.T) {
	w := postgrestest.Harbour(t)
	var known int
	if err := w.Pool.QueryRow(t.Context(), `SELECT count(*) FROM repository_manifest`).Scan(&known); err != nil {
		t.Fatal(err)
	}
	got := coverage(t, w, all, "")
	if got.Total.Known != known || got.Total.States.Gone != 0 {
		t.Errorf("%d are known and %d gone of %d rows", got.Total.Known, got.Total.States.Gone, known)
	}
	states := report.LedgerCounts{Done: 8, Failed: 1, Unsupported: 2, Excluded: 1}
	if diff := cmp.Diff(states, got.Total.States); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
	reasons := []report.LedgerEntry{
		{State: report.LedgerExcluded, Reason: "platforms", Count: 1}, {State: report.LedgerFailed, Reason: "malformed", Count: 1},
		{State: report.LedgerUnsupported, Reason: "attestation", Count: 1}, {State: report.LedgerUnsupported, Reason: "helm_chart", Count: 1},
	}
	if diff := cmp.Diff(reasons, got.Total.Reasons); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
	if got.Total.Covered != known-1 || got.Total.Share == nil || *got.Total.Share >= 1 {
		t.Errorf("covered %d, share %v, want all but the failed one", got.Total.Covered, got.Total.Share)
	}
	if len(got.Items) != 2 || got.Items[0].Registry != "main" || got.Items[0].Repositories != 7 || got.Items[0].OldestAnswerAt == nil || got.Items[0].ReconciledAt != nil {
		t.Errorf("registries = %+v", got.Items)
	}
	if one := coverage(t, w, all, "sboms"); len(one.Items) != 1 || one.Total.Known != 1 || *one.Total.Share != 1 {
		t.Errorf("one registry: %+v", one)
	}
	if _, err := w.Store.Coverage(t.Context(), all, report.CoverageFilter{Registry: "nobody"}); !errs.Is(err, errs.NotFound) {
		t.Errorf("a registry that is not there: %v", err)
	}
}

// What somebody told us of and no scan has looked at is known and not covered.
func TestLedgerCountsWhatNobodyHasLookedAt(t *testing.T) {
	w := postgrestest.New(t)
	expect := func(what string, want report.LedgerCounts, unresolved int) {
		t.Helper()
		got := coverage(t, w, all, "").Total
		if diff := cmp.Diff(want, got.States); diff != "" || got.Unresolved != unresolved {
			t.Errorf("%s: %d unresolved, want %d; states (-want +got):\n%s", what, got.Unresolved, unresolved, diff)
		}
	}
	fail := func(err error) {
		t.Helper()
		if err := w.Store.FinishScan(t.Context(), *w.Claim(), scan.Result{}, err); err != nil {
			t.Fatal(err)
		}
	}
	if got := coverage(t, w, all, "").Total; got.Share != nil || got.Known != 0 {
		t.Errorf("nothing known: %+v, want no share", got)
	}
	queued(w, "team/app", "1", postgrestest.Digest("one"))
	queued(w, "team/app", "1", postgrestest.Digest("two")) // joins the first
	queued(w, "team/app", "", postgrestest.Digest("three"))
	expect("two targets wait", report.LedgerCounts{Queued: 2}, 2)
	fail(errs.New(errs.Unauthorized, "refused"))
	expect("one failed, and the first push of it is asked for", report.LedgerCounts{Queued: 2, Failed: 1}, 3)
	if got := coverage(t, w, all, "").Total.Reasons; len(got) != 1 || got[0].Reason != "unauthorized" {
		t.Errorf("reasons = %+v", got)
	}
	fail(errs.New(errs.Unauthorized, "refused"))
	queued(w, "team/app", "1", "")
	expect("pushed again", report.LedgerCounts{Queued: 2, Failed: 1}, 3)
	fail(errs.New(errs.Timeout, "too slow"))
	expect("failed again", report.LedgerCounts{Queued: 1, Failed: 2}, 3)
	w.Push("team/app", "1", postgrestest.Image{Name: "one"})
	expect("answered", report.LedgerCounts{Done: 1, Queued: 1, Failed: 1}, 2)
	w.Push("team/app", "2", postgrestest.Image{Name: "two", Pending: true})
	expect("being scanned", report.LedgerCounts{Done: 1, Failed: 1, Queued: 2}, 2)
}

func TestLedgerKeepsWhatIsGoneApart(t *testing.T) {
	w := postgrestest.New(t)
	digest := w.Push("team/app", "1", postgrestest.Image{Name: "app"})
	w.Push("team/app", "2", postgrestest.Image{Name: "other"})
	w.Deliver("main", postgres.Delivery{DedupeKey: "delete", Action: "delete", Repository: "team/app", Digest: digest})
	job := w.Claim()
	if err := w.Store.SaveGone(t.Context(), *job); err != nil {
		t.Fatal(err)
	}
	if err := w.Store.FinishScan(t.Context(), *job, scan.Result{}, nil); err != nil {
		t.Fatal(err)
	}
	got := coverage(t, w, all, "").Total
	if diff := cmp.Diff(report.LedgerCounts{Done: 1, Gone: 1}, got.States); diff != "" || got.Known != 1 || *got.Share != 1 {
		t.Errorf("known %d, share %v; states (-want +got):\n%s", got.Known, *got.Share, diff)
	}
}

func TestLedgerOfALimitedReader(t *testing.T) {
	w := postgrestest.Harbour(t)
	got := coverage(t, w, team, "")
	if len(got.Items) != 1 || got.Items[0].Repositories != 4 || got.NoEndpoint != nil || got.Items[0].Endpoint != nil {
		t.Errorf("one team sees %+v, endpoint-less %v", got.Items, got.NoEndpoint)
	}
	if diff := cmp.Diff(report.LedgerCounts{Done: 4, Failed: 1, Unsupported: 2, Excluded: 1}, got.Total.States); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
	if _, err := w.Store.Coverage(t.Context(), team, report.CoverageFilter{Registry: "sboms"}); !errs.Is(err, errs.NotFound) {
		t.Errorf("a registry it does not see: %v", err)
	}
}

func TestLedgersOfRepositories(t *testing.T) {
	w := postgrestest.Harbour(t)
	queued(w, "team/web", "2", "")
	execute(t, w, `UPDATE repository SET excluded = 'old', listed_at = now() WHERE name = 'other/secret'`)
	list := func(access report.Access, filter report.RepositoryCoverageFilter, limit int) []string {
		t.Helper()
		out := []string{}
		page := report.Page{Limit: limit}
		for {
			found, err := w.Store.RepositoryCoverage(t.Context(), access, filter, page)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range found.Items {
				out = append(out, fmt.Sprintf("%s %d/%d %d %s %v %v", r.Repository, r.Covered, r.Known, r.Unresolved, r.ExcludedBy,
					r.OldestAnswerAt != nil, r.ListedAt != nil))
			}
			if page.Cursor = found.NextCursor; page.Cursor == "" {
				return out
			}
		}
	}
	h := postgrestest.Host
	want := []string{
		h + "/legacy/centos 1/1 0  true false", h + "/legacy/mixed 1/1 0  true false", h + "/other/secret 1/1 0 old true true",
		h + "/team/app 5/5 0  true false", h + "/team/broken 0/1 0  false false", h + "/team/chart 1/1 0  false false",
		h + "/team/web 1/2 1  true false", "sboms/team/app 1/1 0  true false",
	}
	for _, limit := range []int{3, 100} {
		if diff := cmp.Diff(want, list(all, report.RepositoryCoverageFilter{}, limit)); diff != "" {
			t.Errorf("all, %d a page (-want +got):\n%s", limit, diff)
		}
	}
	if diff := cmp.Diff(want[3:7], list(team, report.RepositoryCoverageFilter{Registry: "main"}, 100)); diff != "" {
		t.Errorf("one team's (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{want[4], want[6]}, list(all, report.RepositoryCoverageFilter{Uncovered: true}, 1)); diff != "" {
		t.Errorf("not covered (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want[:2], list(all, report.RepositoryCoverageFilter{Prefix: h + "/legacy"}, 100)); diff != "" {
		t.Errorf("under a prefix (-want +got):\n%s", diff)
	}
	if _, err := w.Store.RepositoryCoverage(t.Context(), all, report.RepositoryCoverageFilter{}, report.Page{Cursor: "x"}); !errs.Is(err, errs.Invalid) {
		t.Errorf("a made-up cursor: %v", err)
	}
}

// The ledger of every registry is the sum of those of its repositories.
func TestLedgersAddUp(t *testing.T) {
	w := postgrestest.Harbour(t)
	queued(w, "team/web", "2", "")
	found, err := w.Store.RepositoryCoverage(t.Context(), all, report.RepositoryCoverageFilter{}, report.Page{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]int{}
	for _, r := range found.Items {
		for _, s := range report.LedgerStates() {
			sums[r.Registry+" "+string(s)] += r.States.Of(s)
		}
	}
	got := map[string]int{}
	for _, g := range coverage(t, w, all, "").Items {
		for _, s := range report.LedgerStates() {
			got[g.Registry+" "+string(s)] += g.States.Of(s)
		}
	}
	if diff := cmp.Diff(sums, got); diff != "" {
		t.Errorf("(-repositories +registries):\n%s", diff)
	}
}

func TestLedgerTellsWhenItWasReconciled(t *testing.T) {
	w := postgrestest.New(t)
	w.Push("team/app", "1", postgrestest.Image{Name: "app"})
	execute(t, w, `INSERT INTO reconciliation (registry_id, repository, cause, state, finished_at) VALUES
		(1, '', 'schedule', 'done', '2026-11-01'), (1, '', 'schedule', 'done', '2026-11-02'),
		(1, 'team/app', 'request', 'done', '2026-11-03'), (1, '', 'schedule', 'failed', '2026-11-04')`)
	got := coverage(t, w, all, "main").Items[0].ReconciledAt
	if got == nil || !got.Equal(time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("reconciled at %v, want that of the newest whole run that is done", got)
	}
}

func TestRefreshedLedgers(t *testing.T) {
	w := postgrestest.Harbour(t)
	got, err := w.Store.RefreshLedgers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := coverage(t, w, all, "").Items
	for i := range want {
		want[i].Endpoint = nil
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-coverage +refreshed):\n%s", diff)
	}
}

func TestLedgerOfARepository(t *testing.T) {
	w := postgrestest.Harbour(t)
	queued(w, "team/app", "2.0", postgrestest.Digest("new"))
	queued(w, "team/app", "", postgrestest.Digest("other"))
	list := func(access report.Access, filter report.LedgerFilter, limit int) (out []string, err error) {
		ref := report.RepositoryRef{Registry: "main", Name: "team/app"}
		page := report.Page{Limit: limit}
		for {
			found, err := w.Store.Ledger(t.Context(), access, ref, filter, page)
			if err != nil {
				return nil, err
			}
			for _, i := range found.Items {
				out = append(out, fmt.Sprintf("%v %s %s %s %s %v %s%v", i.Unresolved, i.State, i.Reason, i.Kind, i.Platform, i.Tags, i.Tag, i.ScanID != nil))
			}
			if page.Cursor = found.NextCursor; page.Cursor == "" {
				return out, nil
			}
		}
	}
	want := []string{
		"false done  image linux/amd64 [1.0] false", "false done  index  [multi] false", "false done  image linux/arm64/v8 [] false",
		"false unsupported attestation attestation unknown/unknown [] false", "false excluded platforms image linux/s390x [] false",
		"true queued    [] 2.0true", "true queued    [] true",
	}
	for _, limit := range []int{1, 3, 100} {
		got, err := list(team, report.LedgerFilter{}, limit)
		slices.Sort(got[:5]) // digests decide the order of what is stored at once
		sorted := slices.Clone(want)
		slices.Sort(sorted[:5])
		if diff := cmp.Diff(sorted, got); diff != "" || err != nil {
			t.Errorf("%d a page: %v (-want +got):\n%s", limit, err, diff)
		}
	}
	if got, err := list(all, report.LedgerFilter{Uncovered: true}, 1); err != nil || !slices.Equal(got, want[5:]) {
		t.Errorf("not covered: %v, %v", got, err)
	}
	if got, err := list(all, report.LedgerFilter{State: report.LedgerExcluded}, 10); err != nil || !slices.Equal(got, want[4:5]) {
		t.Errorf("excluded: %v, %v", got, err)
	}
	if _, err := list(report.Access{Prefixes: []string{postgrestest.Host + "/other/"}}, report.LedgerFilter{}, 10); !errs.Is(err, errs.NotFound) {
		t.Errorf("a reader who does not see it: %v", err)
	}
}

// What a reconciliation could not look at is not covered, also where nothing else
// is known of it.
func TestWhatCouldNotBeReadIsNotCovered(t *testing.T) {
	f := newFixture(t)
	f.scanned("team/app", "1", "x", answer("x", nil, npm("a", "1")))
	share := func(access report.Access) (float64, int) {
		got, err := f.store.Coverage(t.Context(), access, report.CoverageFilter{Registry: "prod"})
		f.ok(err)
		if got.Items[0].Unread != got.Total.Unread || *got.Items[0].Share != *got.Total.Share {
			t.Errorf("the registry says %+v, the total %+v", got.Items[0].Ledger, got.Total)
		}
		return *got.Total.Share, got.Total.Unread
	}
	ends := func(state, repository string, problems ...string) {
		var id int64
		f.ok(f.pool.QueryRow(t.Context(), `
			INSERT INTO reconciliation (registry_id, repository, cause, state, counts, finished_at)
			VALUES (1, $1, 'request', $2, jsonb_build_object('errors', $3::int), now()) RETURNING id`, repository, state, len(problems)).Scan(&id))
		for _, name := range problems {
			f.exec(`INSERT INTO reconciliation_problem (reconciliation_id, repository, reason, detail) VALUES ($1, $2, 'forbidden', '')`, id, name)
		}
	}
	if got, unread := share(all); got != 1 || unread != 0 {
		t.Errorf("before any reconciliation: share %v, %d unread", got, unread)
	}
	ends("done", "", "team/app", "team/closed", "other/closed")
	ends("done", "team/app", "team/app") // of one repository only: nothing is said of the others
	if got, unread := share(all); got != 0.25 || unread != 3 {
		t.Errorf("share %v, %d unread, want a quarter and 3", got, unread)
	}
	if got, unread := share(report.Access{Prefixes: []string{"registry.example/team/"}}); got != 1.0/3 || unread != 2 {
		t.Errorf("for a limited reader: share %v, %d unread, want a third and 2", got, unread)
	}
	repositories, err := f.store.RepositoryCoverage(t.Context(), all, report.RepositoryCoverageFilter{Uncovered: true}, report.Page{})
	f.ok(err)
	if len(repositories.Items) != 1 || repositories.Items[0].Unread != 1 || *repositories.Items[0].Share != 0.5 {
		t.Errorf("repositories: %+v", repositories.Items)
	}
	ends("done", "")
	if got, unread := share(all); got != 1 || unread != 0 {
		t.Errorf("after one that could read all: share %v, %d unread", got, unread)
	}
}
