package postgres_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/postgres/postgrestest"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// held is an open finding of a repository.
type held struct {
	Type, Name, Vulnerability string
	Rank                      int
	Fixable, KEV              bool
}

// TestComparingChangesIsComparingAll pushes, moves and deletes tags at random.
// What came and went is all that a comparison looks at; what the repository has
// must be what its live images have, each time, and the events must tell how it
// came about.
func TestComparingChangesIsComparingAll(t *testing.T) {
	w := postgrestest.New(t)
	random := rand.New(rand.NewPCG(6, 7))
	for n := range 12 {
		v := vuln.Vulnerability{Ref: ref(n), Severity: []vuln.Severity{vuln.SeverityLow, vuln.SeverityHigh, vuln.SeverityCritical}[n%3]}
		if n%5 == 0 {
			v.KEV = []vuln.KnownExploited{{CVE: v.ID}}
		}
		w.Know(v)
	}
	pool := matchedPackages(random)
	for step := range 150 {
		tag := fmt.Sprint("t", random.IntN(5))
		switch n := random.IntN(10); {
		case n == 0:
			drop(t, w, "team/app", tag)
		case n == 1:
			w.Push("team/app", "", randomImage(pool, step)) // stands behind no tag
		case n == 2: // as if the version before had compared, which keeps no list
			if _, err := w.Pool.Exec(t.Context(), `DELETE FROM repository_inventory WHERE random() < 0.5`); err != nil {
				t.Fatal(err)
			}
		case n == 3 && step%4 == 0:
			w.Switch(postgrestest.NewBuild(fmt.Sprint("build", step)))
			settle(t, w)
		default:
			w.Push("team/app", tag, randomImage(pool, step))
		}
		if diff := cmp.Diff(liveFindings(t, w), openFindings(t, w)); diff != "" {
			t.Fatalf("step %d: the repository's findings (-live images +repository_finding):\n%s", step, diff)
		}
		if diff := cmp.Diff(names(openFindings(t, w)), toldFindings(t, w)); diff != "" {
			t.Fatalf("step %d: what the events come to (-repository_finding +finding_event):\n%s", step, diff)
		}
		if diff := cmp.Diff(openCounts(t, w), dayCounts(t, w)); diff != "" {
			t.Fatalf("step %d: what the days add up to (-repository_finding +repository_day):\n%s", step, diff)
		}
	}
	kinds := map[string]int{}
	for _, kind := range query[string](t, w, `SELECT kind FROM finding_event`) {
		kinds[kind]++
	}
	for _, kind := range []string{"opened", "closed", "reopened", "escalated", "fix_available"} {
		if kinds[kind] == 0 {
			t.Errorf("nothing was %s in all the steps: %v", kind, kinds)
		}
	}
}

// ref names a record; some are other names of the first.
func ref(n int) vuln.Ref {
	if n%2 == 1 {
		return vuln.Ref{ID: fmt.Sprintf("GHSA-%04d", n), Namespace: "test"}
	}
	return vuln.Ref{ID: fmt.Sprintf("CVE-2026-%04d", n), Namespace: "test"}
}

// matchedPackages are a few packages in a few versions, each with matches and
// ignores of its own. Records of different rating share a canonical name.
func matchedPackages(random *rand.Rand) []postgrestest.Package {
	var out []postgrestest.Package
	for name := range 4 {
		for version := range 3 {
			p := postgrestest.Package{Package: npm(fmt.Sprint("p", name), fmt.Sprint(version))}
			for n := range 12 {
				switch random.IntN(6) {
				case 0, 1:
					m := vuln.Match{Ref: ref(n), MatchType: "exact-direct-match", Matcher: "test", Confidence: 1, Details: []byte(`[]`),
						Fix: vuln.Fix{State: []vuln.FixState{vuln.FixStateFixed, vuln.FixStateNotFixed}[random.IntN(2)]}}
					if n%2 == 1 {
						m.Aliases = []vuln.Ref{ref(0)}
					}
					if random.IntN(5) == 0 {
						m.Ignored = "a rule"
					}
					p.Matches = append(p.Matches, m)
				case 2:
					kind := []vuln.IgnoreKind{vuln.IgnoreOwned, vuln.IgnoreSame}[random.IntN(2)]
					p.Ignores = append(p.Ignores, vuln.Ignore{Vulnerability: ref(n).ID, Kind: kind, Reason: "owner"})
				}
			}
			out = append(out, p)
		}
	}
	return out
}

// randomImage has some of the packages, now and then one that another owns.
func randomImage(pool []postgrestest.Package, n int) postgrestest.Image {
	i := postgrestest.Image{Name: fmt.Sprint("image", n%40)}
	random := rand.New(rand.NewPCG(uint64(n%40), 1)) // images of one name are the same
	for _, at := range random.Perm(len(pool))[:1+random.IntN(4)] {
		p := pool[at]
		if len(i.Packages) > 0 && random.IntN(3) == 0 {
			p.Owners = []int{0}
		}
		if random.IntN(8) == 0 {
			p.Excluded = inventory.ExcludedNoVersion
		}
		i.Packages = append(i.Packages, p)
	}
	return i
}

