package postgres_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/postgres/postgrestest"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// meddled is a store in which something happens before each step of a change.
type meddled struct {
	*postgres.Store
	meddle func(step string)
}

func (m meddled) SelectPackages(ctx context.Context, build int64, change scan.Change) ([]scan.Shard, error) {
	m.meddle("select")
	return m.Store.SelectPackages(ctx, build, change)
}

func (m meddled) RecordsToDescribe(ctx context.Context, build int64, changed []vuln.Ref) ([]vuln.Ref, error) {
	m.meddle("describe")
	return m.Store.RecordsToDescribe(ctx, build, changed)
}

func (m meddled) ReportBuild(ctx context.Context, build int64, change scan.Change) (scan.BuildReport, bool, error) {
	m.meddle("report")
	return m.Store.ReportBuild(ctx, build, change)
}

func (m meddled) StageBuild(ctx context.Context, build int64, session scan.Session) error {
	m.meddle("stage")
	return m.Store.StageBuild(ctx, build, session)
}

func (m meddled) SwitchBuild(ctx context.Context, build int64, session scan.Session) error {
	m.meddle("switch")
	return m.Store.SwitchBuild(ctx, build, session)
}

// TestAChangeOfBuildComesToTheSameAsJudgingAll pushes, moves and deletes tags at
// random, between the steps of changes of the build, too. After each change the
// counts of all inventories, the findings of all repositories and the events must
// be what the images have under the new build.
func TestAChangeOfBuildComesToTheSameAsJudgingAll(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := postgrestest.New(t)
			random := rand.New(rand.NewPCG(seed, 10))
			now := firstOracle(random, w.Build)
			now.rule(w)
			push := func() { meddle(t, w, random, now) }
			for range 12 {
				push()
			}
			for change := range 8 {
				old := change%3 == 2
				if old {
					now.build = asBefore(t, w, fmt.Sprint("before", change))
				}
				next, differs := now.next(random, postgrestest.NewBuild(fmt.Sprint("build", change)))
				if change%4 == 3 {
					differs.Everything = "a test"
				}
				store := meddled{Store: w.Store, meddle: func(string) {
					for range random.IntN(3) {
						push()
					}
				}}
				done, err := (&scan.Rejudger{Store: store, Change: &differs, Parallel: 1}).Rejudge(t.Context(), next)
				if err != nil || !done.Switched || done.Repositories != 0 && !old {
					t.Fatalf("change %d: %+v, %v", change, done, err)
				}
				now = next
				now.rule(w)
				checkWorld(t, w, now)
				for range 3 {
					push()
				}
				checkWorld(t, w, now)
			}
		})
	}
}

