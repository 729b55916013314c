package api_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/postgres/postgrestest"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

const (
	appName = postgrestest.Host + "/team/app"
	appRef  = appName + ":1.0"
)

// Every listing answers, keeps the contract and is not empty.
func TestRoutesAnswer(t *testing.T) {
	b := newBench(t, postgrestest.Harbour(t))
	for path, items := range map[string]int{
		"/registries":   2,
		"/repositories": 8,
		"/repositories?registry=main&prefix=" + postgrestest.Host + "/team/":    4,
		"/tags?repository=" + appName:                                           2,
		"/findings?ref=" + appRef:                                               4,
		"/findings?repository=" + appName:                                       4,
		"/findings?ref=sboms/team/app:ci":                                       1,
		"/findings?ref=" + appName + ":multi&platform=linux/arm64":              4,
		"/vulnerabilities/CVE-2021-44228/images":                                4,
		"/packages?name=log4j-core":                                             4,
		"/packages?purl=pkg:maven/org.apache.logging.log4j/log4j-core":          4,
		"/packages?name=log4j-core&type=java-archive&version=" + "%3C" + "2.15": 4,
		"/packages?name=log4j-core&version=" + "%3C" + "2.0":                    0,
		"/packages?name=Log4J-Core":                                             4,
		"/packages?purl=pkg:maven/log4j-core":                                   4,
		"/vulnerabilities/ghsa-jfh8-c2jp-5v3q/images":                           4,
		"/findings?package=LODASH&vulnerability=cve-2021-23337&ref=" + appRef:   1,
		"/packages?name=nobody-has-it":                                          0,
		"/packages?name=owned":                                                  3,
		"/scans":                                                                9,
		"/scans?state=done&repository=" + appName:                               2,
		"/deliveries": 10,
		"/deliveries?registry=main&verdict=ignored": 2,
	} {
		got := into[struct{ Items []json.RawMessage }](t, b.do("GET", path, b.token, "", ""))
		if len(got.Items) != items {
			t.Errorf("%s: %d items, want %d", path, len(got.Items), items)
		}
	}
	if got := into[report.Builds](t, b.get("/vulndb")); got.Active == nil || strings.Contains(got.Active.Source, "secret") {
		t.Errorf("vulndb = %+v, want the active build without credentials", got)
	}
	scans := into[report.List[report.Scan]](t, b.get("/scans", "limit", "1"))
	if got := into[report.Scan](t, b.do("GET", "/scans/"+jsonNumber(scans.Items[0].ID), b.token, "", "")); got.ID != scans.Items[0].ID {
		t.Errorf("scan = %+v", got)
	}
	if got := into[report.Vulnerability](t, b.get("/vulnerabilities/GHSA-jfh8-c2jp-5v3q")); got.Severity != vuln.SeverityCritical || len(got.Records) != 1 {
		t.Errorf("vulnerability = %+v", got)
	}
}

// Who could not be asked stands beside the list.
func TestVulnerabilityImagesAreComplete(t *testing.T) {
	b := newBench(t, postgrestest.Harbour(t))
	got := into[report.VulnerabilityImages](t, b.get("/vulnerabilities/CVE-2021-44228/images"))
	if got.Complete || got.UnjudgedImages != 3 || len(got.Items) != 4 {
		t.Errorf("answer = %d images, complete %v, %d not judged; want 4, false, 3", len(got.Items), got.Complete, got.UnjudgedImages)
	}
}

func jsonNumber(n int64) string {
	b, _ := json.Marshal(n)
	return string(b)
}

