package postgres_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/reconcile"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

func (f *fixture) runs() postgres.Reconciliations {
	return postgres.Reconciliations{Store: f.store, Permits: noPermits}
}

// claimRun takes the next run of the registry, nil when there is none.
func (f *fixture) claimRun() *reconcile.Run {
	f.t.Helper()
	run, err := f.store.ClaimReconciliation(f.t.Context(), map[string]string{"prod": "now"})
	f.ok(err)
	return run
}

func TestOneRunPerRegistryOverAllProcesses(t *testing.T) {
	f := newFixture(t)
	whole, err := f.store.RequestReconciliation(t.Context(), "prod", "")
	f.ok(err)
	one, err := f.store.RequestReconciliation(t.Context(), "prod", "team/app")
	f.ok(err)
	var claimers sync.WaitGroup
	claimed := make(chan *reconcile.Run, 8)
	for range cap(claimed) {
		claimers.Go(func() {
			run, err := f.store.ClaimReconciliation(t.Context(), map[string]string{"prod": ""})
			if err != nil {
				t.Error(err)
			}
			claimed <- run
		})
	}
	claimers.Wait()
	close(claimed)
	var got []int64
	for run := range claimed {
		if run != nil {
			got = append(got, run.ID)
		}
	}
	if len(got) != 1 || got[0] != one && got[0] != whole {
		t.Fatalf("runs %v were claimed, want one", got)
	}
	if run := f.claimRun(); run != nil {
		t.Errorf("another run of the registry was claimed: %+v", run)
	}
	if _, err := f.store.RequestReconciliation(t.Context(), "nowhere", ""); !errs.Is(err, errs.NotFound) {
		t.Errorf("a registry nobody knows: %v", err)
	}
}

func TestARunIsTakenOverWhenItsLeaseRunsOut(t *testing.T) {
	f := newFixture(t)
	_, err := f.store.RequestReconciliation(t.Context(), "prod", "")
	f.ok(err)
	first := f.claimRun()
	first.Position = reconcile.Position{Page: "p", After: "team/app", Repository: "team/b", Tags: "t"}
	first.Counts = reconcile.Counts{Repositories: 3, Requests: 9}
	f.ok(f.store.SaveReconciliation(t.Context(), *first))
	f.ok(f.store.RenewReconciliation(t.Context(), *first, "waits"))
	if run := f.claimRun(); run != nil {
		t.Fatalf("a run with a lease was taken: %+v", run)
	}
	f.exec(`UPDATE reconciliation SET lease_until = now() - interval '1 second'`)
	second := f.claimRun()
	want := *first
	want.Lease = second.Lease
	if diff := cmp.Diff(want, *second); diff != "" || second.Lease == first.Lease {
		t.Errorf("taken over: %s", diff)
	}
	for name, write := range map[string]func() error{
		"save":    func() error { return f.store.SaveReconciliation(t.Context(), *first) },
		"renew":   func() error { return f.store.RenewReconciliation(t.Context(), *first, "") },
		"finish":  func() error { return f.store.FinishReconciliation(t.Context(), *first, nil) },
		"release": func() error { return f.store.ReleaseReconciliation(t.Context(), *first) },
		"queue": func() error {
			_, err := f.runs().QueueTargets(t.Context(), *first, "team/app", []reconcile.Target{{Tag: "1", Cause: scan.CauseReconcile}})
			return err
		},
	} {
		if err := write(); !errs.Is(err, errs.Canceled) {
			t.Errorf("%s without the lease: %v", name, err)
		}
	}
	f.ok(f.store.ReleaseReconciliation(t.Context(), *second))
	if third := f.claimRun(); third == nil || f.count(`reconciliation WHERE takeovers = 1`) != 1 {
		t.Error("a run that was handed back is not claimed at once, or counts as taken over")
	}
}

func TestRunsAreScheduled(t *testing.T) {
	f := newFixture(t)
	due := func() bool {
		t.Helper()
		queued, err := f.store.ScheduleReconciliation(t.Context(), "prod", 24*time.Hour, time.Hour)
		f.ok(err)
		return queued
	}
	end := func(cause error) {
		t.Helper()
		f.ok(f.store.FinishReconciliation(t.Context(), *f.claimRun(), cause))
	}
	age := func(d string) {
		t.Helper()
		f.exec(`UPDATE reconciliation SET created_at = created_at - $1::interval, finished_at = finished_at - $1::interval`, d)
	}
	steps := []struct {
		name string
		do   func()
		want bool
	}{
		{"none was ever made", func() {}, true},
		{"one waits", func() {}, false},
		{"one ended", func() { end(nil) }, false},
		{"a day later", func() { age("24 hours 1 second") }, true},
		{"it failed, for a reason that passes", func() { end(errs.New(errs.Unavailable, "down")) }, false},
		{"an hour after", func() { age("1 hour 1 second") }, true},
		{"it failed, for a reason that stays", func() { end(errs.New(errs.Unsupported, "no list")) }, false},
		{"an hour after that", func() { age("1 hour 1 second") }, false},
		{"a day after that", func() { age("24 hours") }, true},
		{"one repository says nothing of the others", func() {
			end(nil)
			age("25 hours")
			_, err := f.store.RequestReconciliation(t.Context(), "prod", "team/app")
			f.ok(err)
		}, true},
	}
	for _, s := range steps {
		s.do()
		if got := due(); got != s.want {
			t.Errorf("%s: due is %v, want %v", s.name, got, s.want)
		}
	}
}

