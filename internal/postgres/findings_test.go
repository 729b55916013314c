package postgres_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/postgres/postgrestest"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

func scanResult() scan.Result { return scan.Result{} }

func findingNames(found report.FindingPage) []string {
	out := []string{}
	for _, f := range found.Items {
		out = append(out, f.Package.Name+" "+f.Vulnerability)
	}
	return out
}

func appScope() report.FindingScope { return report.FindingScope{Target: targetTag("team/app", "1.0")} }

func TestFindingsFilterAndSort(t *testing.T) {
	w := postgrestest.Harbour(t)
	log4j, openssl, lodash, quiet := "log4j-core CVE-2021-44228", "openssl CVE-2023-0286", "lodash CVE-2021-23337", "openssl CVE-2019-1010022"
	tests := []struct {
		name   string
		filter report.FindingFilter
		want   []string
	}{
		{"known to be exploited first, then by risk", report.FindingFilter{}, []string{log4j, openssl, lodash, quiet}},
		{"by EPSS, no estimate last", report.FindingFilter{Sort: report.SortEPSS}, []string{openssl, log4j, lodash, quiet}},
		{"by severity, then risk", report.FindingFilter{Sort: report.SortSeverity}, []string{log4j, openssl, lodash, quiet}},
		{"severities", report.FindingFilter{Severities: []vuln.Severity{vuln.SeverityHigh, vuln.SeverityNegligible}}, []string{openssl, lodash, quiet}},
		{"least severity", report.FindingFilter{MinSeverity: vuln.SeverityCritical}, []string{log4j}},
		{"fixable", report.FindingFilter{Fixable: ptr(true)}, []string{log4j, openssl, lodash}},
		{"not fixable", report.FindingFilter{Fixable: ptr(false)}, []string{quiet}},
		{"exploited", report.FindingFilter{KEV: ptr(true)}, []string{log4j}},
		{"package", report.FindingFilter{Package: "openssl"}, []string{openssl, quiet}},
		{"canonical name", report.FindingFilter{Vulnerability: "CVE-2021-44228"}, []string{log4j}},
		{"alias", report.FindingFilter{Vulnerability: "GHSA-35jh-r3h4-6jhm"}, []string{lodash}},
		{"ignored ones only", report.FindingFilter{Ignored: report.IgnoredOnly}, []string{}},
		{"nothing of that name", report.FindingFilter{Package: "open%"}, []string{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := w.Store.Findings(t.Context(), all, appScope(), tt.filter, report.Page{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, findingNames(got)); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
			// The filter narrows the list and never what is said of the image.
			if got.Answer != report.Findings || got.Counts.Total != 4 || got.State != report.StateDone {
				t.Errorf("assessment = %+v", got.Assessment)
			}
		})
	}
}

// Paging by cursor gives every finding once, in every order.
func TestFindingsPages(t *testing.T) {
	w := postgrestest.Harbour(t)
	for _, sort := range []report.Sort{report.SortRisk, report.SortSeverity, report.SortEPSS} {
		whole, err := w.Store.Findings(t.Context(), all, appScope(), report.FindingFilter{Sort: sort}, report.Page{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		page := report.Page{Limit: 1}
		for {
			found, err := w.Store.Findings(t.Context(), all, appScope(), report.FindingFilter{Sort: sort}, page)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, findingNames(found)...)
			if page.Cursor = found.NextCursor; page.Cursor == "" || len(got) > 10 {
				break
			}
		}
		if diff := cmp.Diff(findingNames(whole), got); diff != "" {
			t.Errorf("%s: pages (-whole +pages):\n%s", sort, diff)
		}
	}
}

func TestFindingsRefuseForeignCursors(t *testing.T) {
	w := postgrestest.Harbour(t)
	first, err := w.Store.Findings(t.Context(), all, appScope(), report.FindingFilter{Sort: report.SortRisk}, report.Page{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, cursor := range []string{"x", "bm8", first.NextCursor[1:], report.EncodeCursor("tags", "a"), report.EncodeCursor("findings/epss", 1, 2, "a\x00", "b", "c", "d"), first.NextCursor} {
		_, err := w.Store.Findings(t.Context(), all, appScope(), report.FindingFilter{Sort: report.SortEPSS}, report.Page{Cursor: cursor})
		if !errs.Is(err, errs.Invalid) || errs.Field(err) != "cursor" {
			t.Errorf("cursor %q: %v, want it invalid", cursor, err)
		}
	}
}

// One finding carries grype's matches of every name it goes by, the best fix
// among them, where the package lies and what put it there.
func TestFindingDetails(t *testing.T) {
	w := postgrestest.Harbour(t)
	got, err := w.Store.Findings(t.Context(), all, appScope(), report.FindingFilter{Vulnerability: "CVE-2021-44228"}, report.Page{})
	if err != nil {
		t.Fatal(err)
	}
	f := got.Items[0]
	want := report.Finding{
		Vulnerability: "CVE-2021-44228", Aliases: []string{"GHSA-jfh8-c2jp-5v3q"},
		Package: report.Package{Type: "java-archive", Name: "log4j-core", Version: "2.14.1", Language: "java",
			PURL: "pkg:maven/org.apache.logging.log4j/log4j-core@2.14.1"},
		Severity: vuln.SeverityCritical, CVSS: 10, FixState: vuln.FixStateFixed, SuggestedVersion: "2.15.0",
		FixedVersions: []string{"2.15.0", "2.3.1"}, KnownExploited: true, EPSS: ptr(0.5), EPSSPercentile: ptr(0.95), Risk: 95,
		MatchType: "exact-direct-match", Confidence: 1, Description: "Apache Log4j2 JNDI features",
		Images:         []report.FindingImage{{Digest: postgrestest.App("app-amd64", "").Manifest().Digest, Platform: "linux/amd64"}},
		ImagesTotal:    1,
		Locations:      []report.Location{{Path: "/app/app.jar", Image: postgrestest.App("app-amd64", "").Manifest().Digest}},
		LocationsTotal: 1,
	}
	matches := f.Matches
	f.Matches = nil
	if diff := cmp.Diff(want, f); diff != "" {
		t.Errorf("finding (-want +got):\n%s", diff)
	}
	if len(matches) != 2 {
		t.Fatalf("matches = %d, want both records", len(matches))
	}
	ghsa := matches[0]
	if ghsa.Ref != postgrestest.Log4Shell {
		ghsa = matches[1]
	}
	wantMatch := report.Match{
		Match: vuln.Match{Ref: postgrestest.Log4Shell, Aliases: []vuln.Ref{postgrestest.Log4NVD},
			Fix:              vuln.Fix{State: vuln.FixStateFixed, Versions: []string{"2.15.0", "2.3.1"}, Available: []vuln.FixAvailable{}},
			SuggestedVersion: "2.15.0", MatchType: "exact-direct-match", Matcher: "stock-matcher", Confidence: 1,
			Details: []byte(`[{"type": "exact-direct-match"}]`), Advisories: []vuln.Advisory{}},
		Severity: vuln.SeverityCritical, PURL: "pkg:maven/org.apache.logging.log4j/log4j-core@2.14.1",
	}
	if diff := cmp.Diff(wantMatch, ghsa); diff != "" {
		t.Errorf("match (-want +got):\n%s", diff)
	}
}

// The owned copy of lodash is ignored, the free one is not: the finding counts,
// shows both verdicts and names only the place that counts.
func TestFindingOfAPackageThatIsOwnedOnce(t *testing.T) {
	w := postgrestest.Harbour(t)
	got, err := w.Store.Findings(t.Context(), all, appScope(), report.FindingFilter{Package: "lodash"}, report.Page{})
	if err != nil {
		t.Fatal(err)
	}
	f := got.Items[0]
	if f.Ignored || f.Reason != "" || len(f.Matches) != 2 {
		t.Errorf("ignored %v (%q), %d matches; want it to count, with both verdicts", f.Ignored, f.Reason, len(f.Matches))
	}
	reasons := map[string]bool{}
	for _, m := range f.Matches {
		reasons[m.Ignored] = true
	}
	if !reasons[""] || !reasons["Distro package fixed"] {
		t.Errorf("verdicts = %v", reasons)
	}
	index := 1
	want := []report.Location{{Path: "/app/node_modules/lodash/package.json", Image: f.Images[0].Digest, LayerIndex: &index,
		LayerDigest: postgrestest.Digest("npm"), DiffID: string(postgrestest.Digest("npm diff")), CreatedBy: "RUN npm ci"}}
	if diff := cmp.Diff(want, f.Locations); diff != "" {
		t.Errorf("locations (-want +got):\n%s", diff)
	}
}

func TestFindingsIgnoredEverywhere(t *testing.T) {
	w := postgrestest.New(t)
	app := postgrestest.App("only-owned", "linux/amd64")
	app.Packages = append(app.Packages[:2:2], app.Packages[3]) // openssl, the owner, the owned lodash
	w.Push("team/app", "1", app)
	scope := report.FindingScope{Target: targetTag("team/app", "1")}
	left, err := w.Store.Findings(t.Context(), all, scope, report.FindingFilter{Package: "lodash"}, report.Page{})
	if err != nil || len(left.Items) != 0 {
		t.Fatalf("findings = %v, %v; want none that counts", findingNames(left), err)
	}
	only, err := w.Store.Findings(t.Context(), all, scope, report.FindingFilter{Ignored: report.IgnoredOnly}, report.Page{})
	if err != nil || len(only.Items) != 1 {
		t.Fatalf("ignored findings = %v, %v; want lodash", findingNames(only), err)
	}
	f := only.Items[0]
	if !f.Ignored || f.Reason != "Distro package fixed" || f.ImagesTotal != 1 || f.LocationsTotal != 1 {
		t.Errorf("finding = %+v; want the reason and the place", f)
	}
	if *only.Counts.Ignored != 1 || only.Counts.Total != 2 {
		t.Errorf("counts = %+v; want 1 ignored beside 2", only.Counts)
	}
	both, err := w.Store.Findings(t.Context(), all, scope, report.FindingFilter{Ignored: report.IgnoredInclude}, report.Page{})
	if err != nil || len(both.Items) != 3 {
		t.Errorf("all findings = %v, %v; want 3", findingNames(both), err)
	}
}

func TestFindingsOfAnIndex(t *testing.T) {
	w := postgrestest.Harbour(t)
	scope := report.FindingScope{Target: targetTag("team/app", "multi")}
	got, err := w.Store.Findings(t.Context(), all, scope, report.FindingFilter{Vulnerability: "CVE-2023-0286"}, report.Page{})
	if err != nil || len(got.Items) != 1 {
		t.Fatalf("findings = %v, %v; want one over both platforms", findingNames(got), err)
	}
	if f := got.Items[0]; f.ImagesTotal != 2 || len(f.Matches) != 2 || f.LocationsTotal != 2 {
		t.Errorf("images %d, matches %d, places %d; want 2 of each", f.ImagesTotal, len(f.Matches), f.LocationsTotal)
	}
	scope.Platform = image.Platform{OS: "linux", Architecture: "arm64"}
	got, err = w.Store.Findings(t.Context(), all, scope, report.FindingFilter{Vulnerability: "CVE-2023-0286"}, report.Page{})
	if err != nil {
		t.Fatal(err)
	}
	if f := got.Items[0]; f.ImagesTotal != 1 || f.Images[0].Platform != "linux/arm64/v8" || f.Matches[0].PURL == "" || len(f.Matches) != 1 {
		t.Errorf("images = %+v, matches %d; want those of arm64", f.Images, len(f.Matches))
	}
	scope.Platform = image.Platform{OS: "plan9", Architecture: "mips"}
	if _, err := w.Store.Findings(t.Context(), all, scope, report.FindingFilter{}, report.Page{}); !errs.Is(err, errs.NotFound) || errs.Field(err) != "platform" {
		t.Errorf("a platform it does not have: %v, want not found", err)
	}
}

// Without findings the answer says whether that means anything.
func TestFindingsSayWhatNoneMeans(t *testing.T) {
	w := postgrestest.Harbour(t)
	for target, want := range map[report.Target]report.Answer{
		targetTag("team/web", "1"):      report.Clean,
		targetTag("legacy/centos", "7"): report.Unknown,
		targetTag("team/chart", "1"):    report.None,
	} {
		got, err := w.Store.Findings(t.Context(), all, report.FindingScope{Target: target}, report.FindingFilter{}, report.Page{})
		if err != nil || len(got.Items) != 0 || got.Answer != want {
			t.Errorf("%s: %d findings, answer %s, %v; want none and %s", target.Name, len(got.Items), got.Answer, err, want)
		}
	}
}

func TestFindingsOfARepository(t *testing.T) {
	w := postgrestest.Harbour(t)
	scope := report.FindingScope{Target: targetTag("team/app", "")}
	got, err := w.Store.Findings(t.Context(), all, scope, report.FindingFilter{}, report.Page{})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Items) != 4 || got.Counts.Total != 4 || got.Answer != report.Findings || !got.Complete {
		t.Fatalf("findings = %v, assessment %+v", findingNames(got), got.Assessment)
	}
	var tags [][]string
	for _, i := range got.Items[0].Images {
		tags = append(tags, i.Tags)
	}
	// The amd64 image stands behind two tags, the arm64 one behind the index's.
	if len(tags) != 2 || len(tags[0])+len(tags[1]) != 3 {
		t.Errorf("tags = %v", tags)
	}
	if got.Items[0].LocationsTotal != 0 || got.Items[0].Locations == nil {
		t.Errorf("locations = %v, want an empty list", got.Items[0].Locations)
	}
	scope.Target = targetTag("nobody/knows", "")
	if _, err := w.Store.Findings(t.Context(), all, scope, report.FindingFilter{}, report.Page{}); !errs.Is(err, errs.NotFound) {
		t.Errorf("unknown repository: %v, want not found", err)
	}
}

// After a switch the stored counts are those of the build before until they are
// settled; readers see the active build all the same.
func TestReadersSeeTheActiveBuild(t *testing.T) {
	w := postgrestest.Harbour(t)
	w.Switch(postgrestest.NewBuild("two"))
	if _, err := w.Pool.Exec(t.Context(), `
		UPDATE package_match SET closed_build = (SELECT id FROM vuln_build WHERE state = 'active') WHERE canonical = 'CVE-2021-44228'`); err != nil {
		t.Fatal(err)
	}
	for _, tag := range []string{"1.0", "multi"} {
		got, err := w.Store.Image(t.Context(), all, targetTag("team/app", tag))
		if err != nil {
			t.Fatal(err)
		}
		if got.Counts.Total != 3 || got.Platforms[0].Counts.Total != 3 || got.Build.Checksum != "sha256:two" {
			t.Errorf("%s: counts = %+v under %s, want 3 under the new build", tag, got.Counts, got.Build.Checksum)
		}
	}
	found, err := w.Store.Findings(t.Context(), all, appScope(), report.FindingFilter{}, report.Page{})
	if err != nil || len(found.Items) != 3 {
		t.Errorf("findings = %v, %v; want 3", findingNames(found), err)
	}
	repos, err := w.Store.Repositories(t.Context(), all, report.RepositoryFilter{Prefix: postgrestest.Host + "/team/app"}, report.Page{})
	if err != nil || len(repos.Items) != 1 || !repos.Items[0].Stale {
		t.Errorf("repositories = %+v, %v; want the counts marked stale", repos.Items, err)
	}
}
