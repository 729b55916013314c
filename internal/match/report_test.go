package match

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/CycloneDX/cyclonedx-go"
	"github.com/anchore/clio"
	"github.com/anchore/grype/grype"
	"github.com/anchore/grype/grype/matcher"
	"github.com/anchore/grype/grype/presenter/models"
	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// judged scans a document with the sample database.
func judged(t *testing.T, b *bill) (*Session, Result) {
	t.Helper()
	e := sampleEngine(t)
	s := pin(t, e)
	doc := b.document(t)
	inv, err := e.Inventory(t.Context(), doc)
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.JudgeImage(t.Context(), inv)
	if err != nil {
		t.Fatal(err)
	}
	r.Reference, r.Document, r.Tool = "registry.example/app:1", doc, "v1.2.3"
	r.Now = time.Date(2026, 8, 20, 12, 0, 0, 0, time.UTC)
	r.Manifest = scan.Manifest{
		Digest: image.DigestOf(nil), Kind: image.KindImage, Platform: image.Platform{OS: "linux", Architecture: "amd64"},
		Layers: []scan.Layer{{Digest: image.DigestOf([]byte("0"))}, {Digest: image.DigestOf([]byte("1")), DiffID: layer, CreatedBy: "RUN npm install"}},
	}
	return s, r
}

func written(t *testing.T, s *Session, f Format, r Result) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.Report(t.Context(), &b, f, r); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestGrypeJSON compares our document with the one that grype's own matcher and
// report model give for the same SBOM: every field of every match, in order.
func TestGrypeJSON(t *testing.T) {
	for name, b := range map[string]*bill{"debian": mixed(), "alpine": onAlpine(), "centos": onCentOS()} {
		t.Run(name, func(t *testing.T) {
			s, r := judged(t, b)
			var got map[string]any
			if err := json.Unmarshal(written(t, s, GrypeJSON, r), &got); err != nil {
				t.Fatal(err)
			}
			want := grypesDocument(t, s, r)
			for _, part := range []string{"matches", "source", "distro"} {
				if diff := cmp.Diff(want[part], got[part]); diff != "" {
					t.Errorf("%s (-grype +ours):\n%s", part, diff)
				}
			}
			if diff := cmp.Diff(withoutRules(want["ignoredMatches"]), withoutRules(got["ignoredMatches"])); diff != "" {
				t.Errorf("ignoredMatches (-grype +ours):\n%s", diff)
			}
			descriptor := got["descriptor"].(map[string]any)
			if descriptor["name"] != "grype" || descriptor["version"] != engineVersion[1:] || descriptor["db"] == nil {
				t.Errorf("descriptor %v", descriptor)
			}
		})
	}
}

