//go:build chaos

// A registry of a size that hurts, and processes that are killed while they
// compare it: `make chaos`.
package reconcile_test

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tidewaiter/tidewaiter/internal/pgtest"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/reconcile"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

const (
	manyRepositories = 2_000
	manyTags         = 50_000
	childDatabase    = "TIDEWAITER_TEST_CHILD_DATABASE"
	childRegistry    = "TIDEWAITER_TEST_CHILD_REGISTRY"
)

// TestChild is a process that does one run, and may be killed. Without the
// variables it is nobody's child and has nothing to do.
func TestChild(t *testing.T) {
	if os.Getenv(childDatabase) == "" {
		return
	}
	pool, err := pgxpool.New(t.Context(), os.Getenv(childDatabase))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	client, err := registry.New([]registry.Settings{{Name: "prod", Host: os.Getenv(childRegistry), PlainHTTP: true}})
	if err != nil {
		t.Fatal(err)
	}
	store := postgres.Reconciliations{Store: postgres.New(pool), Permits: noPermits}
	for {
		run, err := store.ClaimReconciliation(t.Context(), map[string]string{"prod": ""})
		if err != nil {
			t.Fatal(err)
		}
		if run == nil {
			time.Sleep(100 * time.Millisecond)
			continue
		}
		if _, err := (reconcile.Reconciler{Registry: client, Store: store}).Run(t.Context(), *run); err != nil {
			t.Fatal(err)
		}
		return
	}
}

func TestTwoThousandRepositoriesAndKills(t *testing.T) {
	f := newFake(t, 1000)
	f.fill(manyRepositories, manyTags)
	database := pgtest.URL(t)
	r := newRigOn(t, f, database)
	budget := asked{Pages: manyRepositories / 1000, Lists: manyRepositories, Heads: manyTags}
	_, err := r.store.RequestReconciliation(t.Context(), "prod", "")
	r.ok(err)

	stop := r.keepWorking()
	start := time.Now()
	var deaths []time.Duration
	for _, after := range []int{manyRepositories / 3, 2 * manyRepositories / 3} {
		child := r.child(database)
		r.killWhen(child, after)
		deaths = append(deaths, time.Since(start).Round(time.Second))
	}
	r.ok(r.child(database).Wait())
	stop()
	r.work()
	took := time.Since(start)
	lists := len(f.listed)
	got := f.counted()
	t.Logf("first run: %.0f s with deaths at %v, each followed by a lease of 30 s; asked %+v", took.Seconds(), deaths, got)
	if lists != manyRepositories || got.Lists > budget.Lists+len(deaths) || got.Pages > budget.Pages+len(deaths) ||
		got.Heads > budget.Heads+len(deaths)*manyTags/manyRepositories || got.Gets != 0 {
		t.Errorf("asked %+v for %d repositories; want %+v, and per death no more than the page and the repository under way", got, lists, budget)
	}
	if n := r.count("tag"); n != manyTags {
		t.Errorf("%d tags are known, want %d", n, manyTags)
	}
	if n := r.count(`reconciliation WHERE state = 'done' AND takeovers = 2`); n != 1 {
		t.Error("the run is not done, or was not taken over twice")
	}

	start = time.Now()
	second := r.run()
	t.Logf("second run: %.1f s, %d requests", time.Since(start).Seconds(), second.Requests)
	if diff := cmp.Diff(budget, f.counted()); diff != "" {
		t.Errorf("the second run asked: %s", diff)
	}
	want := reconcile.Counts{Repositories: manyRepositories, Tags: manyTags, Same: manyTags, Requests: manyTags + manyRepositories + manyRepositories/1000}
	if diff := cmp.Diff(want, second); diff != "" {
		t.Errorf("the second run came to: %s", diff)
	}
}

// child starts a process that does the run.
func (r *rig) child(database string) *exec.Cmd {
	r.t.Helper()
	c := exec.Command(os.Args[0], "-test.run", "^TestChild$")
	c.Env = append(os.Environ(), childDatabase+"="+database, childRegistry+"="+r.fake.host())
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	r.ok(c.Start())
	r.t.Cleanup(func() { _ = c.Process.Kill() })
	return c
}

// killWhen kills the process once so many lists of tags were asked for.
func (r *rig) killWhen(child *exec.Cmd, lists int) {
	r.t.Helper()
	var reached atomic.Bool
	ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Minute)
	defer cancel()
	r.fake.refusing(func(_ http.ResponseWriter, req *http.Request) bool {
		if strings.HasSuffix(req.URL.Path, "/tags/list") && len(r.fake.listed) >= lists && !reached.Swap(true) {
			_ = child.Process.Kill()
			cancel()
		}
		return false
	})
	<-ctx.Done()
	_ = child.Wait()
	if !reached.Load() {
		r.t.Fatalf("the process never came to %d lists", lists)
	}
}
