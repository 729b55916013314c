package reconcile_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/reconcile"
)

// at refuses what an address holds with a status.
func at(part string, code int) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		return strings.Contains(r.URL.Path, part) && status(code)(w, r)
	}
}

// problems lists what runs could not look at, as "repository:tag kind".
func (r *rig) problems() []string {
	r.t.Helper()
	rows, err := r.pool.Query(r.t.Context(), `SELECT repository || ':' || tag || ' ' || reason FROM reconciliation_problem ORDER BY id`)
	r.ok(err)
	defer rows.Close()
	var out []string
	for rows.Next() {
		var s string
		r.ok(rows.Scan(&s))
		out = append(out, s)
	}
	return out
}

// state is that of the newest run.
func (r *rig) state() string {
	r.t.Helper()
	var s string
	r.ok(r.pool.QueryRow(r.t.Context(), `SELECT state || ' ' || reason FROM reconciliation ORDER BY id DESC LIMIT 1`).Scan(&s))
	return strings.TrimSpace(s)
}

func TestARepositoryThatIsRefusedDoesNotStopTheRun(t *testing.T) {
	for _, c := range []struct {
		name string
		code int
		kind string
	}{{"forbidden", 403, "forbidden"}, {"broken", 500, "unavailable"}} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t, 100)
			f.push("team/a", "1", "a")
			f.push("team/secret", "1", "s")
			f.push("team/z", "1", "z")
			f.refusing(at("/team/secret/", c.code))
			r := newRig(t, f)
			counts := r.run()
			if counts.Repositories != 3 || counts.New != 2 || counts.Errors != 1 {
				t.Errorf("came to %+v", counts)
			}
			if diff := cmp.Diff([]string{"team/secret: " + c.kind}, r.problems()); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]string{"reconcile team/a:1", "reconcile team/z:1"}, r.waiting()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestATagThatIsRefusedDoesNotHideTheOthers(t *testing.T) {
	f := newFake(t, 100)
	for _, tag := range []string{"1", "2", "3"} {
		f.push("team/a", tag, tag)
	}
	f.refusing(at("/manifests/2", 403))
	r := newRig(t, f)
	if counts := r.run(); counts.New != 2 || counts.Errors != 1 || counts.Tags != 3 {
		t.Errorf("came to %+v", counts)
	}
	if diff := cmp.Diff([]string{"team/a:2 forbidden"}, r.problems()); diff != "" {
		t.Error(diff)
	}
}

func TestATagThatLeadsNowhereIsAProblem(t *testing.T) {
	f := newFake(t, 100)
	f.push("team/a", "1", "1")
	f.refusing(at("/manifests/1", 404))
	r := newRig(t, f)
	r.run()
	if diff := cmp.Diff([]string{"team/a:1 not_found"}, r.problems()); diff != "" {
		t.Error(diff)
	}
	f.refusing(nil)
	r.run()
	r.work()
	f.refusing(at("/manifests/1", 404)) // it was known; now the registry is asked by a scan
	if counts := r.run(); counts.Gone != 1 || len(r.problems()) != 1 {
		t.Errorf("came to %+v, problems %v", counts, r.problems())
	}
	if diff := cmp.Diff([]string{"delete team/a:1"}, r.waiting()); diff != "" {
		t.Error(diff)
	}
}

func TestProblemsAreBounded(t *testing.T) {
	f := newFake(t, 1000)
	f.fill(150, 150)
	f.push("a/good", "1", "x")
	f.refusing(func(w http.ResponseWriter, r *http.Request) bool {
		return strings.Contains(r.URL.Path, "/app") && status(403)(w, r)
	})
	r := newRig(t, f)
	if counts := r.run(); counts.Errors != 150 {
		t.Errorf("%d errors, want 150", counts.Errors)
	}
	if n := len(r.problems()); n != 100 {
		t.Errorf("%d problems are kept, want 100", n)
	}
}

func TestARunThatReadsNothingFails(t *testing.T) {
	f := newFake(t, 1000)
	f.fill(3, 3)
	f.refusing(at("/tags/list", 403))
	r := newRig(t, f)
	_, err := r.Run(t.Context(), r.request(""))
	if !errs.Is(err, errs.Forbidden) || r.state() != "failed forbidden" {
		t.Errorf("ended with %v as %s", err, r.state())
	}
}

