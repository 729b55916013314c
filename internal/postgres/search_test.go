package postgres_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/postgres/postgrestest"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

func hitNames(found []report.ImageHit) []string {
	out := []string{}
	for _, h := range found {
		out = append(out, fmt.Sprintf("%s %v %s", h.Repository, h.Tags, h.Platform))
	}
	return out
}

func TestPackagesByNameAndPURL(t *testing.T) {
	w := postgrestest.New(t)
	w.Push("team/app", "1", postgrestest.Image{Name: "a", Packages: []postgrestest.Package{
		{Package: inventory.Package{Type: "npm", Name: "lodash", Version: "4.17.20", PURL: "pkg:npm/lodash@4.17.20"}},
		{Package: inventory.Package{Type: "npm", Name: "lodash", Version: "4.17.21", PURL: "pkg:npm/lodash@4.17.21"}},
		{Package: inventory.Package{Type: "npm", Name: "lodash-es", Version: "4.17.21", PURL: "pkg:npm/lodash-es@4.17.21"}},
		{Package: inventory.Package{Type: "npm", Name: "no_version", PURL: "pkg:npm/no_version"}},
		{Package: inventory.Package{Type: "gem", Name: "lodash", Version: "1", PURL: "pkg:gem/lodash@1"}},
		{Package: inventory.Package{Type: "npm", Name: "@types/node", Version: "20", PURL: "pkg:npm/%40types/node@20"}},
		{Package: inventory.Package{Type: "dotnet", Name: "Newtonsoft.Json", Version: "13.0.1", PURL: "pkg:nuget/Newtonsoft.Json@13.0.1"}},
		{Package: inventory.Package{Type: "python", Name: "zope.interface", Version: "5", PURL: "pkg:pypi/zope.interface@5"}},
		{Package: inventory.Package{Type: "deb", Name: "libstdc++6", Version: "12.2.0", PURL: "pkg:deb/debian/libstdc%2B%2B6@12.2.0?arch=amd64"}},
		{Package: inventory.Package{Type: "deb", Name: "zlib1g", Version: "1:1.2.13", PURL: "pkg:deb/debian/zlib1g@1%3A1.2.13?arch=amd64"}},
		{Package: inventory.Package{Type: "go-module", Name: "github.com/hashicorp/golang-lru/v2", Version: "v2.0.1", PURL: "pkg:golang/github.com/hashicorp/golang-lru/v2@v2.0.1"}},
		{Package: inventory.Package{Type: "go-module", Name: "github.com/other/lib/v2", Version: "v2.0.1", PURL: "pkg:golang/github.com/other/lib/v2@v2.0.1"}},
		{Package: postgrestest.DebPackage("openssl", "3.0.11-1", "amd64")},
		{Package: postgrestest.DebPackage("openssl", "3.0.11-1", "arm64")},
	}})
	tests := []struct {
		name  string
		query report.PackageQuery
		want  []string
	}{
		{"name", report.PackageQuery{Name: "lodash"}, []string{"npm lodash 4.17.20", "npm lodash 4.17.21", "gem lodash 1"}},
		{"name and type", report.PackageQuery{Name: "lodash", Type: "gem"}, []string{"gem lodash 1"}},
		{"a name is not a pattern", report.PackageQuery{Name: "lod%"}, nil},
		{"purl of all versions", report.PackageQuery{PURL: "pkg:npm/lodash"}, []string{"npm lodash 4.17.20", "npm lodash 4.17.21"}},
		{"purl of one version", report.PackageQuery{PURL: "pkg:npm/lodash@4.17.21"}, []string{"npm lodash 4.17.21"}},
		{"a purl is no prefix of a version", report.PackageQuery{PURL: "pkg:npm/lodash@4.17.2"}, nil},
		{"purl without qualifiers", report.PackageQuery{PURL: "pkg:deb/debian/openssl@3.0.11-1"}, []string{"deb openssl 3.0.11-1", "deb openssl 3.0.11-1"}},
		{"purl with qualifiers", report.PackageQuery{PURL: "pkg:deb/debian/openssl@3.0.11-1?arch=arm64&distro=debian-12"}, []string{"deb openssl 3.0.11-1"}},
		{"a name in another case", report.PackageQuery{Name: "LoDash", Type: "npm"}, []string{"npm lodash 4.17.20", "npm lodash 4.17.21"}},
		{"a stored name in another case", report.PackageQuery{Name: "newtonsoft.json"}, []string{"dotnet Newtonsoft.Json 13.0.1"}},
		{"a python name as PyPI has it", report.PackageQuery{Name: "Zope-Interface"}, []string{"python zope.interface 5"}},
		{"only of python", report.PackageQuery{Name: "no-version"}, nil},
		{"a purl of PyPI", report.PackageQuery{PURL: "pkg:PyPI/Zope_Interface@5"}, []string{"python zope.interface 5"}},
		{"a purl without namespace", report.PackageQuery{PURL: "pkg:deb/libstdc++6"}, []string{"deb libstdc++6 12.2.0"}},
		{"a purl with escapes", report.PackageQuery{PURL: "pkg:deb/Debian/libstdc%2B%2B6"}, []string{"deb libstdc++6 12.2.0"}},
		{"another namespace", report.PackageQuery{PURL: "pkg:deb/ubuntu/libstdc++6"}, nil},
		{"a scope is another package", report.PackageQuery{PURL: "pkg:npm/node"}, nil},
		{"a scope", report.PackageQuery{PURL: "pkg:npm/@Types/node"}, []string{"npm @types/node 20"}},
		{"a qualifier alone", report.PackageQuery{PURL: "pkg:deb/debian/openssl?arch=arm64"}, []string{"deb openssl 3.0.11-1"}},
		{"a Go module with its major version", report.PackageQuery{PURL: "pkg:golang/github.com/hashicorp/golang-lru/v2"}, []string{"go-module github.com/hashicorp/golang-lru/v2 v2.0.1"}},
		{"an epoch", report.PackageQuery{PURL: "pkg:deb/debian/zlib1g@1:1.2.13"}, []string{"deb zlib1g 1:1.2.13"}},
		{"purl without a version", report.PackageQuery{PURL: "pkg:npm/no_version"}, []string{"npm no_version "}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			found, err := w.Store.Packages(t.Context(), tt.query)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]int{}
			for _, p := range found {
				got[p.Type+" "+p.Name+" "+p.Version]++
			}
			want := map[string]int{}
			for _, name := range tt.want {
				want[name]++
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("packages (-want +got):\n%s", diff)
			}
		})
	}
}

