package reconcile_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/reconcile"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

func TestARepositoryThatIsGoneTakesItsTags(t *testing.T) {
	f := newFake(t, 100)
	f.push("team/a", "1", "a1")
	f.push("team/a", "2", "a2")
	f.push("team/b", "1", "b1")
	r := newRig(t, f)
	r.run()
	r.work()
	delete(f.tags, "team/a")
	f.counted()
	counts := r.run()
	if counts.Gone != 2 || counts.Queued != 2 || counts.Same != 1 {
		t.Errorf("came to %+v", counts)
	}
	if diff := cmp.Diff([]string{"delete team/a:1", "delete team/a:2"}, r.waiting()); diff != "" {
		t.Error(diff)
	}
	r.work()
	if counts := r.run(); counts.Gone != 0 || counts.Repositories != 1 {
		t.Errorf("once it is gone, a run came to %+v", counts)
	}
}

// What the registry does not list may still be there.
func TestARepositoryThatIsNotListedIsLookedAt(t *testing.T) {
	f := newFake(t, 100)
	f.push("team/a", "1", "a1")
	r := newRig(t, f)
	_, err := r.Run(t.Context(), r.request("team/a"))
	r.ok(err)
	r.work()
	f.push("team/a", "2", "a2")
	f.push("team/b", "1", "b1")
	f.refusing(at("/nothing", 404))
	// The list holds only what another token may see.
	r.Registry = only{r.Registry, "team/b"}
	counts := r.run()
	if counts.Repositories != 2 || counts.New != 2 || counts.Same != 1 || counts.Gone != 0 {
		t.Errorf("came to %+v", counts)
	}
}

func TestAnUntaggedManifestIsAskedFor(t *testing.T) {
	f := newFake(t, 100)
	f.push("team/a", "1", "one")
	r := newRig(t, f)
	r.run()
	r.work()
	f.alone["team/a"] = append(f.alone["team/a"], digestOf("one"))
	f.push("team/a", "1", "two") // nothing leads to the first any more
	r.run()
	r.work()
	if counts := r.run(); counts.Gone != 0 || counts.Same != 1 || counts.Queued != 0 {
		t.Errorf("while it is there: %+v", counts)
	}
	f.counted()
	delete(f.alone, "team/a")
	if counts := r.run(); counts.Gone != 1 || counts.Queued != 1 {
		t.Errorf("when it is gone: %+v", counts)
	}
	if got := f.counted(); got.Heads != 2 || got.Gets != 0 {
		t.Errorf("asked %+v", got)
	}
	if diff := cmp.Diff([]string{"delete team/a:"}, r.waiting()); diff != "" {
		t.Error(diff)
	}
	r.work()
	if counts := r.run(); counts.Gone != 0 {
		t.Errorf("once it is known to be gone: %+v", counts)
	}
}

// Scans that failed on the way get another try, one per run.
func TestAFailedScanIsTriedAgainOncePerRun(t *testing.T) {
	f := newFake(t, 100)
	f.push("team/a", "1", "one")
	f.push("team/a", "2", "one")
	f.push("team/b", "1", "bad")
	r := newRig(t, f)
	r.run()
	r.work()
	for tag, reason := range map[string]string{"team/a": "timeout", "team/b": "malformed"} {
		_, err := r.pool.Exec(t.Context(), `UPDATE scan SET state = 'failed', reason = $2 FROM repository r WHERE r.id = scan.repository_id AND r.name = $1`, tag, reason)
		r.ok(err)
	}
	_, err := r.pool.Exec(t.Context(), `UPDATE manifest SET kind = 'image', state = 'failed', reason = 'timeout'`)
	r.ok(err)
	counts := r.run()
	if counts.Retried != 2 || counts.Queued != 1 || counts.Same != 1 {
		t.Errorf("came to %+v", counts)
	}
	if diff := cmp.Diff([]string{"reconcile team/a:1"}, r.waiting()); diff != "" {
		t.Errorf("one scan of a manifest is enough: %s", diff)
	}
}

func TestRunsNeverFloodTheQueue(t *testing.T) {
	const most = 10
	f := newFake(t, 100)
	f.fill(5, 200)
	r := newRig(t, f)
	r.MaxQueued = most
	over := 0
	r.Observe = func(string, reconcile.Counts, map[reconcile.Why]int) {
		over = max(over, r.count(`scan WHERE state = 'queued'`))
	}
	stop := r.keepWorking()
	counts := r.run()
	stop()
	if counts.Queued != 200 || over > most {
		t.Errorf("%d scans were queued, %d at once; want 200, at most %d at once", counts.Queued, over, most)
	}
	if n := r.count(`scan WHERE priority <> $1`, scan.PriorityReconcile); n != 0 {
		t.Errorf("%d scans are ahead of pushes", n)
	}
}
