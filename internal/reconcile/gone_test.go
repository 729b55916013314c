package reconcile_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
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

// A registry without its storage answers and lists nothing.
func TestAnEmptyRegistryIsNotBelievedUnlessSomebodyAsks(t *testing.T) {
	f := newFake(t, 100)
	f.push("team/a", "1", "a1")
	r := newRig(t, f)
	r.run()
	r.work()
	delete(f.tags, "team/a")
	scheduled := r.request("")
	scheduled.Requested = false
	counts, err := r.Run(t.Context(), scheduled)
	if !errs.Is(err, errs.NotFound) || counts.Gone != 0 || counts.Queued != 0 {
		t.Errorf("the schedule came to %+v, %v", counts, err)
	}
	if counts := r.run(); counts.Gone != 1 {
		t.Errorf("who asked came to %+v", counts)
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

// told plays a delivery whose scan failed before the registry said anything.
func (r *rig) told(repository, tag, name, reason string) {
	r.t.Helper()
	_, err := r.pool.Exec(r.t.Context(), `
		WITH place AS (
			INSERT INTO repository (registry_id, name) SELECT id, $1 FROM registry WHERE name = 'prod'
			ON CONFLICT (registry_id, name) DO UPDATE SET name = EXCLUDED.name RETURNING id, registry_id
		)
		INSERT INTO scan (registry_id, repository_id, tag, digest, cause, state, reason, finished_at)
		SELECT registry_id, id, $2, $3, 'push', 'failed', $4, now() FROM place`, repository, tag, string(digestOf(name)), reason)
	r.ok(err)
}

func (r *rig) unresolved() int { return r.count("ledger_target") }

// What was told of and never found out about is there by now, or came and went.
func TestWhatNoScanFoundOutIsAskedFor(t *testing.T) {
	f := newFake(t, 100)
	f.push("team/a", "1", "one")
	f.push("team/a", "2", "two")
	f.alone["team/a"] = append(f.alone["team/a"], digestOf("alone"))
	r := newRig(t, f)
	r.run()
	r.work()
	r.told("team/a", "1", "never", "unavailable")  // the tag points to what it did before
	r.told("team/a", "left", "left", "not_found")  // pushed and deleted at once
	r.told("team/a", "", "lost", "not_found")      // the same without a tag
	r.told("team/a", "", "alone", "unauthorized")  // there
	r.told("secret/b", "1", "hidden", "not_found") // the registry knows no such repository
	counts := r.run()
	if counts.New != 2 || counts.Gone != 2 || counts.Queued != 4 || counts.Same != 2 || counts.Errors != 0 {
		t.Errorf("came to %+v", counts)
	}
	want := []string{"delete team/a:", "delete team/a:left", "reconcile team/a:", "reconcile team/a:1"}
	if diff := cmp.Diff(want, r.waiting()); diff != "" {
		t.Error(diff)
	}
	r.work()
	if n := r.unresolved(); n != 1 {
		t.Errorf("%d targets are unresolved, want what may be hidden alone", n)
	}
	if counts := r.run(); counts.Queued != 0 {
		t.Errorf("once that is settled, a run came to %+v", counts)
	}
}

// A repository whose every tag is gone may be unknown to its registry; that is
// believed of one that it served before.
func TestAnUnlistedRepositoryThatWasServedIsBelievedToBeGone(t *testing.T) {
	f := newFake(t, 100)
	f.push("team/a", "1", "one")
	r := newRig(t, f)
	r.run()
	r.work()
	r.told("team/a", "2", "two", "not_found")
	delete(f.tags, "team/a")
	r.run()
	if diff := cmp.Diff([]string{"delete team/a:1", "delete team/a:2"}, r.waiting()); diff != "" {
		t.Error(diff)
	}
	r.work()
	if n := r.unresolved(); n != 0 {
		t.Errorf("%d targets are unresolved", n)
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