func TestARegistryThatIsDownIsOutlasted(t *testing.T) {
	f := newFake(t, 1000)
	f.fill(20, 20)
	r := newRig(t, f)
	d := &down{Registry: r.Registry}
	r.Registry = d
	r.Observe = func(_ string, since reconcile.Counts, _ map[reconcile.Why]int) {
		if d.began == 0 && since.Repositories > 0 {
			d.began, d.lasts = 1, 20
		}
	}
	counts, err := r.Run(t.Context(), r.request(""))
	if err != nil || counts.Repositories != 20 || counts.New < 15 {
		t.Errorf("came to %+v, %v", counts, err)
	}
	if n := len(r.problems()); n == 0 || n > 5 || int64(n) != counts.Errors {
		t.Errorf("%d problems for %d errors, want those of the first few repositories", n, counts.Errors)
	}
	if d.lasts > 0 {
		t.Error("the registry was not asked again while it was down")
	}
}

func TestARegistryThatStaysDownFailsTheRun(t *testing.T) {
	for _, c := range []struct {
		name string
		down down
	}{{"at once", down{began: 1, lasts: 1000}}, {"once repositories are listed", down{lasts: 1000}}} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t, 1000)
			f.fill(10, 10)
			r := newRig(t, f)
			c.down.Registry = r.Registry
			r.Registry = &c.down
			_, err := r.Run(t.Context(), r.request(""))
			if !errs.Is(err, errs.Unavailable) || r.state() != "failed unavailable" {
				t.Errorf("ended with %v as %s", err, r.state())
			}
		})
	}
}

// down is a registry that does not answer for a number of questions, those for
// repositories included once it began.
type down struct {
	reconcile.Registry
	began, lasts int
}

func (d *down) silent() error {
	if d.lasts--; d.lasts < 0 {
		return nil
	}
	return errs.New(errs.Unavailable, "nobody answers")
}

func (d *down) Repositories(ctx context.Context, registry, cursor string) ([]string, string, error) {
	if d.began > 0 {
		if err := d.silent(); err != nil {
			return nil, "", err
		}
	}
	return d.Registry.Repositories(ctx, registry, cursor)
}

func (d *down) Tags(ctx context.Context, registry, repository, cursor string) ([]string, string, error) {
	if err := d.silent(); err != nil {
		return nil, "", err
	}
	return d.Registry.Tags(ctx, registry, repository, cursor)
}

func TestARegistryThatLimitsRequestsIsObeyed(t *testing.T) {
	f := newFake(t, 1000)
	f.fill(2, 40)
	n := 0
	f.refusing(func(w http.ResponseWriter, r *http.Request) bool {
		n++
		return n%3 == 0 && status(429)(w, r)
	})
	r := newRig(t, f)
	counts, err := r.Run(t.Context(), r.request(""))
	if err != nil || counts.New != 40 || counts.Errors != 0 || counts.Requests <= 43 {
		t.Errorf("came to %+v, %v", counts, err)
	}
}

// However many questions there are, and whatever the registry wishes for.
func TestARegistryThatLimitsRequestsForEverFailsTheRun(t *testing.T) {
	for name, part := range map[string]string{"everything": "", "tags": "/tags/", "manifests": "/manifests/"} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, 1000)
			f.fill(3, 200)
			var refused atomic.Int32
			f.refusing(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.Path, part) {
					return false
				}
				refused.Add(1)
				return status(429)(w, r)
			})
			r := newRig(t, f)
			r.Obedience = 100 * time.Millisecond
			_, err := r.Run(t.Context(), r.request(""))
			if !errs.Is(err, errs.RateLimited) || r.state() != "failed rate_limited" {
				t.Errorf("ended with %v as %s", err, r.state())
			}
			if n := refused.Load(); n > 200 {
				t.Errorf("the registry was asked %d times in a tenth of a second", n)
			}
		})
	}
}

// A registry without a list is no reason not to look at what is known.
func TestWithoutAListWhatIsKnownIsCompared(t *testing.T) {
	f := newFake(t, 1000)
	f.push("team/a", "1", "one")
	r := newRig(t, f)
	r.run()
	r.work()
	f.push("team/a", "1", "two")
	f.push("team/unknown", "1", "x")
	f.refusing(at("/_catalog", 404))
	counts, err := r.Run(t.Context(), r.request(""))
	if !errs.Is(err, errs.Unsupported) || !strings.Contains(errs.Hint(err), "reconcile.lister") || r.state() != "failed unsupported" {
		t.Errorf("ended with %v (%s) as %s", err, errs.Hint(err), r.state())
	}
	if counts.Moved != 1 || counts.Repositories != 1 {
		t.Errorf("came to %+v", counts)
	}
}