func packageIDs(t *testing.T, w *postgrestest.World, name string) []int64 {
	t.Helper()
	found, err := w.Store.Packages(t.Context(), report.PackageQuery{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	var out []int64
	for _, p := range found {
		out = append(out, p.ID)
	}
	return out
}

func TestPackageImages(t *testing.T) {
	w := postgrestest.Harbour(t)
	list := func(access report.Access, name string, limit int) []report.ImageHit {
		var out []report.ImageHit
		ids, page := packageIDs(t, w, name), report.Page{Limit: limit}
		for {
			found, err := w.Store.PackageImages(t.Context(), access, ids, page)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, found.Items...)
			if page.Cursor = found.NextCursor; page.Cursor == "" {
				return out
			}
		}
	}
	h := postgrestest.Host
	app := []string{h + "/team/app [1.0 multi] linux/amd64", h + "/team/app [multi] linux/arm64/v8"}
	if app64, arm := postgrestest.App("app-amd64", "").Manifest().Digest, postgrestest.App("app-arm64", "").Manifest().Digest; arm < app64 {
		app[0], app[1] = app[1], app[0]
	}
	want := append(append([]string{h + "/other/secret [1] linux/amd64"}, app...), "sboms/team/app [ci] ")
	for _, limit := range []int{1, 100} {
		if diff := cmp.Diff(want, hitNames(list(all, "log4j-core", limit))); diff != "" {
			t.Errorf("%d a page (-want +got):\n%s", limit, diff)
		}
	}
	if diff := cmp.Diff(app, hitNames(list(team, "log4j-core", 100))); diff != "" {
		t.Errorf("one team's (-want +got):\n%s", diff)
	}
	// What grype leaves out before matching is found by package search.
	owned := list(team, "owned", 100)
	if len(owned) != 2 || owned[0].Packages[0].Excluded != inventory.ExcludedOwned {
		t.Errorf("excluded package = %+v", owned)
	}
	if got := list(all, "nobody-has-it", 100); len(got) != 0 {
		t.Errorf("unknown package: %d hits", len(got))
	}
}

func TestVulnerabilityImages(t *testing.T) {
	w := postgrestest.Harbour(t)
	list := func(access report.Access, id string) []report.ImageHit {
		var out []report.ImageHit
		page := report.Page{Limit: 1}
		for {
			found, err := w.Store.VulnerabilityImages(t.Context(), access, id, page)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, found.Items...)
			if page.Cursor = found.NextCursor; page.Cursor == "" {
				return out
			}
		}
	}
	for _, name := range []string{"CVE-2021-44228", "GHSA-jfh8-c2jp-5v3q"} {
		got := list(all, name)
		if len(got) != 4 {
			t.Fatalf("%s: %v; want 4 images", name, hitNames(got))
		}
		want := []report.HitPackage{{Package: report.Package{Type: "java-archive", Name: "log4j-core", Version: "2.14.1", Language: "java",
			PURL: "pkg:maven/org.apache.logging.log4j/log4j-core@2.14.1"}, FixState: vuln.FixStateFixed, SuggestedVersion: "2.15.0"}}
		if diff := cmp.Diff(want, got[0].Packages); diff != "" {
			t.Errorf("%s: packages (-want +got):\n%s", name, diff)
		}
	}
	if got := list(team, "CVE-2021-44228"); len(got) != 2 {
		t.Errorf("one team's images = %v", hitNames(got))
	}
}