func TestRunsOfFormerRegistriesAreCanceled(t *testing.T) {
	f := newFixture(t)
	_, err := f.store.RequestReconciliation(t.Context(), "prod", "")
	f.ok(err)
	f.ok(f.store.CancelReconciliations(t.Context(), []string{"prod"}))
	if f.count(`reconciliation WHERE state = 'canceled'`) != 0 {
		t.Error("a run of a configured registry was canceled")
	}
	f.ok(f.store.CancelReconciliations(t.Context(), []string{"other"}))
	if f.count(`reconciliation WHERE state = 'canceled' AND finished_at IS NOT NULL`) != 1 {
		t.Error("the run waits for ever")
	}
}

// A run remembers the rules it began with: the next compares with those.
func TestARunKnowsTheRulesOfTheOneBefore(t *testing.T) {
	f := newFixture(t)
	for _, want := range []string{"", "now"} {
		_, err := f.store.RequestReconciliation(t.Context(), "prod", "")
		f.ok(err)
		run := f.claimRun()
		if run.RulesBefore != want {
			t.Errorf("rules before are %q, want %q", run.RulesBefore, want)
		}
		f.exec(`UPDATE reconciliation SET lease_until = now() - interval '1 second' WHERE state = 'running'`)
		again, err := f.store.ClaimReconciliation(t.Context(), map[string]string{"prod": "changed on the way"})
		f.ok(err)
		f.ok(f.store.FinishReconciliation(t.Context(), *again, nil))
	}
}

func TestTargetsJoinTheEndOfTheLine(t *testing.T) {
	f := newFixture(t)
	_, err := f.store.RequestReconciliation(t.Context(), "prod", "")
	f.ok(err)
	run := *f.claimRun()
	f.push("k", "team/app", "pushed", digestOf("a"))
	target := func(tag, name string) reconcile.Target {
		return reconcile.Target{Tag: tag, Digest: digestOf(name), Cause: scan.CauseReconcile, Why: reconcile.New}
	}
	targets := []reconcile.Target{target("z", "z"), target("pushed", "b"), target("a", "a"), target("", "one"), target("", "two")}
	done, err := f.runs().QueueTargets(t.Context(), run, "team/app", targets)
	f.ok(err)
	var got []string
	for _, t := range done {
		got = append(got, t.Tag+"@"+string(t.Digest))
	}
	if len(done) != 4 || strings.Contains(strings.Join(got, " "), "pushed") {
		t.Errorf("queued %v, want all but the one that a push queued", got)
	}
	if n := f.count(`scan WHERE tag = 'pushed' AND cause = 'push' AND priority = 0 AND digest = $1`, string(digestOf("a"))); n != 1 {
		t.Error("the scan of the push was changed")
	}
	waiting, err := f.store.Waiting(t.Context(), run)
	f.ok(err)
	if waiting != 4 {
		t.Errorf("%d scans wait, want 4", waiting)
	}
	if again, err := f.runs().QueueTargets(t.Context(), run, "team/app", targets); err != nil || len(again) != 0 {
		t.Errorf("queued once more: %v, %v", again, err)
	}
	if job := f.claim(); job.Ref.Tag != "pushed" {
		t.Errorf("%s goes ahead of the push", job.Ref)
	}
}

// A tag that a rule leaves out no longer stands for what it pointed to before.
func TestWhatIsLeftOutStandsForNothing(t *testing.T) {
	f := newFixture(t)
	f.push("1", "team/app", "latest", digestOf("one"))
	job := f.claim()
	f.ok(f.store.SaveManifest(t.Context(), job, imageManifest("one")))
	f.ok(f.store.SaveAnswer(t.Context(), job, answer("one", nil, npm("lodash", "1"))))
	f.ok(f.store.SaveFindings(t.Context(), job))
	f.ok(f.store.FinishScan(t.Context(), job, scan.Result{Digest: digestOf("one")}, nil))
	if f.count(`live_image`) != 1 {
		t.Fatal("the image is not live")
	}
	f.push("2", "team/app", "latest", digestOf("two"))
	job = f.claim()
	left := imageManifest("two")
	left.Excluded = "old"
	f.ok(f.store.SaveManifest(t.Context(), job, left))
	f.ok(f.store.SaveFindings(t.Context(), job))
	f.ok(f.store.FinishScan(t.Context(), job, scan.Result{Digest: digestOf("two")}, nil))
	if n := f.count(`live_image`); n != 0 {
		t.Errorf("%d images are live; the tag is left out and must not keep what it pointed to", n)
	}
}

func TestTagsOfAManifestAndOfTheIndexThatHoldsIt(t *testing.T) {
	f := newFixture(t)
	index := scan.Manifest{Digest: digestOf("index"), MediaType: image.MediaTypeOCIIndex, Kind: image.KindIndex,
		Children: []scan.Manifest{imageManifest("amd64"), imageManifest("arm64")}}
	save := func(repository, tag string, m scan.Manifest) scan.Job {
		t.Helper()
		f.push(repository+tag, repository, tag, m.Digest)
		job := f.claim()
		f.ok(f.store.SaveManifest(t.Context(), job, m))
		f.ok(f.store.FinishScan(t.Context(), job, scan.Result{Digest: m.Digest}, nil))
		return job
	}
	save("team/app", "1.0", index)
	save("team/app", "pr-1", index)
	save("elsewhere/app", "2.0", index)
	job := save("team/app", "arm", imageManifest("arm64"))
	got, err := f.store.TagsOf(t.Context(), job, []image.Digest{index.Digest, digestOf("amd64"), digestOf("arm64"), digestOf("unknown")})
	f.ok(err)
	for _, tags := range got {
		slices.Sort(tags)
	}
	want := map[image.Digest][]string{index.Digest: {"1.0", "pr-1"}, digestOf("amd64"): {"1.0", "pr-1"}, digestOf("arm64"): {"1.0", "arm", "pr-1"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