// asBefore leaves what the version before leaves in the middle of its switch: the
// counts and repositories of another build, no lists of what repositories were
// compared by, no types of inventories.
func asBefore(t *testing.T, w *postgrestest.World, name string) vuln.Build {
	t.Helper()
	w.Switch(postgrestest.NewBuild(name))
	for _, statement := range []string{
		`DELETE FROM repository_inventory WHERE repository_id % 2 = 0`, `UPDATE inventory SET types = NULL, versionless = NULL WHERE id % 2 = 0`,
		`UPDATE inventory_summary SET high = high + 1, no_data = '{}'`, `UPDATE package SET names = NULL WHERE id % 3 = 0`,
	} {
		if _, err := w.Pool.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	return w.Build
}

// meddle does something that happens to registries.
func meddle(t *testing.T, w *postgrestest.World, random *rand.Rand, now oracle) {
	t.Helper()
	repository, tag := fmt.Sprint("team/app", random.IntN(3)), fmt.Sprint("t", random.IntN(4))
	switch random.IntN(8) {
	case 0:
		drop(t, w, repository, tag)
	case 1:
		w.Push(repository, "", now.image(random.IntN(40)))
	default:
		w.Push(repository, tag, now.image(random.IntN(40)))
	}
}

// checkWorld compares what is stored with what the images have under the build.
func checkWorld(t *testing.T, w *postgrestest.World, now oracle) {
	t.Helper()
	if diff := cmp.Diff(query[string](t, w, recounted), query[string](t, w, counted)); diff != "" {
		t.Fatalf("summaries (-counted anew +stored): %s", diff)
	}
	if diff := cmp.Diff(query[string](t, w, liveByRepository), query[string](t, w, openByRepository)); diff != "" {
		t.Fatalf("findings of repositories (-of their images +stored): %s", diff)
	}
	if got := query[string](t, w, doubleEvents); len(got) > 0 {
		t.Fatalf("told twice: %v", got)
	}
	if diff := cmp.Diff(query[string](t, w, openByRepositoryNames), query[string](t, w, toldByRepository)); diff != "" {
		t.Fatalf("events (-open findings +told): %s", diff)
	}
	for _, stale := range []string{
		`SELECT name FROM repository WHERE compared <> '' AND split_part(compared, '/', 1)::bigint < (SELECT COALESCE(counted_since, id) FROM vuln_build WHERE state = 'active')`,
		`SELECT build_id::text FROM rematch`, `SELECT vulnerability FROM rematch_finding`,
	} {
		if got := query[string](t, w, stale); len(got) > 0 {
			t.Fatalf("%s: %v", stale, got)
		}
	}
	checkJudgements(t, w, now)
}

const (
	counted = `SELECT concat_ws(' ', inventory_id, critical, high, medium, low, negligible, unknown, fixable, known_exploited, ignored) FROM inventory_summary ORDER BY inventory_id`
	// recounted is what saveSummary counts.
	recounted = `
		WITH active AS (SELECT id FROM vuln_build WHERE state = 'active'), named AS (
			SELECT v.inventory_id, p.type, p.name, v.canonical, max(COALESCE(r.severity_rank, 0)) AS rank, bool_or(v.fix_state = 'fixed') AS fixable,
			       bool_or(COALESCE(r.known_exploited, false)) AS kev, bool_and(v.ignored <> '') AS ignored
			  FROM active CROSS JOIN LATERAL verdicts(ARRAY(SELECT id FROM inventory), active.id) v JOIN package p ON p.id = v.package_id
			  LEFT JOIN vulnerability_rating r ON r.vulnerability_id = v.vulnerability_id AND r.opened_build <= active.id AND (r.closed_build IS NULL OR r.closed_build > active.id)
			 GROUP BY 1, 2, 3, 4)
		SELECT concat_ws(' ', i.id, count(*) FILTER (WHERE rank = 5 AND NOT ignored), count(*) FILTER (WHERE rank = 4 AND NOT ignored),
		       count(*) FILTER (WHERE rank = 3 AND NOT ignored), count(*) FILTER (WHERE rank = 2 AND NOT ignored), count(*) FILTER (WHERE rank = 1 AND NOT ignored),
		       count(*) FILTER (WHERE rank = 0 AND NOT ignored), count(*) FILTER (WHERE fixable AND NOT ignored), count(*) FILTER (WHERE kev AND NOT ignored), count(*) FILTER (WHERE ignored))
		  FROM inventory i LEFT JOIN named n ON n.inventory_id = i.id GROUP BY i.id ORDER BY i.id`
	liveByRepository = `
		WITH active AS (SELECT id FROM vuln_build WHERE state = 'active')
		SELECT concat_ws(' ', l.repository_id, p.name, v.canonical, max(COALESCE(r.severity_rank, 0)), bool_or(v.fix_state = 'fixed'), bool_or(COALESCE(r.known_exploited, false)))
		  FROM active CROSS JOIN LATERAL verdicts(ARRAY(SELECT id FROM inventory), active.id) v
		  JOIN (SELECT DISTINCT repository_id, inventory_id FROM live_image) l ON l.inventory_id = v.inventory_id JOIN package p ON p.id = v.package_id
		  LEFT JOIN vulnerability_rating r ON r.vulnerability_id = v.vulnerability_id AND r.opened_build <= active.id AND (r.closed_build IS NULL OR r.closed_build > active.id)
		 WHERE v.ignored = '' GROUP BY l.repository_id, p.type, p.name, v.canonical ORDER BY 1`
	openByRepository      = `SELECT concat_ws(' ', repository_id, package_name, vulnerability, severity_rank, fixable, known_exploited) FROM repository_finding WHERE closed_at IS NULL ORDER BY 1`
	openByRepositoryNames = `SELECT concat_ws(' ', repository_id, package_name, vulnerability) FROM repository_finding WHERE closed_at IS NULL ORDER BY 1`
	// toldByRepository are the findings whose last event that opens or closes opens.
	toldByRepository = `
		SELECT finding FROM (
			SELECT DISTINCT ON (finding) finding, kind FROM (SELECT concat_ws(' ', repository_id, package_name, vulnerability) AS finding, kind, id FROM finding_event) e
			 WHERE kind IN ('opened', 'reopened', 'closed') ORDER BY finding, id DESC) e WHERE kind <> 'closed' ORDER BY 1`
	// doubleEvents are those that say what was so already.
	doubleEvents = `
		SELECT concat_ws(' ', repository_id, package_name, vulnerability, kind) FROM (
			SELECT *, lag(kind) OVER (PARTITION BY repository_id, package_name, vulnerability ORDER BY id) AS last FROM finding_event
			 WHERE kind IN ('opened', 'reopened', 'closed')) e
		 WHERE (kind = 'closed') = (COALESCE(last, 'closed') = 'closed') OR (kind = 'opened') <> (last IS NULL)`
)

// checkJudgements compares the open rows with what the oracle says, so that what was
// not judged again was rightly left alone.
func checkJudgements(t *testing.T, w *postgrestest.World, now oracle) {
	t.Helper()
	want, got := map[string]bool{}, map[string]bool{}
	for _, p := range query[string](t, w, `SELECT DISTINCT concat_ws('/', name, version) FROM package WHERE judged_build IS NOT NULL`) {
		for _, m := range now.said[p].Matches {
			want[fmt.Sprint(p, " ", m.ID, " ", m.Fix.State, " ", m.Ignored, " ", now.records[m.Ref].Severity, " ", now.records[m.Ref].Description)] = true
		}
	}
	for _, m := range query[string](t, w, `
		SELECT concat(p.name, '/', p.version, ' ', v.name, ' ', m.fix_state, ' ', m.ignored, ' ', r.severity, ' ', v.description)
		  FROM vuln_build b JOIN package_match m ON m.opened_build <= b.id AND (m.closed_build IS NULL OR m.closed_build > b.id)
		  JOIN package p ON p.id = m.package_id JOIN vulnerability v ON v.id = m.vulnerability_id
		  JOIN vulnerability_rating r ON r.vulnerability_id = v.id AND r.opened_build <= b.id AND (r.closed_build IS NULL OR r.closed_build > b.id)
		 WHERE b.state = 'active'`) {
		got[m] = true
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("matches (-the oracle +stored): %s", diff)
	}
	noData := query[string](t, w, `SELECT DISTINCT array_to_string(s.no_data, ',') FROM inventory_summary s JOIN inventory i ON i.id = s.inventory_id WHERE i.types <> '{}'`)
	wantData := ""
	if len(now.noData) > 0 {
		wantData = now.noData[0]
	}
	if len(noData) != 1 || noData[0] != wantData {
		t.Fatalf("no data for %q, want %q", noData, wantData)
	}
}

// everything is all that a change may write.
func everything(t *testing.T, w *postgrestest.World) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for table, sql := range map[string]string{
		"matches":    `SELECT concat_ws(' ', package_id, vulnerability_id, canonical, fix_state, ignored, opened_build, closed_build) FROM package_match ORDER BY 1`,
		"ignores":    `SELECT concat_ws(' ', package_id, vulnerability, kind, opened_build, closed_build) FROM package_ignore ORDER BY 1`,
		"ratings":    `SELECT concat_ws(' ', vulnerability_id, severity, known_exploited, opened_build, closed_build) FROM vulnerability_rating ORDER BY 1`,
		"records":    `SELECT concat_ws(' ', name, description, epss, risk) FROM vulnerability ORDER BY 1`,
		"counts":     counted,
		"coverage":   `SELECT concat_ws(' ', inventory_id, no_data) FROM inventory_summary ORDER BY 1`,
		"findings":   `SELECT concat_ws(' ', repository_id, package_name, vulnerability, severity_rank, fixable, known_exploited, likely, closed_at IS NULL) FROM repository_finding ORDER BY 1`,
		"events":     `SELECT concat_ws(' ', repository_id, package_name, vulnerability, kind, severity, severity_from, exploited, cause, build_id) FROM finding_event ORDER BY 1`,
		"candidates": `SELECT checksum FROM vuln_build WHERE state <> 'retired' ORDER BY 1`,
	} {
		out[table] = query[string](t, w, sql)
	}
	return out
}

