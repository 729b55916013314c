package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

func TestATagKeepsItsFindingsUntilTheNewImageIsAnswered(t *testing.T) {
	f := newFixture(t)
	f.scanned("team/app", "1", "old", answer("old", map[string][]vuln.Match{"lodash": {finding("CVE-1")}}, npm("lodash", "4.17.15")))
	f.push("new", "team/app", "1", "")
	job := f.claim()
	f.ok(f.store.SaveManifest(t.Context(), job, imageManifest("new")))
	f.ok(f.store.Reserve(t.Context(), job, digestOf("new")))
	f.scanned("team/app", "other", "third", answer("third", nil, npm("a", "1"))) // compares the repository meanwhile
	f.ok(f.store.SaveFailure(t.Context(), job, digestOf("new"), errs.New(errs.Unavailable, "registry down")))
	f.ok(f.store.SaveFindings(t.Context(), job))
	if n := f.count("finding_event WHERE kind = 'closed'"); n != 0 {
		t.Fatalf("%d findings closed before the new image had an answer", n)
	}
	f.ok(f.store.SaveAnswer(t.Context(), job, answer("new", nil, npm("lodash", "4.17.21"))))
	f.ok(f.store.SaveFindings(t.Context(), job))
	if n := f.count("finding_event WHERE kind = 'closed'"); n != 1 {
		t.Errorf("%d findings closed by the answer, want 1", n)
	}
}

func TestALateAnswerDoesNotOpenWhatTheCandidateClosed(t *testing.T) {
	f := newFixture(t)
	matches := map[string][]vuln.Match{"a": {finding("CVE-1")}}
	f.scanned("team/app", "1", "one", answer("one", matches, npm("a", "1")))
	id, _, err := f.store.BeginBuild(t.Context(), secondBuild())
	f.ok(err)
	packages := f.toJudge(id)
	f.ok(f.store.SaveCandidate(t.Context(), id, packages, make([]inventory.Judgement, len(packages)), nil))
	f.scanned("team/app", "2", "two", answer("two", matches, npm("a", "1"))) // judged before it knew of the other
	if n := f.count("package_match WHERE closed_build IS NULL"); n != 0 {
		t.Errorf("%d matches are open that the candidate does not have", n)
	}
}

func TestRatingsFollowTheBuildThatIsValid(t *testing.T) {
	f := newFixture(t)
	matches := map[string][]vuln.Match{"a": {finding("CVE-1")}, "b": {finding("CVE-2")}}
	f.scanned("team/app", "1", "one", answer("one", matches, npm("a", "1")))
	// The new build has no match for a, so nothing refreshes CVE-1's rating.
	_, err := (&scan.Rejudger{Store: f.store}).Rejudge(t.Context(), judge{build: secondBuild()})
	f.ok(err)
	later := answer("two", matches, npm("a", "2"))
	later.Build = secondBuild()
	later.Vulnerabilities[0].Severity = vuln.SeverityCritical
	f.scanned("team/app", "2", "two", later)
	const valid = `vulnerability_rating r JOIN vulnerability v ON v.id = r.vulnerability_id
		WHERE v.name = $1 AND r.severity = $2 AND r.opened_build <= $3 AND (r.closed_build IS NULL OR r.closed_build > $3)`
	if f.count(valid, "CVE-1", "critical", 2) != 1 || f.count(valid, "CVE-1", "high", 1) != 1 {
		t.Error("the rating is not the one of each build")
	}
	// A candidate rates CVE-2 first; the active build still needs its own.
	third := build1
	third.Checksum = "sha256:three"
	id, _, err := f.store.BeginBuild(t.Context(), third)
	f.ok(err)
	packages := f.toJudge(id)
	judgements := make([]inventory.Judgement, len(packages))
	judgements[0].Matches = []vuln.Match{finding("CVE-2")}
	f.ok(f.store.SaveCandidate(t.Context(), id, packages, judgements, []vuln.Vulnerability{{Ref: finding("CVE-2").Ref, Severity: vuln.SeverityLow}}))
	b := answer("three", matches, npm("b", "1"))
	b.Build = secondBuild()
	f.scanned("team/app", "3", "three", b)
	if f.count(valid, "CVE-2", "high", 2) != 1 || f.count(valid, "CVE-2", "low", id) != 1 {
		t.Error("the candidate's rating hides the active build's")
	}
}

func TestAnImageWithoutAnAnswerGetsTheReasonItsScanEndedWith(t *testing.T) {
	f := newFixture(t)
	state := func(name string) (s string) {
		f.ok(f.pool.QueryRow(t.Context(), "SELECT state || ' ' || reason FROM manifest WHERE digest = $1", string(digestOf(name))).Scan(&s))
		return s
	}
	begin := func(name string) scan.Job {
		f.push(name, "team/app", name, "")
		job := f.claim()
		f.ok(f.store.SaveManifest(t.Context(), job, imageManifest(name)))
		f.ok(f.store.Reserve(t.Context(), job, digestOf(name)))
		return job
	}
	slow := begin("slow")
	f.ok(f.store.RetryScan(t.Context(), slow, scan.Result{}, errs.New(errs.Timeout, "took long"), 0, true))
	if got := state("slow"); got != "queued " {
		t.Errorf("while it waits for another attempt: %q", got)
	}
	slow = f.claim()
	f.ok(f.store.Reserve(t.Context(), slow, digestOf("slow")))
	f.ok(f.store.FinishScan(t.Context(), slow, scan.Result{}, errs.New(errs.Timeout, "took long")))
	if got := state("slow"); got != "failed timeout" {
		t.Errorf("after the last attempt: %q", got)
	}
	begin("deadly")
	f.exec(`UPDATE scan SET lease_until = now() - interval '1 second' WHERE state = 'running'`)
	_, err := f.store.SweepScans(t.Context(), 1, noPermits)
	f.ok(err)
	if got := state("deadly"); got != "failed timeout" {
		t.Errorf("when its worker vanished for good: %q", got)
	}
}