// An empty list of images is worth what it was asked of: those that could not be
// asked are counted.
func TestVulnerabilityImagesTellWhoWasNotAsked(t *testing.T) {
	w := postgrestest.Harbour(t)
	w.Push("team/windows", "1", postgrestest.Image{Name: "windows", Partial: "windows"})
	w.Push("team/slow", "1", postgrestest.Image{Name: "slow", Pending: true})
	for _, tt := range []struct {
		name     string
		access   report.Access
		id       string
		unjudged int
	}{
		// Of teams: one failed, one partial, one pending. Of all: two without data.
		{"all", all, "CVE-2021-44228", 5},
		{"one team's", team, "CVE-2021-44228", 3},
		{"where all was asked", report.Access{Prefixes: []string{postgrestest.Host + "/team/app"}}, "CVE-2021-44228", 0},
		{"in another case", all, "cve-2021-44228", 5},
		{"of GitHub, in another case", all, "ghsa-JFH8-c2jp-5v3q", 5},
	} {
		got, err := w.Store.VulnerabilityImages(t.Context(), tt.access, tt.id, report.Page{})
		if err != nil || len(got.Items) == 0 {
			t.Fatalf("%s: %v, %v", tt.name, hitNames(got.Items), err)
		}
		if got.UnjudgedImages != tt.unjudged || got.Complete != (tt.unjudged == 0) {
			t.Errorf("%s: %d images were not asked, complete %v; want %d", tt.name, got.UnjudgedImages, got.Complete, tt.unjudged)
		}
	}
}

func TestVulnerabilityImagesOfNone(t *testing.T) {
	w := postgrestest.Harbour(t)
	if _, err := w.Pool.Exec(t.Context(), `INSERT INTO vulnerability (name, namespace) VALUES ('CVE-2000-0001', 'nvd:cpe')`); err != nil {
		t.Fatal(err)
	}
	for id, access := range map[string]report.Access{"CVE-2021-44229": all, "CVE-2021-4422": team, "CVE-2000-0001": team} {
		_, err := w.Store.VulnerabilityImages(t.Context(), access, id, report.Page{})
		if !errs.Is(err, errs.NotFound) {
			t.Errorf("%s: %v, want not found", id, err)
		}
	}
	got, err := w.Store.VulnerabilityImages(t.Context(), all, "cve-2000-0001", report.Page{})
	if err != nil || len(got.Items) != 0 || got.Complete || got.UnjudgedImages != 3 {
		t.Errorf("one that nobody has any more: %+v, %v; want an empty list that is not complete", got, err)
	}
}