func TestTheSameDatabaseAgainWritesNothing(t *testing.T) {
	w := postgrestest.New(t)
	random := rand.New(rand.NewPCG(3, 4))
	now := firstOracle(random, w.Build)
	now.rule(w)
	for range 12 {
		meddle(t, w, random, now)
	}
	before := everything(t, w)
	same := now
	same.build = postgrestest.NewBuild("equal")
	for _, change := range []*scan.Change{nil, {}} { // everything, and nothing
		same.build.Checksum += "!"
		done, err := (&scan.Rejudger{Store: w.Store, Change: change}).Rejudge(t.Context(), same)
		if err != nil || !done.Switched {
			t.Fatalf("%+v, %v", done, err)
		}
	}
	after := everything(t, w)
	delete(before, "candidates")
	delete(after, "candidates")
	if diff := cmp.Diff(before, after); diff != "" {
		t.Error(diff)
	}
	done, err := (&scan.Rejudger{Store: w.Store}).Rejudge(t.Context(), same)
	if err != nil || done.Switched || done.Packages != 0 {
		t.Errorf("the build that is in force: %+v, %v", done, err)
	}
}

func TestOnlyPackagesOfChangedNamesAreJudged(t *testing.T) {
	f := newFixture(t)
	named := answer("x", nil, npm("a", "1"), npm("b", "1"), npm("c", "1"), npm("d", "1"))
	for n, p := range named.Inventory.Packages {
		j := named.Judged[n]
		j.Names = map[string][]string{"a": {"a", "source-of-a"}, "b": {"b"}, "c": nil, "d": {}}[p.Name]
		named.Judged[n] = j
	}
	f.scanned("team/app", "1", "x", named)
	session := judge{build: secondBuild(), matches: map[string][]vuln.Match{"a": {finding("CVE-1")}, "b": {finding("CVE-2")}, "c": {finding("CVE-3")}, "d": {finding("CVE-4")}}}
	done, err := (&scan.Rejudger{Store: f.store, Change: &scan.Change{Names: []string{"source-of-a", "z"}}}).Rejudge(t.Context(), session)
	f.ok(err)
	if done.Packages != 2 || f.count("package_match WHERE canonical IN ('CVE-1', 'CVE-3')") != 2 || f.count("package_match") != 2 {
		t.Errorf("%d packages judged, want the one with the name and the one without any; %d matches", done.Packages, f.count("package_match"))
	}
	// What was not judged counts as judged, and a scan finds nothing to do.
	missing, err := f.store.Unjudged(t.Context(), secondBuild(), named.Inventory.Fingerprints)
	f.ok(err)
	known, err := f.store.Known(t.Context(), digestOf("x"), "v1")
	f.ok(err)
	if len(missing) > 0 || !known.Current {
		t.Errorf("%d packages are to be judged again; the image is current: %v", len(missing), known.Current)
	}
	if open, err := f.store.Unsettled(t.Context()); err != nil || open {
		t.Errorf("unsettled: %v, %v", open, err)
	}
}