func TestTwoImagesOfAnIndexThatFinishAtOnceFinishTheIndex(t *testing.T) {
	f := newFixture(t)
	for n := range 10 {
		a, b := fmt.Sprint("a", n), fmt.Sprint("b", n)
		index := scan.Manifest{Digest: digestOf(fmt.Sprint("index", n)), Kind: image.KindIndex, Children: []scan.Manifest{imageManifest(a), imageManifest(b)}}
		f.push(fmt.Sprint(n), "team/app", fmt.Sprint(n), "")
		first := f.claim()
		f.ok(f.store.SaveManifest(t.Context(), first, index))
		f.push(fmt.Sprint("child", n), "team/other", "", digestOf(b))
		second := f.claim()
		var both sync.WaitGroup
		failures := make(chan error, 2)
		both.Go(func() { failures <- f.store.SaveAnswer(t.Context(), first, answer(a, nil, npm(a, "1"))) })
		both.Go(func() { failures <- f.store.SaveAnswer(t.Context(), second, answer(b, nil, npm(b, "1"))) })
		both.Wait()
		f.ok(errors.Join(<-failures, <-failures))
	}
	if n := f.count("manifest WHERE kind = 'index' AND state <> 'done'"); n != 0 {
		t.Errorf("%d of 10 indexes are not done", n)
	}
}

func TestRequestsThatNameTheSameTargetsInOppositeOrderDoNotDeadlock(t *testing.T) {
	f := newFixture(t)
	var senders sync.WaitGroup
	failures := make(chan error, 2)
	for n, order := range [][]string{{"a", "b"}, {"b", "a"}} {
		senders.Go(func() {
			var failed error
			for i := range 50 {
				var events []postgres.Delivery
				for _, tag := range order {
					events = append(events, postgres.Delivery{DedupeKey: fmt.Sprint(n, i, tag), Action: "push", Repository: "team/app", Tag: tag})
				}
				_, err := f.store.Accept(t.Context(), "prod", events, noPermits)
				failed = errors.Join(failed, err)
			}
			failures <- failed
		})
	}
	senders.Wait()
	f.ok(errors.Join(<-failures, <-failures))
}

func TestHostilePlatformsCanBeRecorded(t *testing.T) {
	f := newFixture(t)
	f.push("1", "team/app", "1", "")
	job := f.claim()
	m := imageManifest("x")
	m.Platform.OS = "linux\x00\xff"
	f.ok(f.store.SaveManifest(t.Context(), job, m))
	f.ok(f.store.FinishScan(t.Context(), job, scan.Result{Phases: []scan.Phase{{Name: "pull", Platform: m.Platform.String()}}}, errors.New("bad \x00 thing")))
}

// choking judges everything but one package, on which it fails as grype's
// matchers do on what they cannot read.
type choking struct {
	judge
	on string
}

func (c choking) Judge(ctx context.Context, packages []inventory.Package) ([]inventory.Judgement, error) {
	for _, p := range packages {
		if p.Name == c.on {
			return nil, errs.New(errs.Malformed, "match: %s cannot be judged", p.Name)
		}
	}
	return c.judge.Judge(ctx, packages)
}

func TestOnePackageThatCannotBeJudgedKeepsItsMatchesAndStopsNobody(t *testing.T) {
	f := newFixture(t)
	f.scanned("team/app", "1", "x", answer("x", map[string][]vuln.Match{"bad": {finding("CVE-1")}}, npm("bad", "1"), npm("good", "1")))
	session := choking{judge{build: secondBuild(), matches: map[string][]vuln.Match{"good": {finding("CVE-2")}}}, "bad"}
	done, err := (&scan.Rejudger{Store: f.store}).Rejudge(t.Context(), session)
	f.ok(err)
	if !done.Switched || f.count("package_match WHERE closed_build IS NULL") != 2 {
		t.Errorf("%+v, %d open matches", done, f.count("package_match WHERE closed_build IS NULL"))
	}
}

// The version before counts after the switch.
func TestASettleThatWasCutOffIsSeen(t *testing.T) {
	f := newFixture(t)
	f.scanned("team/app", "1", "x", answer("x", nil, npm("a", "1")))
	unsettled := func() bool {
		open, err := f.store.Unsettled(t.Context())
		f.ok(err)
		return open
	}
	if unsettled() {
		t.Error("unsettled before any switch")
	}
	id, _, err := f.store.BeginBuild(t.Context(), secondBuild())
	f.ok(err)
	packages := f.toJudge(id)
	f.ok(f.store.SaveCandidate(t.Context(), id, packages, make([]inventory.Judgement, len(packages)), nil))
	f.world.SwitchAsBefore(id)
	if !unsettled() {
		t.Error("a switch that was not settled is not seen")
	}
	_, err = (&scan.Rejudger{Store: f.store}).Settle(t.Context(), judge{build: secondBuild()})
	f.ok(err)
	if unsettled() {
		t.Error("still unsettled")
	}
}