// An image in which every match is ignored is no hit, and walking past many of
// them loses none of the others.
func TestVulnerabilityImagesLeaveOutIgnored(t *testing.T) {
	w := postgrestest.New(t)
	for i := range 7 {
		app := postgrestest.App(fmt.Sprint("owned-", i), "linux/amd64")
		app.Packages = append(app.Packages[:2:2], app.Packages[3])
		app.Packages = append(app.Packages, postgrestest.Package{Package: inventory.Package{Type: "npm", Name: "own", Version: fmt.Sprint(i)}})
		w.Push(fmt.Sprintf("team/a%d", i), "1", app)
	}
	w.Push("team/b", "1", postgrestest.App("free", "linux/amd64"))
	got, err := w.Store.VulnerabilityImages(t.Context(), all, "CVE-2021-23337", report.Page{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{postgrestest.Host + "/team/b [1] linux/amd64"}, hitNames(got.Items)); diff != "" || got.NextCursor != "" {
		t.Errorf("images, then cursor %q (-want +got):\n%s", got.NextCursor, diff)
	}
}

func TestVulnerability(t *testing.T) {
	w := postgrestest.Harbour(t)
	got, err := w.Store.Vulnerability(t.Context(), all, "CVE-2021-44228")
	if err != nil {
		t.Fatal(err)
	}
	if got.Severity != vuln.SeverityCritical || !got.KnownExploited || got.Repositories != 3 || len(got.Records) != 2 {
		t.Errorf("vulnerability = %+v", got)
	}
	if diff := cmp.Diff([]string{"GHSA-jfh8-c2jp-5v3q"}, got.Aliases); diff != "" {
		t.Errorf("aliases (-want +got):\n%s", diff)
	}
	want := w.Vulnerabilities[postgrestest.Log4Shell]
	want.URLs, want.CWEs = []string{}, []string{}
	if diff := cmp.Diff(want, got.Records[1]); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	for _, spelt := range []string{"cve-2021-44228", "Cve-2021-44228"} {
		if again, err := w.Store.Vulnerability(t.Context(), all, spelt); err != nil || again.ID != "CVE-2021-44228" || len(again.Records) != 2 {
			t.Errorf("%s: %+v, %v", spelt, again, err)
		}
	}
	limited, err := w.Store.Vulnerability(t.Context(), team, "CVE-2021-44228")
	if err != nil || limited.Repositories != 1 {
		t.Errorf("to one team: %d repositories, %v; want 1", limited.Repositories, err)
	}
	for _, hidden := range []struct {
		name   string
		access report.Access
		id     string
	}{
		{"unknown", all, "CVE-1999-0001"},
		{"in nothing the reader sees", report.Access{Prefixes: []string{postgrestest.Host + "/team/web"}}, "CVE-2021-44228"},
	} {
		if _, err := w.Store.Vulnerability(t.Context(), hidden.access, hidden.id); !errs.Is(err, errs.NotFound) {
			t.Errorf("%s: %v, want not found", hidden.name, err)
		}
	}
}

func TestSBOM(t *testing.T) {
	w := postgrestest.Harbour(t)
	got, err := w.Store.SBOM(t.Context(), all, targetTag("team/app", "1.0"), image.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	var document struct{ Source string }
	if err := json.Unmarshal(got.JSON, &document); err != nil || document.Source != "app-amd64" || got.Tool != "syft" {
		t.Errorf("document of %q by %s, %v", document.Source, got.Tool, err)
	}
	arm, err := w.Store.SBOM(t.Context(), all, targetTag("team/app", "multi"), image.Platform{OS: "linux", Architecture: "arm64"})
	if err != nil || arm.Platform != "linux/arm64/v8" {
		t.Errorf("document for %q, %v; want that for arm64", arm.Platform, err)
	}
	tests := []struct {
		name     string
		target   report.Target
		platform image.Platform
		kind     errs.Kind
	}{
		{"an index without a platform", targetTag("team/app", "multi"), image.Platform{}, errs.Invalid},
		{"a platform it does not have", targetTag("team/app", "multi"), image.Platform{OS: "linux", Architecture: "s390x"}, errs.NotFound},
		{"no image", targetTag("team/chart", "1"), image.Platform{}, errs.NotFound},
		{"not catalogued", targetTag("team/broken", "1"), image.Platform{}, errs.NotFound},
	}
	for _, tt := range tests {
		if _, err := w.Store.SBOM(t.Context(), all, tt.target, tt.platform); !errs.Is(err, tt.kind) {
			t.Errorf("%s: %v, want kind %s", tt.name, err, tt.kind)
		}
	}
}

// Whoever has to choose is told what from, in words and not in Go.
func TestSBOMOfSeveralImagesTellsTheChoices(t *testing.T) {
	w := postgrestest.Harbour(t)
	w.PushIndex("team/twins", "1", postgrestest.App("twin-a", "linux/amd64"), postgrestest.App("twin-b", "linux/amd64"))
	twin := func(name string) string {
		return string(postgrestest.App(name, "linux/amd64").Manifest().Digest) + " linux/amd64"
	}
	_, err := w.Store.SBOM(t.Context(), all, targetTag("team/twins", "1"), image.Platform{OS: "linux", Architecture: "s390x"})
	if got := errs.Hint(err); !errs.Is(err, errs.NotFound) || got != "there are linux/amd64" {
		t.Errorf("of a platform it does not have: %v, hint %q", err, got)
	}
	for repository, want := range map[string]string{
		"team/app:multi": "name one as platform: linux/amd64, linux/arm64/v8",
		"team/twins:1":   "some are for the same platform: ask for one by its digest, as HOST/NAME@DIGEST: " + twin("twin-a") + ", " + twin("twin-b"),
	} {
		name, tag, _ := strings.Cut(repository, ":")
		_, err := w.Store.SBOM(t.Context(), all, targetTag(name, tag), image.Platform{})
		if !errs.Is(err, errs.Invalid) || errs.Field(err) != "platform" {
			t.Errorf("%s: %v", repository, err)
		}
		if diff := cmp.Diff(want, errs.Hint(err)); diff != "" {
			t.Errorf("%s: hint (-want +got):\n%s", repository, diff)
		}
	}
}
