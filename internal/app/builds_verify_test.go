package app_test

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/app"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

func TestVerifyFindsWhatIsStoredOtherwise(t *testing.T) {
	s := start(t)
	s.pushed(withNPM(t, "lodash", "4.17.20", "left-pad", "1.0.0"), "demo/shop", "1")
	library, err := vulndb.Open(vulndb.Config{Dir: filepath.Join(t.TempDir(), "vulndb")})
	if err != nil {
		t.Fatal(err)
	}
	verify := func() map[string]int {
		t.Helper()
		found := map[string]int{}
		// The library is empty: the database comes from Postgres.
		s.until(`count(*) = 1 FROM vuln_archive WHERE complete`)
		checked, err := app.Verify(t.Context(), postgres.New(s.pool), library, func(d scan.Difference) {
			found[d.What+" "+d.Of+" "+d.Package.Name]++
		}, func(done, total int64) {
			if done > total {
				t.Errorf("%d of %d", done, total)
			}
		})
		if err != nil || checked != int64(s.count("package")) {
			t.Fatalf("%d packages, %v", checked, err)
		}
		return found
	}
	if got := verify(); len(got) != 0 {
		t.Errorf("differences before anything was changed: %v", got)
	}
	for _, change := range []string{
		`DELETE FROM package_match WHERE id = (SELECT min(m.id) FROM package_match m JOIN package p ON p.id = m.package_id WHERE p.name = 'lodash')`,
		`INSERT INTO package_ignore (package_id, vulnerability, kind, reason, opened_build)
		 SELECT id, 'CVE-1', 'owned', 'x', judged_build FROM package WHERE name = 'left-pad'`,
		`UPDATE vulnerability_rating SET content = 'x' WHERE id = (SELECT max(id) FROM vulnerability_rating)`,
	} {
		if _, err := s.pool.Exec(t.Context(), change); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]int{"missing match lodash": 1, "superfluous ignore left-pad": 1, "other rating ": 1}
	if diff := cmp.Diff(want, verify()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