func TestOneRepositoryOnDemand(t *testing.T) {
	f := newFake(t, 1000)
	f.push("team/a", "1", "one")
	f.push("team/b", "1", "one")
	r := newRig(t, f)
	counts, err := r.Run(t.Context(), r.request("team/a"))
	r.ok(err)
	if diff := cmp.Diff(reconcile.Counts{Repositories: 1, Tags: 1, New: 1, Queued: 1, Requests: 2}, counts); diff != "" {
		t.Error(diff)
	}
	for repository, kind := range map[string]errs.Kind{"team/nowhere": errs.NotFound, "team/closed": errs.Forbidden} {
		f.refusing(at("/closed/", 403))
		if _, err := r.Run(t.Context(), r.request(repository)); !errs.Is(err, kind) {
			t.Errorf("%s ended with %v, want kind %s", repository, err, kind)
		}
	}
}

func TestAnEndlessListEnds(t *testing.T) {
	f := newFake(t, 1)
	f.push("team/a", "1", "one")
	f.push("team/b", "1", "one")
	f.refusing(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "_catalog") {
			w.Header().Set("Link", `</v2/_catalog?n=1&last=team%2Fa>; rel="next"`)
			_, _ = w.Write([]byte(`{"repositories":["team/a"]}`))
			return true
		}
		return false
	})
	r := newRig(t, f)
	if _, err := r.Run(t.Context(), r.request("")); !errs.Is(err, errs.Malformed) {
		t.Errorf("ended with %v", err)
	}
}

// What is wrong inside must not take the process with it.
func TestAPanicEndsTheRunAlone(t *testing.T) {
	r := newRig(t, newFake(t, 1))
	r.Registry = nil
	if _, err := r.Run(t.Context(), r.request("")); !errs.Is(err, errs.Internal) || r.state() != "failed internal" {
		t.Errorf("ended with %v as %s", err, r.state())
	}
}

// When the database goes away, the run stays open: what was saved holds.
func TestARunOutlivesTheDatabase(t *testing.T) {
	f := newFake(t, 1000)
	f.fill(6, 12)
	r := newRig(t, f)
	run := r.request("")
	r.Reconciler.Store = failing{r.store, 3}
	if _, err := r.Run(t.Context(), run); !errs.Is(err, errs.Canceled) || r.state() != "running" {
		t.Fatalf("ended with %v as %s", err, r.state())
	}
	r.Reconciler.Store = r.store
	if again, err := r.store.ClaimReconciliation(t.Context(), map[string]string{"prod": ""}); err != nil || again != nil {
		t.Fatalf("taken at once: %+v, %v", again, err)
	}
	for takeover, want := range map[int]string{0: "done", 100: "failed internal"} {
		_, err := r.pool.Exec(t.Context(), `UPDATE reconciliation SET state = 'running', lease_token = gen_random_uuid(), finished_at = NULL,
			lease_until = now() - interval '1 second', takeovers = $1`, takeover)
		r.ok(err)
		if again, err := r.store.ClaimReconciliation(t.Context(), map[string]string{"prod": ""}); err == nil && again != nil {
			_, err = r.Run(t.Context(), *again)
			r.ok(err)
		}
		if got := r.state(); got != want {
			t.Errorf("after %d takeovers it ended as %q, want %q", takeover, got, want)
		}
	}
}

// failing is a store that does not answer once a few repositories were saved.
type failing struct {
	reconcile.Store
	repositories int64
}

func (s failing) SaveReconciliation(ctx context.Context, run reconcile.Run) error {
	if run.Counts.Repositories >= s.repositories {
		return errs.New(errs.Unavailable, "the database is away")
	}
	return s.Store.SaveReconciliation(ctx, run)
}

// A registry that never knows the cursors it gave must not be read for ever.
func TestAListThatCannotBeGoneOnWithEnds(t *testing.T) {
	f := newFake(t, 1)
	f.push("team/a", "1", "one")
	f.push("team/b", "1", "one")
	r := newRig(t, f)
	forgetful := &forgetful{Registry: r.Registry}
	r.Registry = forgetful
	if _, err := r.Run(t.Context(), r.request("")); !errs.Is(err, errs.Invalid) || forgetful.asked != 4 {
		t.Errorf("ended with %v after %d pages, want the two anew", err, forgetful.asked)
	}
}

// forgetful is a registry that knows no cursor of its list of repositories.
type forgetful struct {
	reconcile.Registry
	asked int
}

func (f *forgetful) Repositories(ctx context.Context, registry, cursor string) ([]string, string, error) {
	if f.asked++; f.asked > 10 {
		return nil, "", errs.New(errs.Internal, "asked again and again")
	}
	if cursor != "" {
		return nil, "", errs.New(errs.Invalid, "the cursor is not known")
	}
	return f.Registry.Repositories(ctx, registry, cursor)
}
