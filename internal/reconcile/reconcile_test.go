package reconcile_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/reconcile"
)

func TestWhatWasMissedIsQueued(t *testing.T) {
	f := newFake(t, 100)
	f.push("team/shop", "1.0", "one")
	f.push("team/shop", "latest", "one")
	f.push("team/web", "1.0", "web")
	r := newRig(t, f)
	got := r.run()
	want := reconcile.Counts{Repositories: 2, Tags: 3, New: 3, Queued: 3, Requests: 1 + 2 + 3}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"reconcile team/shop:1.0", "reconcile team/shop:latest", "reconcile team/web:1.0"}, r.waiting()); diff != "" {
		t.Error(diff)
	}
	r.work()
	f.counted()

	if diff := cmp.Diff(reconcile.Counts{Repositories: 2, Tags: 3, Same: 3, Requests: 6}, r.run()); diff != "" {
		t.Errorf("a second run: %s", diff)
	}
	if diff := cmp.Diff(asked{Pages: 1, Lists: 2, Heads: 3}, f.counted()); diff != "" {
		t.Errorf("a second run asked: %s", diff)
	}
	if waiting := r.waiting(); len(waiting) > 0 {
		t.Errorf("a second run queued %v", waiting)
	}

	f.push("team/shop", "latest", "two")
	f.drop("team/shop", "1.0")
	f.push("team/shop", "2.0", "two")
	if diff := cmp.Diff(reconcile.Counts{Repositories: 2, Tags: 3, New: 1, Moved: 1, Same: 1, Gone: 1, Queued: 3, Requests: 6}, r.run()); diff != "" {
		t.Errorf("after changes: %s", diff)
	}
	if diff := cmp.Diff([]string{"delete team/shop:1.0", "reconcile team/shop:2.0", "reconcile team/shop:latest"}, r.waiting()); diff != "" {
		t.Error(diff)
	}
}

// Budget: a request per page of repositories, one per page of tags, one per tag.
func TestASyntheticRegistryStaysWithinItsBudget(t *testing.T) {
	const repositories, tags = 200, 5000
	f := newFake(t, 100)
	f.fill(repositories, tags)
	r := newRig(t, f)
	budget := asked{Pages: 2, Lists: repositories, Heads: tags}

	stop := r.keepWorking()
	first := r.run()
	stop()
	r.work()
	if diff := cmp.Diff(budget, f.counted()); diff != "" {
		t.Errorf("the first run asked: %s", diff)
	}
	if first.New != tags || first.Queued != tags || r.count("tag") != tags {
		t.Errorf("the first run came to %+v and %d tags", first, r.count("tag"))
	}

	second := r.run()
	if diff := cmp.Diff(budget, f.counted()); diff != "" {
		t.Errorf("the second run asked: %s", diff)
	}
	want := reconcile.Counts{Repositories: repositories, Tags: tags, Same: tags, Requests: 2 + repositories + tags}
	if diff := cmp.Diff(want, second); diff != "" {
		t.Errorf("the second run came to: %s", diff)
	}
	if n := r.count("scan"); n != tags {
		t.Errorf("%d scans in all, want %d", n, tags)
	}
}