func TestImageByEveryNameOfItsRegistry(t *testing.T) {
	b := newBench(t, postgrestest.Harbour(t))
	digest := string(postgrestest.App("app-amd64", "").Manifest().Digest)
	for _, ref := range []string{
		appRef, "alias.example.com:5000/team/app:1.0", "registry/team/app:1.0", appName + "@" + digest,
		appName + ":1.0@" + digest, "REGISTRY.example.com:443/team/app:1.0",
	} {
		got := into[report.Image](t, b.get("/image", "ref", ref))
		if got.Answer != report.Findings || string(got.Digest) != digest || got.Repository != appName {
			t.Errorf("%s: %s %s, answer %s", ref, got.Repository, got.Digest, got.Answer)
		}
	}
	for _, ref := range []string{"elsewhere.example.com/team/app:1.0", "team/app:1.0", appName + ":9", "sboms/team/app:9"} {
		b.get("/image", "ref", ref).refused(t, errs.NotFound, fieldOf(ref))
	}
}

// fieldOf is the field of the problem: the name is at fault when no registry has
// its host, and not when it is merely unknown.
func fieldOf(ref string) string {
	if strings.HasPrefix(ref, appName) || strings.HasPrefix(ref, "sboms/") {
		return ""
	}
	return "ref"
}

func TestFindingsParameters(t *testing.T) {
	b := newBench(t, postgrestest.Harbour(t))
	ids := func(parameters ...string) []string {
		got := into[report.FindingPage](t, b.get("/findings", append([]string{"ref", appRef}, parameters...)...))
		out := []string{}
		for _, f := range got.Items {
			out = append(out, f.Vulnerability)
		}
		return out
	}
	log4j, openssl, lodash, quiet := "CVE-2021-44228", "CVE-2023-0286", "CVE-2021-23337", "CVE-2019-1010022"
	tests := []struct {
		parameters []string
		want       []string
	}{
		{nil, []string{log4j, openssl, lodash, quiet}},
		{[]string{"sort", "epss"}, []string{openssl, log4j, lodash, quiet}},
		{[]string{"severity", "high,NEGLIGIBLE"}, []string{openssl, lodash, quiet}},
		{[]string{"severity", "high", "severity", "critical"}, []string{log4j, openssl, lodash}},
		{[]string{"min_severity", "critical"}, []string{log4j}},
		{[]string{"fixable", "false"}, []string{quiet}},
		{[]string{"kev", "true"}, []string{log4j}},
		{[]string{"package", "lodash", "vulnerability", "GHSA-35jh-r3h4-6jhm"}, []string{lodash}},
		{[]string{"ignored", "only"}, []string{}},
		{[]string{"ignored", "true", "limit", "2"}, []string{log4j, openssl}},
	}
	for _, tt := range tests {
		if got := ids(tt.parameters...); !slices.Equal(got, tt.want) {
			t.Errorf("%q: %v, want %v", tt.parameters, got, tt.want)
		}
	}
}

func TestTagHistory(t *testing.T) {
	b := newBench(t, postgrestest.Harbour(t))
	got := into[report.List[report.TagEvent]](t, b.get("/tags/history", "ref", appRef))
	if len(got.Items) != 1 || got.Items[0].Action != "set" || got.Items[0].Digest != postgrestest.App("app-amd64", "").Manifest().Digest {
		t.Errorf("history = %+v", got)
	}
	b.get("/tags/history", "ref", appName+":never").refused(t, errs.NotFound, "")
	b.get("/tags/history", "ref", appName+"@"+string(postgrestest.Digest("x"))).refused(t, errs.Invalid, "ref")
	b.get("/tags/history").refused(t, errs.Invalid, "ref")
	b.get("/tags/history", "ref", appRef, "cursor", "x").refused(t, errs.Invalid, "cursor")
	limited := b.newToken("other team", report.ScopeRead, postgrestest.Host+"/other/")
	b.do("GET", "/tags/history?ref="+appRef, limited, "", "").refused(t, errs.NotFound, "")
}

