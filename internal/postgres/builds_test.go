package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// judge is a database build that says the same of every package of a name.
type judge struct {
	build   vuln.Build
	matches map[string][]vuln.Match
	epss    float64
}

func (j judge) Build() vuln.Build { return j.build }
func (j judge) Close() error      { return nil }

func (j judge) Judge(_ context.Context, packages []inventory.Package) ([]inventory.Judgement, error) {
	out := make([]inventory.Judgement, len(packages))
	for i, p := range packages {
		out[i].Matches = j.matches[p.Name]
	}
	return out, nil
}

func (j judge) Vulnerabilities(_ context.Context, refs []vuln.Ref) ([]vuln.Vulnerability, error) {
	out := make([]vuln.Vulnerability, len(refs))
	for i, r := range refs {
		out[i] = vuln.Vulnerability{Ref: r, Severity: vuln.SeverityHigh, Description: "as build two says", Risk: j.epss * 100, EPSS: &vuln.EPSS{Score: j.epss, Date: "2026-11-20"}}
	}
	return out, nil
}

func (j judge) Coverage(context.Context, *inventory.Inventory) ([]string, time.Time, error) {
	return []string{"ecosystem:npm"}, time.Time{}, nil
}

func secondBuild() vuln.Build {
	b := build1
	b.Checksum = "sha256:two"
	return b
}

func TestANewBuildOpensClosesAndKeepsAndReadersSeeOneBuild(t *testing.T) {
	f := newFixture(t)
	f.scanned("team/app", "1", "x", answer("x", map[string][]vuln.Match{
		"stays": {finding("CVE-1")}, "goes": {finding("CVE-2")}, "changes": {finding("CVE-3")},
	}, npm("stays", "1"), npm("goes", "1"), npm("changes", "1"), npm("new", "1")))
	changed := finding("CVE-3")
	changed.Fix, changed.SuggestedVersion = vuln.Fix{State: vuln.FixStateNotFixed, Versions: []string{}}, ""
	session := judge{build: secondBuild(), epss: 0.5, matches: map[string][]vuln.Match{
		"stays": {finding("CVE-1")}, "changes": {changed}, "new": {finding("CVE-4")},
	}}
	open := func() map[string]string {
		rows, err := f.pool.Query(t.Context(), `
			SELECT f.vulnerability, f.fix_state FROM inventory_findings(
			    (SELECT id FROM inventory), (SELECT id FROM vuln_build WHERE state = 'active')) f`)
		f.ok(err)
		got := map[string]string{}
		for rows.Next() {
			var v, fix string
			f.ok(rows.Scan(&v, &fix))
			got[v] = fix
		}
		return got
	}
	before := open()
	kept := f.count("package_match")
	activated := false
	r := scan.Rejudger{Store: f.store, Activated: func(context.Context) error {
		activated = true
		return nil
	}}
	// Judge as the candidate, look before the switch, then finish.
	id, active, err := f.store.BeginBuild(t.Context(), session.build)
	f.ok(err)
	if active {
		t.Fatal("the second build is active at once")
	}
	packages := f.toJudge(id)
	input := make([]inventory.Package, len(packages))
	for i, p := range packages {
		input[i] = p.Package
	}
	judgements, _ := session.Judge(t.Context(), input)
	records, _ := session.Vulnerabilities(t.Context(), []vuln.Ref{finding("CVE-1").Ref, finding("CVE-3").Ref, finding("CVE-4").Ref})
	f.ok(f.store.SaveCandidate(t.Context(), id, packages, judgements, records))
	if diff := cmp.Diff(before, open()); diff != "" {
		t.Errorf("readers see the candidate before the switch: %s", diff)
	}
	done, err := r.Rejudge(t.Context(), session) // resumes
	f.ok(err)
	if !done.Switched || !activated || done.Repositories != 0 {
		t.Errorf("rejudged: %+v, activated %v", done, activated)
	}
	if diff := cmp.Diff(map[string]string{"CVE-1": "fixed", "CVE-3": "not-fixed", "CVE-4": "fixed"}, open()); diff != "" {
		t.Error(diff)
	}
	if n := f.count("package_match"); n != kept+2 {
		t.Errorf("%d match rows were added, want 2: what is unchanged is not written", n-kept)
	}
	want := map[string]int{"opened/push": 3, "closed/build": 1, "opened/build": 1, "escalated/build": 2} // two are likely now
	got := map[string]int{}
	rows, err := f.pool.Query(t.Context(), `SELECT kind || '/' || cause, count(*) FROM finding_event GROUP BY 1`)
	f.ok(err)
	for rows.Next() {
		var k string
		var n int
		f.ok(rows.Scan(&k, &n))
		got[k] = n
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events: %s", diff)
	}
	if f.count("inventory_summary WHERE high = 3 AND no_data = '{ecosystem:npm}' AND build_id = $1", id) != 1 {
		t.Error("the summary is not of the new build")
	}
	if f.count("vulnerability WHERE epss = 0.5 AND risk = 50 AND description = 'as build two says'") != 3 {
		t.Error("EPSS and texts were not written with the switch")
	}
}