func TestAFindingClosesWhenTheLastTagLosesIt(t *testing.T) {
	f := newFixture(t)
	vulnerable := map[string][]vuln.Match{"a": {finding("CVE-1")}}
	f.scanned("team/app", "old", "x", answer("x", vulnerable, npm("a", "1")))
	f.scanned("team/app", "new", "y", answer("y", vulnerable, npm("a", "2")))
	closed := func(of string, without ...string) int {
		build := build1
		build.Checksum = of
		session := byVersion{judge{build: build, matches: vulnerable}, without}
		_, err := (&scan.Rejudger{Store: f.store}).Rejudge(t.Context(), session)
		f.ok(err)
		return f.count("finding_event WHERE kind = 'closed' AND cause = 'build' AND package_name = 'a' AND scan_id IS NULL")
	}
	if n := closed("sha256:two", "1"); n != 0 {
		t.Errorf("closed while another tag has it")
	}
	if n := closed("sha256:three", "1", "2"); n != 1 {
		t.Errorf("closed %d times when no tag has it any more, want 1", n)
	}
}

// byVersion finds nothing in some versions.
type byVersion struct {
	judge
	without []string
}

func (b byVersion) Judge(ctx context.Context, packages []inventory.Package) ([]inventory.Judgement, error) {
	out, err := b.judge.Judge(ctx, packages)
	for i, p := range packages {
		if slices.Contains(b.without, p.Version) {
			out[i] = inventory.Judgement{}
		}
	}
	return out, err
}