// grypesDocument is grype's report about the same SBOM.
func grypesDocument(t *testing.T, s *Session, r Result) map[string]any {
	t.Helper()
	c, err := read(t.Context(), r.Document)
	if err != nil {
		t.Fatal(err)
	}
	provider := plainProvider(t, s.db.installed)
	m := grype.VulnerabilityMatcher{
		VulnerabilityProvider: provider, Matchers: matcher.NewDefaultMatchers(matcherConfig()),
		IgnoreRules: kernelHeaders(), IncludeMatcherSuppressions: true,
	}
	matches, ignored, err := m.FindMatches(c.judged, c.context)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := models.NewDocument(clio.Identification{}, c.judged, c.context, *matches, ignored, provider, nil, nil, models.DefaultSortStrategy, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// withoutRules takes the reasons away, of which grype gives each that applies
// and we the first, and the order, which means nothing.
func withoutRules(ignored any) []any {
	list, _ := ignored.([]any)
	for _, m := range list {
		delete(m.(map[string]any), "appliedIgnoreRules")
	}
	sort.Slice(list, func(i, j int) bool { return fmt.Sprint(list[i]) < fmt.Sprint(list[j]) })
	return list
}

func TestFindings(t *testing.T) {
	_, r := judged(t, mixed())
	findings := r.Findings()
	byName := map[string]report.Finding{}
	for _, f := range findings {
		byName[f.Package.Name+" "+f.Package.Version+" "+f.Vulnerability] = f
	}
	log4shell := byName["log4j-core 2.14.1 CVE-2021-44228"]
	if log4shell.Severity != vuln.SeverityCritical || !log4shell.KnownExploited || log4shell.FixState != vuln.FixStateFixed ||
		log4shell.SuggestedVersion != "2.15.0" || !cmp.Equal(log4shell.Aliases, []string{"GHSA-jfh8-c2jp-5v3q"}) || len(log4shell.Matches) != 1 {
		t.Errorf("log4shell: %+v", log4shell)
	}
	one := 1
	wantPlace := report.Location{Path: "/opt/app/log4j-core.jar", Image: r.Manifest.Digest, LayerIndex: &one, LayerDigest: r.Manifest.Layers[1].Digest, DiffID: layer, CreatedBy: "RUN npm install"}
	if diff := cmp.Diff([]report.Location{wantPlace}, log4shell.Locations); diff != "" {
		t.Errorf("location (-want +got):\n%s", diff)
	}
	lodash := byName["lodash 4.17.15 CVE-2021-23337"]
	if lodash.LocationsTotal != 2 || len(lodash.Matches) != 1 {
		t.Errorf("two copies of lodash: %d locations, %d matches", lodash.LocationsTotal, len(lodash.Matches))
	}
	// One copy of the module is owned by a fixed package, the other is free.
	terrapin := byName["golang.org/x/crypto v0.14.0 CVE-2023-48795"]
	if terrapin.Ignored || len(terrapin.Matches) != 2 || terrapin.Matches[0].Ignored != "" || terrapin.Matches[1].Ignored != "distro-fixed" {
		t.Errorf("half ignored: %+v", terrapin)
	}
	if f := byName["zlib1g 1:1.2.13.dfsg-1 CVE-2023-45853"]; !f.Ignored || f.Reason != reasonExplicit {
		t.Errorf("ignored altogether: %+v", f)
	}
	if findings[0].Vulnerability != "CVE-2021-44228" {
		t.Errorf("the worst comes first: %s", findings[0].Vulnerability)
	}
	c := Count(findings)
	if sum := c.Critical + c.High + c.Medium + c.Low + c.Negligible + c.Unknown; sum != c.Total || *c.Ignored != 1 || c.Total+1 != len(findings) {
		t.Errorf("counts %+v ignored %d of %d findings", c, *c.Ignored, len(findings))
	}
}

func TestCountMergesVersions(t *testing.T) {
	finding := func(version string, severity vuln.Severity, ignored bool) report.Finding {
		return report.Finding{Vulnerability: "CVE-1", Package: report.Package{Type: "npm", Name: "a", Version: version}, Severity: severity, Ignored: ignored}
	}
	ignored := 0
	got := Count([]report.Finding{finding("1", vuln.SeverityLow, true), finding("2", vuln.SeverityHigh, false), finding("3", vuln.SeverityLow, false)})
	if diff := cmp.Diff(report.Counts{Total: 1, High: 1, Ignored: &ignored}, got); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}

func TestJSONReport(t *testing.T) {
	s, r := judged(t, mixed())
	var got answer
	if err := json.Unmarshal(written(t, s, JSON, r), &got); err != nil {
		t.Fatal(err)
	}
	if got.Reference != r.Reference || got.Image.Answer != report.Partial || got.Image.Complete || len(got.Caveats) != 3 || !got.Build.Sample || len(got.Findings) == 0 ||
		got.Image.Packages != len(r.Inventory.Occurrences) || !got.Image.EndOfLifePassed {
		t.Errorf("report %+v", got.Image)
	}
}

func TestIgnoredIsShownWhenAskedFor(t *testing.T) {
	s, r := judged(t, mixed())
	for _, show := range []bool{false, true} {
		r.ShowIgnored = show
		var got answer
		if err := json.Unmarshal(written(t, s, JSON, r), &got); err != nil {
			t.Fatal(err)
		}
		listed := slices.ContainsFunc(got.Findings, func(f report.Finding) bool { return f.Ignored && f.Reason != "" })
		if text := string(written(t, s, Table, r)); listed != show || strings.Contains(text, reasonExplicit) != show || *got.Image.Counts.Ignored != 1 {
			t.Errorf("asked for: %v, in JSON: %v, %d counted\n%s", show, listed, *got.Image.Counts.Ignored, text)
		}
	}
}

// TestFixStateHasAName reads a record that says nothing of a fix.
func TestFixStateHasAName(t *testing.T) {
	_, r := judged(t, mixed())
	for i := range r.Judgements {
		for n := range r.Judgements[i].Matches {
			r.Judgements[i].Matches[n].Fix.State = vuln.FixStateNone
		}
	}
	for _, f := range r.Findings() {
		if f.FixState != vuln.FixStateUnknown || f.Matches[0].Fix.State != vuln.FixStateNone {
			t.Errorf("%s: fix state %q, of the match %q", f.Vulnerability, f.FixState, f.Matches[0].Fix.State)
		}
	}
}

func TestNoDataIsNeverClean(t *testing.T) {
	s, r := judged(t, onCentOS())
	if a := r.Assess(r.Findings()); a.Answer != report.Unknown || a.Complete {
		t.Errorf("assessment %+v", a)
	}
	for _, f := range []Format{Table, JSON, GrypeJSON, SARIF, CycloneDX} {
		text := string(written(t, s, f, r))
		if !strings.Contains(text, "distro:centos:7") {
			t.Errorf("%s does not say what there is no data for", f)
		}
		if strings.Contains(text, `"clean"`) || strings.HasPrefix(text, "clean") {
			t.Errorf("%s says clean", f)
		}
	}
	_, r = judged(t, &bill{})
	if a := r.Assess(r.Findings()); a.Answer != report.Clean {
		t.Errorf("nothing in it: %+v", a)
	}
}

// TestCaveatsAreInEveryReport looks for the sentences without which a report
// would be taken for more than it is.
func TestCaveatsAreInEveryReport(t *testing.T) {
	s, r := judged(t, &bill{})
	private := pin(t, databaseOf(t, entry{provider: "ours", id: "OURS-1", severity: "low", ecosystem: "npm", name: "left", below: "2.0.0"}))
	for _, f := range []Format{Table, JSON, GrypeJSON, SARIF, CycloneDX} {
		if text := string(written(t, s, f, r)); !strings.Contains(text, "no packages were found in it") || strings.Contains(text, "holds only") {
			t.Errorf("%s does not say that there was nothing in it:\n%s", f, text)
		}
		if text := string(written(t, private, f, r)); !strings.Contains(text, "the vulnerability database holds only 1 record from ours") {
			t.Errorf("%s does not say that the database is small:\n%s", f, text)
		}
	}
	if text := string(written(t, pin(t, databaseOf(t)), Table, r)); !strings.Contains(text, "holds no records") {
		t.Errorf("an empty database:\n%s", text)
	}
}

func TestWithoutData(t *testing.T) {
	const none = "nothing can be said"
	for _, tt := range []struct {
		name, class string
		matches     []string
		want        string
	}{
		{"no matches", "distro:centos:7", nil, none},
		{"by CPE", "ecosystem:conan", []string{"cpe-match", "cpe-match"}, "only matches by CPE are possible for these packages; more is unknown"},
		{"of a neighbouring release", "distro:alpine:3.2.0", []string{"cpe-match", "exact-direct-match"}, "what is near it"},
		{"no version", "version:npm", nil, "no version to compare (version:npm)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := withoutData(tt.class, tt.matches)
			if !strings.Contains(got, tt.want) || !strings.Contains(got, tt.class) || len(tt.matches) > 0 && strings.Contains(got, none) {
				t.Errorf("%q lacks %q", got, tt.want)
			}
		})
	}
}

func TestStandardFormats(t *testing.T) {
	s, r := judged(t, mixed())
	var sarif struct {
		Version string
		Runs    []struct {
			Tool struct {
				Driver struct{ Name, Version, InformationURI string }
			}
			Results []struct {
				RuleID    string
				Locations []struct {
					PhysicalLocation struct{ ArtifactLocation struct{ URI string } }
				}
			}
			Invocations []struct{ ToolExecutionNotifications []struct{ Level string } }
		}
	}
	if err := json.Unmarshal(written(t, s, SARIF, r), &sarif); err != nil {
		t.Fatal(err)
	}
	if sarif.Version != "2.1.0" || len(sarif.Runs) != 1 || sarif.Runs[0].Tool.Driver.Name != "tidewaiter" || len(sarif.Runs[0].Results) == 0 ||
		len(sarif.Runs[0].Invocations) != 1 || len(sarif.Runs[0].Invocations[0].ToolExecutionNotifications) == 0 {
		t.Errorf("SARIF %+v", sarif)
	}
	if uri := sarif.Runs[0].Tool.Driver.InformationURI; uri != "https://github.com/tidewaiter/tidewaiter" {
		t.Errorf("SARIF names %s", uri)
	}
	for _, result := range sarif.Runs[0].Results {
		if uri := result.Locations[0].PhysicalLocation.ArtifactLocation.URI; uri == "" || strings.HasPrefix(uri, "/") {
			t.Errorf("%s lies at %q", result.RuleID, uri)
		}
	}
	var bom cyclonedx.BOM
	if err := cyclonedx.NewBOMDecoder(bytes.NewReader(written(t, s, CycloneDX, r)), cyclonedx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	if bom.Components == nil || bom.Vulnerabilities == nil || len(*bom.Vulnerabilities) == 0 || (*bom.Metadata.Tools.Components)[0].Name != "tidewaiter" {
		t.Error("CycloneDX lacks components, vulnerabilities or the tool")
	}
	if err := s.Report(t.Context(), &bytes.Buffer{}, "xml", r); !errs.Is(err, errs.Invalid) {
		t.Errorf("unknown format: %v", err)
	}
}

func TestPathsInSARIF(t *testing.T) {
	at := func(uri string) map[string]any {
		var doc map[string]any
		text := fmt.Sprintf(`{"runs": [{"results": [{}, {"locations": [{"physicalLocation": {"artifactLocation": {"uri": %q}}}]}]}]}`, uri)
		if err := json.Unmarshal([]byte(text), &doc); err != nil {
			t.Fatal(err)
		}
		return doc
	}
	for uri, want := range map[string]string{"app//usr/lib/a": "app/usr/lib/a", "//usr/lib/a": "usr/lib/a", "app/usr": "app/usr", "app///usr": "app/usr"} {
		got := at(uri)
		ours(got)
		if diff := cmp.Diff(at(want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", uri, diff)
		}
	}
	ours(nil)
	ours(map[string]any{"runs": []any{}})
}

func TestTable(t *testing.T) {
	s, r := judged(t, mixed())
	text := string(written(t, s, Table, r))
	for _, want := range []string{"SEVERITY", "CVE-2021-44228", "log4j-core", "2.15.0", "partial: 16 vulnerabilities, counted once per package name (5 critical", "packages of type npm have no version", "note: the vulnerability database is the sample", "support for debian:12 ended on 2026-07-11"} {
		if !strings.Contains(text, want) {
			t.Errorf("the table lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "CVE-2023-45853") {
		t.Error("the table lists what is ignored")
	}
}

func TestCell(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                  "plain",
		"esc\x1b[2J":             `esc\x1b[2J`,
		"rtl\u202eevil":          `rtl\u202eevil`,
		"tab\tnew\nline":         `tab\tnew\nline`,
		strings.Repeat("x", 100): strings.Repeat("x", maxCell) + "…",
		"\xff":                   "\uFFFD",
		"é漢":                     "é漢",
	} {
		if got := cell(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