func TestAPackageThatAppearsBeforeTheSwitchIsJudgedWithIt(t *testing.T) {
	f := newFixture(t)
	id, _, err := f.store.BeginBuild(t.Context(), secondBuild())
	f.ok(err)
	if shards, err := f.store.SelectPackages(t.Context(), id, scan.Change{Everything: "a test"}); err != nil || len(shards) != 0 {
		t.Fatalf("%v, %v: there is nothing to judge", shards, err)
	}
	session := judge{build: secondBuild(), matches: map[string][]vuln.Match{"a": {finding("CVE-1")}, "b": {finding("CVE-2")}}}
	f.ok(f.store.StageBuild(t.Context(), id, session))
	f.scanned("team/app", "1", "x", answer("x", nil, npm("a", "1"), npm("b", "1")))
	f.ok(f.store.SwitchBuild(t.Context(), id, session))
	if f.count("inventory_summary WHERE high = 2 AND build_id = $1", id) != 1 || f.count("finding_event WHERE kind = 'opened' AND cause = 'build'") != 2 {
		t.Error("what appeared was not judged, counted and compared with the switch")
	}
}

func TestASwitchWaitsUntilEverythingIsCounted(t *testing.T) {
	f := newFixture(t)
	f.scanned("team/app", "1", "x", answer("x", nil, npm("a", "1")))
	id, _, err := f.store.BeginBuild(t.Context(), secondBuild())
	f.ok(err)
	_, err = f.store.SelectPackages(t.Context(), id, scan.Change{Everything: "a test"})
	f.ok(err)
	if err := f.store.SwitchBuild(t.Context(), id, judge{build: secondBuild()}); !errs.Is(err, errs.Conflict) {
		t.Fatalf("got %v, want a conflict", err)
	}
}

func TestAnotherCandidateTakesBackWhatTheFirstWrote(t *testing.T) {
	f := newFixture(t)
	f.scanned("team/app", "1", "x", answer("x", map[string][]vuln.Match{"a": {finding("CVE-1")}}, npm("a", "1")))
	id, _, err := f.store.BeginBuild(t.Context(), secondBuild())
	f.ok(err)
	packages := f.toJudge(id)
	f.ok(f.store.SaveCandidate(t.Context(), id, packages, make([]inventory.Judgement, len(packages)), nil))
	third := build1
	third.Checksum = "sha256:three"
	_, _, err = f.store.BeginBuild(t.Context(), third)
	f.ok(err)
	if f.count("package_match WHERE closed_build IS NULL") != 1 || f.count("package WHERE judged_build = $1", id) != 0 {
		t.Error("what the discarded candidate wrote is still there")
	}
	if err := f.store.SaveCandidate(t.Context(), id, packages, make([]inventory.Judgement, len(packages)), nil); !errs.Is(err, errs.Canceled) {
		t.Errorf("the discarded candidate can still write: %v", err)
	}
}