func TestAHeldBuildWaitsForAWord(t *testing.T) {
	w := postgrestest.New(t)
	random := rand.New(rand.NewPCG(5, 6))
	now := firstOracle(random, w.Build)
	now.rule(w)
	for range 12 {
		meddle(t, w, random, now)
	}
	before := everything(t, w)
	next, change := now.next(random, postgrestest.NewBuild("two"))
	change.Before, change.After = scan.Volume{"ecosystem:npm": 10}, scan.Volume{"ecosystem:npm": 1}
	var report scan.BuildReport
	holding := &scan.Rejudger{Store: w.Store, Change: &change, Check: func(_ context.Context, r scan.BuildReport) (string, error) {
		report = r
		return "ecosystem:npm lost most of its records", nil
	}}
	done, err := holding.Rejudge(t.Context(), next)
	if err != nil || done.Switched || done.Held == "" {
		t.Fatalf("%+v, %v", done, err)
	}
	if m := report.Matches["ecosystem:npm"]; m.Before == 0 || m.Closed == 0 || m.Opened == 0 || report.After["ecosystem:npm"] != 1 || report.Packages == 0 {
		t.Errorf("report: %+v", report)
	}
	standing, err := w.Store.BuildStanding(t.Context(), next.build)
	if err != nil || standing.State != "held" || standing.Reason != done.Held || standing.Report == nil || standing.HeldAt == nil {
		t.Fatalf("%+v, %v", standing, err)
	}
	if diff := cmp.Diff(report, *standing.Report); diff != "" {
		t.Errorf("the report that is kept: %s", diff)
	}
	if diff := cmp.Diff(visible(before), visible(everything(t, w))); diff != "" {
		t.Errorf("somebody sees the held build: %s", diff)
	}
	if _, err := holding.Rejudge(t.Context(), next); !errs.Is(err, errs.Conflict) {
		t.Errorf("a held build is tried again: %v", err)
	}
	for range 4 { // scans go on
		meddle(t, w, random, now)
	}
	checkSummaries(t, w)
	if err := w.Store.ReleaseBuild(t.Context(), standing.ID); err != nil {
		t.Fatal(err)
	}
	if err := w.Store.ReleaseBuild(t.Context(), standing.ID); !errs.Is(err, errs.Conflict) {
		t.Errorf("released twice: %v", err)
	}
	done, err = holding.Rejudge(t.Context(), next)
	if err != nil || !done.Switched || done.Held != "" {
		t.Fatalf("after its release: %+v, %v", done, err)
	}
	next.rule(w)
	checkWorld(t, w, next)
}

// visible is what readers of the active build may see of everything.
func visible(all map[string][]string) map[string][]string {
	out := map[string][]string{}
	for _, table := range []string{"counts", "coverage", "findings", "events"} {
		out[table] = all[table]
	}
	return out
}

func checkSummaries(t *testing.T, w *postgrestest.World) {
	t.Helper()
	if diff := cmp.Diff(query[string](t, w, recounted), query[string](t, w, counted)); diff != "" {
		t.Fatalf("summaries (-counted anew +stored): %s", diff)
	}
}

func TestADiscardedBuildLeavesNothingAndIsNotTriedAgain(t *testing.T) {
	for name, discard := range map[string]func(ctx context.Context, store *postgres.Store, id int64) error{
		"discarded": func(ctx context.Context, store *postgres.Store, id int64) error { return store.DiscardBuild(ctx, id) },
		"replaced": func(ctx context.Context, store *postgres.Store, _ int64) error {
			id, _, err := store.BeginBuild(ctx, postgrestest.NewBuild("three"))
			if err != nil {
				return err
			}
			return store.DiscardBuild(ctx, id)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := postgrestest.New(t)
			random := rand.New(rand.NewPCG(7, 8))
			now := firstOracle(random, w.Build)
			now.rule(w)
			for range 12 {
				meddle(t, w, random, now)
			}
			before := everything(t, w)
			next, change := now.next(random, postgrestest.NewBuild("two"))
			hold := func(context.Context, scan.BuildReport) (string, error) { return "a test", nil }
			done, err := (&scan.Rejudger{Store: w.Store, Change: &change, Check: hold}).Rejudge(t.Context(), next)
			if err != nil || done.Held == "" {
				t.Fatalf("%+v, %v", done, err)
			}
			if err := discard(t.Context(), w.Store, done.Build); err != nil {
				t.Fatal(err)
			}
			after := everything(t, w)
			delete(before, "records") // those of which no match is left stay, as texts
			delete(after, "records")
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("left behind: %s", diff)
			}
			standing, err := w.Store.BuildStanding(t.Context(), next.build)
			if err != nil || standing.State != "retired" || standing.Reason != name {
				t.Errorf("%+v, %v", standing, err)
			}
			_, _, err = w.Store.BeginBuild(t.Context(), next.build)
			if refused := errs.Is(err, errs.Conflict); refused != (name == "discarded") {
				t.Errorf("tried again: %v", err)
			}
		})
	}
}