func TestListingsPage(t *testing.T) {
	b := newBench(t, postgrestest.Harbour(t))
	for path, want := range map[string]int{
		"/repositories": 8, "/tags?repository=" + appName: 2, "/findings?ref=" + appRef: 4, "/scans": 9, "/deliveries": 10,
		"/packages?name=log4j-core": 4, "/vulnerabilities/CVE-2021-44228/images": 4,
	} {
		seen, next := map[string]bool{}, ""
		for range 20 {
			separator := "?"
			if strings.Contains(path, "?") {
				separator = "&"
			}
			page := into[report.List[json.RawMessage]](t, b.do("GET", path+separator+"limit=1&cursor="+next, b.token, "", ""))
			for _, item := range page.Items {
				seen[string(item)] = true
			}
			if next = page.NextCursor; next == "" {
				break
			}
		}
		if len(seen) != want {
			t.Errorf("%s: %d distinct items over all pages, want %d", path, len(seen), want)
		}
	}
}

func TestSBOM(t *testing.T) {
	b := newBench(t, postgrestest.Harbour(t))
	for format, media := range map[string]string{
		"": "application/vnd.syft+json", "syft-json": "application/vnd.syft+json",
		"cyclonedx-json": "application/vnd.cyclonedx+json", "spdx-json": "application/spdx+json",
	} {
		parameters := []string{"ref", appRef}
		if format != "" {
			parameters = append(parameters, "format", format)
		}
		got := b.get("/sbom", parameters...)
		if got.status != 200 || got.header.Get("Content-Type") != media || !strings.Contains(string(got.body), `"source":"app-amd64"`) {
			t.Errorf("%s: status %d, %s: %s", format, got.status, got.header.Get("Content-Type"), got.body)
		}
	}
	if got := b.get("/sbom", "ref", appName+":multi", "platform", "linux/arm64"); !strings.Contains(string(got.body), `"source":"app-arm64"`) {
		t.Errorf("of a platform: %s", got.body)
	}
	b.get("/sbom", "ref", appName+":multi").refused(t, errs.Invalid, "platform")
	b.get("/sbom", "ref", appRef, "format", "spdx").refused(t, errs.Invalid, "format")
	b.get("/sbom", "ref", postgrestest.Host+"/team/broken:1").refused(t, errs.NotFound, "")
}

