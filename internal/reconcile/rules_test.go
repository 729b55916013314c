package reconcile_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/reconcile"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

func rule(name, repository, tag string) scan.Rule {
	return scan.Rule{Name: name, Repository: scan.NewGlob(repository), Tag: scan.NewGlob(tag)}
}

// exclude records tags as the scanner does when a rule leaves them out.
func (r *rig) exclude(rule, repository, tag string) {
	r.t.Helper()
	_, err := r.pool.Exec(r.t.Context(), `
		UPDATE repository_manifest rm SET presence = CASE WHEN $1 = '' THEN 'present' ELSE 'excluded' END, reason = $1 FROM repository r, tag t
		 WHERE r.id = rm.repository_id AND t.repository_id = r.id AND t.manifest_id = rm.manifest_id AND r.name LIKE $2 AND t.name LIKE $3`,
		rule, repository, tag)
	r.ok(err)
}

func TestARepositoryThatIsLeftOutIsNotListed(t *testing.T) {
	f := newFake(t, 100)
	f.push("cache/a", "1", "a")
	f.push("team/b", "1", "b")
	r := newRig(t, f)
	r.ruled(scan.Rules{Exclude: []scan.Rule{rule("caches", "cache/**", "")}})
	counts := r.run()
	if counts.Excluded != 1 || counts.New != 1 || f.listed["cache/a"] != 0 {
		t.Errorf("came to %+v, %d lists of what is left out", counts, f.listed["cache/a"])
	}
	if n := r.count(`repository WHERE name = 'cache/a' AND excluded = 'caches'`); n != 1 {
		t.Error("it is not recorded as left out")
	}
	r.work()
	r.ruled(scan.Rules{})
	if counts := r.run(); counts.Excluded != 0 || counts.New != 1 || counts.Same != 1 {
		t.Errorf("without the rule: %+v", counts)
	}
	r.work()
	if n := r.count(`repository WHERE excluded <> ''`); n != 0 {
		t.Error("it is still recorded as left out")
	}
	// Once it is known, the rule comes back: a scan has to record it.
	r.ruled(scan.Rules{Exclude: []scan.Rule{rule("no caches", "cache/**", "")}})
	if counts := r.run(); counts.Excluded != 1 || counts.Queued != 1 {
		t.Errorf("with another rule: %+v", counts)
	}
	if diff := cmp.Diff([]string{"reconcile cache/a:1"}, r.waiting()); diff != "" {
		t.Error(diff)
	}
	r.work()
	r.exclude("no caches", "cache/a", "1")
	if counts := r.run(); counts.Excluded != 1 || counts.Queued != 0 {
		t.Errorf("once it is recorded: %+v", counts)
	}
}

func TestATagThatIsLeftOutIsNotAskedFor(t *testing.T) {
	f := newFake(t, 100)
	for _, tag := range []string{"pr-1", "pr-2", "1.0"} {
		f.push("team/a", tag, tag)
	}
	r := newRig(t, f)
	r.ruled(scan.Rules{Exclude: []scan.Rule{rule("pull requests", "", "pr-*")}})
	if counts := r.run(); counts.New != 3 { // scans record what is left out
		t.Errorf("at first: %+v", counts)
	}
	r.work()
	r.exclude("pull requests", "team/a", "pr-%")
	f.counted()
	want := reconcile.Counts{Repositories: 1, Tags: 3, Same: 1, Excluded: 2, Requests: 3}
	if diff := cmp.Diff(want, r.run()); diff != "" {
		t.Errorf("then: %s", diff)
	}
	if got := f.counted(); got.Heads != 1 {
		t.Errorf("%d tags were asked for, want 1", got.Heads)
	}
	f.push("team/a", "pr-1", "moved") // nobody looks
	if counts := r.run(); counts.Queued != 0 || counts.Gone != 0 {
		t.Errorf("after a push to what is left out: %+v", counts)
	}

	r.ruled(scan.Rules{Exclude: []scan.Rule{rule("pull requests", "", "pr-2*")}})
	if counts := r.run(); counts.Queued != 1 || counts.Excluded != 1 {
		t.Errorf("with a narrower rule: %+v", counts)
	}
	if diff := cmp.Diff([]string{"reconcile team/a:pr-1"}, r.waiting()); diff != "" {
		t.Error(diff)
	}
}

// A rule that comes makes a scan look once more; what somebody asked for since
// stays until the rules change.
func TestARuleThatComesIsAppliedOnce(t *testing.T) {
	f := newFake(t, 100)
	f.push("team/a", "pr-1", "one")
	f.push("team/a", "1.0", "two")
	r := newRig(t, f)
	r.run()
	r.work()
	r.ruled(scan.Rules{Exclude: []scan.Rule{rule("pull requests", "", "pr-*")}})
	if counts := r.run(); counts.Retried != 1 || counts.Queued != 1 {
		t.Errorf("when it comes: %+v", counts)
	}
	r.work()
	r.exclude("pull requests", "team/a", "pr-1")
	r.exclude("", "team/a", "pr-1") // somebody asked for it
	if counts := r.run(); counts.Queued != 0 || counts.Same != 2 {
		t.Errorf("the next time: %+v", counts)
	}
}