// When a process dies, another goes on behind the last repository that was done.
func TestARunThatWasCutOffGoesOnWhereItWas(t *testing.T) {
	const repositories, tags = 60, 1200
	f := newFake(t, 25)
	f.fill(repositories, tags)
	r := newRig(t, f)
	defer r.keepWorking()()
	run := r.request("")
	asked := 0
	f.refusing(func(_ http.ResponseWriter, req *http.Request) bool {
		if strings.HasSuffix(req.URL.Path, "/tags/list") {
			if asked++; asked == repositories/2 { // the process hangs, and its lease runs out
				_, err := r.pool.Exec(t.Context(), `UPDATE reconciliation SET lease_until = now() - interval '1 second', lease_token = gen_random_uuid()`)
				if err != nil {
					t.Error(err)
				}
			}
		}
		return false
	})
	if _, err := r.Run(t.Context(), run); !errs.Is(err, errs.Canceled) {
		t.Fatalf("the run without a lease ended with %v", err)
	}
	again := r.claim()
	if again.ID != run.ID || again.Lease == run.Lease || again.Position.After == "" {
		t.Fatalf("claimed %+v", again)
	}
	counts, err := r.Run(t.Context(), again)
	r.ok(err)
	if counts.Repositories != repositories || counts.Tags != tags || counts.New+counts.Same != tags {
		t.Errorf("the run came to %+v", counts)
	}
	twice := 0
	for _, n := range f.listed {
		twice += n - 1
	}
	if len(f.listed) != repositories || twice != 1 {
		t.Errorf("%d repositories were listed, %d of them twice; want %d, and only the one under way twice", len(f.listed), twice, repositories)
	}
	r.work()
	if n := r.count("tag"); n != tags {
		t.Errorf("%d tags are known, want %d", n, tags)
	}
	if n := r.count(`reconciliation WHERE state = 'done' AND takeovers = 1`); n != 1 {
		t.Errorf("%d runs are done and were taken over once, want 1", n)
	}
}

// A repository of many pages goes on behind the last page that was done.
func TestALargeRepositoryGoesOnWhereItWas(t *testing.T) {
	const tags, page = 500, 50
	f := newFake(t, page)
	f.fill(1, tags)
	r := newRig(t, f)
	defer r.keepWorking()()
	r.MaxQueued = 100000
	ctx, stop := context.WithCancel(t.Context())
	pages := 0
	f.refusing(func(_ http.ResponseWriter, req *http.Request) bool {
		if strings.HasSuffix(req.URL.Path, "/tags/list") {
			if pages++; pages == 6 {
				stop()
			}
		}
		return false
	})
	if _, err := r.Run(ctx, r.request("")); !errs.Is(err, errs.Canceled) {
		t.Fatalf("the run that was stopped ended with %v", err)
	}
	f.counted()
	counts, err := r.Run(t.Context(), r.claim())
	r.ok(err)
	if got := f.counted(); got.Lists != tags/page-5 || got.Heads != tags-5*page {
		t.Errorf("the second part asked %+v, want the %d pages that were open", got, tags/page-5)
	}
	if counts.Tags != tags || counts.Repositories != 1 || counts.Gone != 0 {
		t.Errorf("the run came to %+v", counts)
	}
	if n := r.count(`reconciliation WHERE state = 'done' AND takeovers = 0`); n != 1 {
		t.Error("a run that was handed back counts as taken over")
	}
}

// The same among the repositories that are known and not listed.
func TestARunThatWasCutOffAmongTheUnlistedSkipsNone(t *testing.T) {
	repositories := []string{"team/a", "team/b", "team/c"}
	f := newFake(t, 100)
	for _, name := range repositories {
		f.push(name, "1", name)
	}
	r := newRig(t, f)
	r.run()
	r.work()
	for _, name := range repositories {
		f.push(name, "1", "moved "+name)
	}
	run := r.request("")
	f.refusing(func(w http.ResponseWriter, req *http.Request) bool {
		if strings.HasSuffix(req.URL.Path, "/team/b/tags/list") && f.listed["team/b"] == 1 {
			_, err := r.pool.Exec(t.Context(), `UPDATE reconciliation SET lease_until = now() - interval '1 second', lease_token = gen_random_uuid()
				WHERE state = 'running'`)
			if err != nil {
				t.Error(err)
			}
		}
		return strings.HasSuffix(req.URL.Path, "/_catalog") && status(404)(w, req)
	})
	f.counted()
	if _, err := r.Run(t.Context(), run); !errs.Is(err, errs.Canceled) {
		t.Fatalf("the run without a lease ended with %v", err)
	}
	if counts, err := r.Run(t.Context(), r.claim()); !errs.Is(err, errs.Unsupported) || counts.Repositories != 3 {
		t.Errorf("the run came to %+v, %v", counts, err)
	}
	if diff := cmp.Diff([]string{"reconcile team/a:1", "reconcile team/b:1", "reconcile team/c:1"}, r.waiting()); diff != "" {
		t.Error(diff)
	}
}