func drop(t *testing.T, w *postgrestest.World, repository, tag string) {
	t.Helper()
	w.Deliver("main", postgres.Delivery{DedupeKey: fmt.Sprint("drop", time.Now().UnixNano()), Action: "delete", Repository: repository, Tag: tag})
	job := w.Claim()
	for _, err := range []error{
		w.Store.SaveGone(t.Context(), *job), w.Store.SaveFindings(t.Context(), *job), w.Store.FinishScan(t.Context(), *job, scan.Result{}, nil),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// settle does what follows a switch.
func settle(t *testing.T, w *postgrestest.World) {
	t.Helper()
	if _, err := w.Store.SettleRepositories(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func query[T any](t *testing.T, w *postgrestest.World, sql string) []T {
	t.Helper()
	rows, err := w.Pool.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowTo[T])
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func heldRows(t *testing.T, w *postgrestest.World, sql string) []held {
	t.Helper()
	rows, err := w.Pool.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowToStructByPos[held])
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// liveFindings are those of the images behind the live tags.
func liveFindings(t *testing.T, w *postgrestest.World) []held {
	return heldRows(t, w, `
		WITH active AS (SELECT id FROM vuln_build WHERE state = 'active')
		SELECT p.type, p.name, v.canonical, max(r.severity_rank)::int, bool_or(v.fix_state = 'fixed'), bool_or(r.known_exploited)
		  FROM active, verdicts(ARRAY(SELECT DISTINCT inventory_id FROM live_image WHERE inventory_id IS NOT NULL), active.id) v
		  JOIN package p ON p.id = v.package_id
		  JOIN vulnerability_rating r ON r.vulnerability_id = v.vulnerability_id AND r.closed_build IS NULL
		 WHERE v.ignored = '' GROUP BY p.type, p.name, v.canonical ORDER BY 1, 2, 3`)
}

func openFindings(t *testing.T, w *postgrestest.World) []held {
	return heldRows(t, w, `
		SELECT package_type, package_name, vulnerability, severity_rank::int, fixable, known_exploited
		  FROM repository_finding WHERE closed_at IS NULL ORDER BY 1, 2, 3`)
}

func names(all []held) []string {
	out := []string{}
	for _, h := range all {
		out = append(out, h.Name+" "+h.Vulnerability)
	}
	return out
}

// toldFindings follows the events: what was opened and not closed since.
func toldFindings(t *testing.T, w *postgrestest.World) []string {
	open := map[string]bool{}
	for _, e := range query[string](t, w, `SELECT kind || ' ' || package_name || ' ' || vulnerability FROM finding_event ORDER BY id`) {
		var kind, name, vulnerability string
		if _, err := fmt.Sscan(e, &kind, &name, &vulnerability); err != nil {
			t.Fatal(err)
		}
		key := name + " " + vulnerability
		if opens := kind == "opened" || kind == "reopened"; (opens || kind == "closed") && open[key] == opens {
			t.Fatalf("%s, and it was so already", e)
		} else if opens || kind == "closed" {
			open[key] = opens
		}
	}
	out := []string{}
	for key, is := range open {
		if is {
			out = append(out, key)
		}
	}
	slices.Sort(out)
	return out
}

// counts are those of repository_finding and of repository_day.
type counts struct{ Critical, High, Low, Fixable, KEV, Changes int }

func openCounts(t *testing.T, w *postgrestest.World) counts {
	return readCounts(t, w, `
		SELECT count(*) FILTER (WHERE severity_rank = 5) AS critical, count(*) FILTER (WHERE severity_rank = 4) AS high,
		       count(*) FILTER (WHERE severity_rank = 2) AS low, count(*) FILTER (WHERE fixable) AS fixable,
		       count(*) FILTER (WHERE known_exploited) AS kev,
		       (SELECT count(*) FROM finding_event WHERE kind IN ('opened', 'reopened', 'closed')) AS changes
		  FROM repository_finding WHERE closed_at IS NULL`)
}

func dayCounts(t *testing.T, w *postgrestest.World) counts {
	return readCounts(t, w, `
		SELECT COALESCE(sum(critical), 0) AS critical, COALESCE(sum(high), 0) AS high, COALESCE(sum(low), 0) AS low,
		       COALESCE(sum(fixable), 0) AS fixable, COALESCE(sum(known_exploited), 0) AS kev,
		       COALESCE(sum(opened + closed), 0) AS changes FROM repository_day`)
}

func readCounts(t *testing.T, w *postgrestest.World, sql string) counts {
	t.Helper()
	rows, err := w.Pool.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	c, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[counts])
	if err != nil {
		t.Fatal(err)
	}
	return c
}