// Whatever is wrong with a request is told with its name, and never with a
// status of our own fault.
func TestBadRequestsNameTheField(t *testing.T) {
	b := newBench(t, postgrestest.Harbour(t))
	long := strings.Repeat("a", 5000)
	tests := []struct {
		path  string
		field string
	}{
		{"/image", "ref"},
		{"/image?ref=", "ref"},
		{"/image?ref=" + appName + ":UPPER@x", "ref"},
		{"/image?ref=%00", "ref"},
		{"/image?ref=%ff%fe", "ref"},
		{"/image?ref=" + long, "ref"},
		{"/image?ref=a&ref=b", "ref"},
		{"/image?ref=" + appRef + "&wait=soon", "wait"},
		{"/image?ref=" + appRef + "&wait=1h", "wait"},
		{"/image?ref=" + appRef + "&wait=-1s", "wait"},
		{"/image?ref=" + appName + "@sha256:abc", "ref"},
		{"/image?ref=%zz", ""},
		{"/tags", "repository"},
		{"/tags?repository=" + appName + ":1.0", "repository"},
		{"/tags?repository=" + appName + "&limit=0", "limit"},
		{"/tags?repository=" + appName + "&limit=501", "limit"},
		{"/tags?repository=" + appName + "&limit=many", "limit"},
		{"/tags?repository=" + appName + "&cursor=x", "cursor"},
		{"/repositories?prefix=%00", "prefix"},
		{"/repositories?cursor=WyJ0YWdzIiwiYSJd", "cursor"},
		{"/findings", "ref"},
		{"/findings?ref=" + appRef + "&repository=" + appName, "ref"},
		{"/findings?ref=" + appRef + "&severity=bad", "severity"},
		{"/findings?ref=" + appRef + "&min_severity=bad", "min_severity"},
		{"/findings?ref=" + appRef + "&min_severty=high", "min_severty"},
		{"/findings?ref=" + appRef + "&fixable=yes", "fixable"},
		{"/findings?ref=" + appRef + "&kev=1", "kev"},
		{"/findings?ref=" + appRef + "&sort=name", "sort"},
		{"/findings?ref=" + appRef + "&ignored=maybe", "ignored"},
		{"/findings?ref=" + appRef + "&platform=linux", "platform"},
		{"/findings?ref=" + appRef + "&package=%00", "package"},
		{"/findings?ref=" + appRef + "&vulnerability=%00", "vulnerability"},
		{"/packages", "name"},
		{"/packages?name=a&purl=pkg:npm/a", "name"},
		{"/packages?name=log4j-core&version=newest", "version"},
		{"/packages?name=nobody-has-it&version=newest", "version"},
		{"/packages?name=%00", "name"},
		{"/packages?purl=lodash", "purl"},
		{"/packages?purl=pkg:npm", "purl"},
		{"/packages?purl=pkg:npm/%2500", "purl"},
		{"/scans?state=lost", "state"},
		{"/scans/abc", "id"},
		{"/scans/0", "id"},
		{"/scans/99999999999999999999", "id"},
		{"/deliveries?verdict=maybe", "verdict"},
		{"/vulnerabilities/%00", "id"},
		{"/vulnerabilities/" + long[:201], "id"},
		{"/registries?all=true", "all"},
		{"/vulndb?x=1", "x"},
	}
	for _, tt := range tests {
		b.do("GET", tt.path, b.token, "", "").refused(t, errs.Invalid, tt.field)
	}
	for _, path := range []string{"/scans/4711", "/vulnerabilities/CVE-1999-0001", "/vulnerabilities/CVE-1999-0001/images", "/scans?repository=" + postgrestest.Host + "/nobody/knows"} {
		b.do("GET", path, b.token, "", "").refused(t, errs.NotFound, "")
	}
}

func TestARouteWithoutParametersSaysSo(t *testing.T) {
	b := newBench(t, postgrestest.New(t))
	if p := b.get("/registries", "limit", "1").refused(t, errs.Invalid, "limit"); p.Hint != "it takes none" {
		t.Errorf("hint = %q", p.Hint)
	}
	if p := b.get("/repositories", "page", "1").refused(t, errs.Invalid, "page"); p.Hint != "the parameters are cursor, limit, prefix, registry" {
		t.Errorf("hint = %q", p.Hint)
	}
}

// Strings of images are told as they are, escaped by JSON and nothing else.
func TestHostileStringsArriveWhole(t *testing.T) {
	w := postgrestest.New(t)
	app := postgrestest.App("hostile", "linux/amd64")
	app.Packages[0].Name = `"><script>alert(1)</script>` + "\u202e'; DROP TABLE package; --"
	app.Packages[0].PURL = "pkg:deb/a?b=c&d=%00"
	w.Push("team/app", "1", app)
	b := newBench(t, w)
	got := into[report.FindingPage](t, b.get("/findings", "ref", appName+":1", "package", app.Packages[0].Name))
	if len(got.Items) != 2 || got.Items[0].Package.Name != app.Packages[0].Name {
		t.Errorf("findings = %+v", got.Items)
	}
	if got := into[report.List[report.ImageHit]](t, b.get("/packages", "purl", app.Packages[0].PURL)); len(got.Items) != 1 {
		t.Errorf("by purl: %d images, want 1", len(got.Items))
	}
}

func TestImageOfAnUpload(t *testing.T) {
	b := newBench(t, postgrestest.Harbour(t))
	got := into[report.Image](t, b.get("/image", "ref", "sboms/team/app:ci"))
	if got.Registry != "sboms" || got.Kind != image.KindSBOM || got.Counts.Total != 1 || got.Reference != "sboms/team/app:ci" {
		t.Errorf("upload = %+v", got)
	}
}
