package api_test

import (
	"encoding/csv"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tidewaiter/tidewaiter/internal/api/apitest"
	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/postgres/postgrestest"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

const app = postgrestest.Host + "/team/app"

func TestEvents(t *testing.T) {
	b := newBench(t, postgrestest.Harbour(t))
	names := func(parameters ...string) []string {
		out := []string{}
		for _, e := range into[report.List[report.FindingEvent]](t, b.get("/events", parameters...)).Items {
			out = append(out, string(e.Kind)+" "+e.Repository+" "+e.Vulnerability)
		}
		slices.Sort(out)
		return out
	}
	log4j := "opened " + app + " CVE-2021-44228"
	for _, tt := range []struct {
		name       string
		parameters []string
		want       []string
	}{
		{"a repository, by severity", []string{"repository", app, "severity", "critical"}, []string{log4j}},
		{"at least", []string{"repository", app, "min_severity", "critical"}, []string{log4j}},
		{"both, apart", []string{"repository", app, "min_severity", "critical", "severity", "low"}, []string{}},
		{"any of its names", []string{"repository", app, "vulnerability", "ghsa-jfh8-c2jp-5v3q"}, []string{log4j}},
		{"a package", []string{"registry", "main", "package", "Log4J-core", "cause", "push"},
			[]string{"opened " + postgrestest.Host + "/other/secret CVE-2021-44228", log4j}},
		{"a registry", []string{"registry", "sboms"}, []string{"opened sboms/team/app CVE-2021-44228"}},
		{"kind and cause", []string{"kind", "closed,escalated", "cause", "build"}, []string{}},
		{"a time before", []string{"until", "2020-01-01T00:00:00Z"}, []string{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, names(tt.parameters...)); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
	e := into[report.List[report.FindingEvent]](t, b.get("/events", "repository", app, "severity", "critical")).Items[0]
	if e.ScanID == nil || e.Tag != "1.0" || e.Digest == "" || e.Build != "sha256:one" || e.Package != (report.PackageName{Type: "java-archive", Name: "log4j-core"}) {
		t.Errorf("event = %+v", e)
	}
}

func TestEventsPages(t *testing.T) {
	b := newBench(t, postgrestest.Harbour(t))
	whole := into[report.List[report.FindingEvent]](t, b.get("/events"))
	var got []report.FindingEvent
	cursor := ""
	for range len(whole.Items) + 1 {
		parameters := []string{"limit", "2"}
		if cursor != "" {
			parameters = append(parameters, "cursor", cursor)
		}
		page := into[report.List[report.FindingEvent]](t, b.get("/events", parameters...))
		got = append(got, page.Items...)
		if cursor = page.NextCursor; cursor == "" {
			break
		}
	}
	if diff := cmp.Diff(whole.Items, got); diff != "" || len(got) < 8 {
		t.Errorf("%d events, pages (-whole +pages):\n%s", len(got), diff)
	}
}

func TestHistoryRefuses(t *testing.T) {
	b := newBench(t, postgrestest.Harbour(t))
	future := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	for _, tt := range []struct {
		path       string
		parameters []string
		kind       errs.Kind
		field      string
	}{
		{"/events", []string{"kind", "vanished"}, errs.Invalid, "kind"},
		{"/events", []string{"cause", "push,luck"}, errs.Invalid, "cause"},
		{"/events", []string{"since", "yesterday"}, errs.Invalid, "since"},
		{"/events", []string{"repository", postgrestest.Host + "/no/such"}, errs.NotFound, ""},
		{"/events", []string{"registry", "nowhere"}, errs.NotFound, "registry"},
		{"/events", []string{"registry", "sboms", "repository", app}, errs.Invalid, "registry"},
		{"/events", []string{"cursor", "x"}, errs.Invalid, "cursor"},
		{"/trends", []string{"since", "2026-03-32"}, errs.Invalid, "since"},
		{"/trends", []string{"since", "2026-03-02", "until", "2026-03-01"}, errs.Invalid, "since"},
		{"/trends", []string{"since", "1990-03-02", "until", "2026-03-01"}, errs.Invalid, "since"},
		{"/trends", []string{"registry", "main", "repository", app}, errs.Invalid, "registry"},
		{"/trends", []string{"registry", "nowhere"}, errs.NotFound, "registry"},
		{"/compare", nil, errs.Invalid, "from"},
		{"/compare", []string{"from", app + ":1.0"}, errs.Invalid, "to"},
		{"/compare", []string{"from", app + ":1.0", "to", app + ":nope"}, errs.NotFound, ""},
		{"/compare", []string{"from", app + ":1.0", "from_as_of", future}, errs.Invalid, "from_as_of"},
		{"/findings", []string{"repository", app, "as_of", "2026-03-01T00:00:00Z"}, errs.Invalid, "as_of"},
		{"/findings", []string{"ref", app + ":1.0", "as_of", future}, errs.Invalid, "as_of"},
		{"/findings", []string{"ref", app + ":1.0", "as_of", "2020-03-01T00:00:00Z"}, errs.NotFound, "as_of"},
		{"/findings", []string{"ref", app + ":1.0", "as_of", "2020-03-01T00:00:00Z", "sort", "epss"}, errs.Invalid, "sort"},
		{"/upgrades", nil, errs.Invalid, "ref"},
		{"/upgrades", []string{"ref", app + ":nope"}, errs.NotFound, ""},
		{"/export/findings", []string{"format", "xml"}, errs.Invalid, "format"},
		{"/export/findings", []string{"sort", "epss"}, errs.Invalid, "sort"},
		{"/export/findings", []string{"repository", postgrestest.Host + "/no/such"}, errs.NotFound, ""},
	} {
		t.Run(tt.path+" "+strings.Join(tt.parameters, " "), func(t *testing.T) {
			b.get(tt.path, tt.parameters...).refused(t, tt.kind, tt.field)
		})
	}
}

// What lies outside of a token's prefixes is as if it were not there.
func TestHistoryIsLimited(t *testing.T) {
	b := newBench(t, postgrestest.Harbour(t))
	secret := postgrestest.Host + "/other/secret"
	token := b.newToken("team", report.ScopeRead, postgrestest.Host+"/team/")
	get := func(path string, parameters ...string) reply {
		return b.do(http.MethodGet, path+encode(parameters), token, "", "")
	}
	for _, e := range into[report.List[report.FindingEvent]](t, get("/events", "vulnerability", "CVE-2021-44228")).Items {
		if e.Repository != app {
			t.Errorf("an event of %s", e.Repository)
		}
	}
	get("/events", "repository", secret).refused(t, errs.NotFound, "")
	get("/trends", "repository", secret).refused(t, errs.NotFound, "")
	get("/trends", "registry", "sboms").refused(t, errs.NotFound, "registry")
	get("/compare", "from", app+":1.0", "to", secret+":1").refused(t, errs.NotFound, "")
	get("/compare", "from", secret+":1", "from_as_of", time.Now().UTC().Format(time.RFC3339)).refused(t, errs.NotFound, "")
	get("/upgrades", "ref", secret+":1").refused(t, errs.NotFound, "")
	get("/findings", "ref", secret+":1", "as_of", time.Now().UTC().Format(time.RFC3339)).refused(t, errs.NotFound, "")
	get("/export/findings", "repository", secret).refused(t, errs.NotFound, "")
	if body := string(get("/export/findings").body); strings.Contains(body, "secret") || !strings.Contains(body, app) {
		t.Errorf("exported: %s", body)
	}
	last := func(r reply) report.TrendDay {
		days := into[report.Trend](t, r).Items
		return days[len(days)-1]
	}
	if n := last(get("/trends")).Counts.Total; n != 4 {
		t.Errorf("%d findings in the trend, want those of one repository", n)
	}
	if n := last(b.get("/trends")).Counts.Total; n != 9 {
		t.Errorf("%d findings in the trend of all, want 9", n)
	}
}

func TestTrends(t *testing.T) {
	w := postgrestest.Harbour(t)
	b := newBench(t, w)
	// As if the first half had happened a week ago.
	for _, sql := range []string{
		`UPDATE repository_day SET day = day - 7`,
		`UPDATE repository_finding SET closed_at = now() WHERE package_name = 'openssl'`,
	} {
		if _, err := w.Pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	trend := into[report.Trend](t, b.get("/trends", "repository", app))
	if len(trend.Items) != report.DefaultTrendDays || trend.Complete != (trend.UnjudgedImages == 0) {
		t.Fatalf("%d days, complete %v, %d unjudged", len(trend.Items), trend.Complete, trend.UnjudgedImages)
	}
	today := time.Now().UTC().Format(time.DateOnly)
	n := len(trend.Items) - 1
	if d := trend.Items[n]; d.Day != today || d.Counts.Total != 2 || d.Counts.Critical != 1 || d.Counts.KnownExploited != 1 || d.Closed != 2 || d.Opened != 0 {
		t.Errorf("today = %+v", d)
	}
	if d := trend.Items[n-1]; d.Counts.Total != 4 || d.Closed != 0 {
		t.Errorf("yesterday = %+v", d)
	}
	if d := trend.Items[n-7]; d.Counts.Total != 4 || d.Opened != 4 || d.Counts.Fixable != 3 {
		t.Errorf("a week ago = %+v", d)
	}
	if d := trend.Items[n-8]; d.Counts.Total != 0 || d.Opened != 0 {
		t.Errorf("before = %+v", d)
	}
	// What was before the first day is in it.
	short := into[report.Trend](t, b.get("/trends", "repository", app, "since", trend.Items[n-3].Day))
	if diff := cmp.Diff(trend.Items[n-3:], short.Items); diff != "" {
		t.Errorf("short (-long +short):\n%s", diff)
	}
}

// lodash in three tags: of one version, upgraded without effect, and fixed.
func versionsOf(t *testing.T) *postgrestest.World {
	w := postgrestest.New(t)
	w.Know(vuln.Vulnerability{Ref: vuln.Ref{ID: "CVE-1", Namespace: "test"}, Severity: vuln.SeverityHigh, Risk: 5})
	w.Know(vuln.Vulnerability{Ref: vuln.Ref{ID: "CVE-2", Namespace: "test"}, Severity: vuln.SeverityLow})
	match := func(id, fixed string) vuln.Match {
		m := vuln.Match{Ref: vuln.Ref{ID: id, Namespace: "test"}, MatchType: "exact-direct-match", Matcher: "test", Confidence: 1, Details: []byte(`[]`),
			Fix: vuln.Fix{State: vuln.FixStateNotFixed}}
		if fixed != "" {
			m.Fix, m.SuggestedVersion = vuln.Fix{State: vuln.FixStateFixed, Versions: []string{fixed}}, fixed
		}
		return m
	}
	pkg := func(name, version string, matches ...vuln.Match) postgrestest.Package {
		return postgrestest.Package{Package: inventory.Package{Type: "npm", Name: name, Version: version}, Matches: matches}
	}
	w.Push("team/app", "1", postgrestest.Image{Name: "1", Packages: []postgrestest.Package{
		pkg("lodash", "1.0", match("CVE-1", "1.2"), match("CVE-2", "")), pkg("same", "1"), pkg("gone", "1")}})
	w.Push("team/app", "2", postgrestest.Image{Name: "2", Packages: []postgrestest.Package{
		pkg("lodash", "1.1", match("CVE-1", "1.2"), match("CVE-2", "1.3")), pkg("same", "1"), pkg("new", "1", match("CVE-1", ""))}})
	w.Push("team/app", "3", postgrestest.Image{Name: "3", Packages: []postgrestest.Package{pkg("lodash", "1.3"), pkg("same", "1")}})
	return w
}

func TestCompare(t *testing.T) {
	b := newBench(t, versionsOf(t))
	c := into[report.Comparison](t, b.get("/compare", "from", app+":1", "to", app+":2"))
	if c.Opened.Total != 1 || c.Opened.Items[0].Package.Name != "new" || c.Closed.Total != 0 || c.Unchanged != 1 || !c.Complete {
		t.Errorf("opened %+v, closed %+v, unchanged %d", c.Opened, c.Closed, c.Unchanged)
	}
	if c.Changed.Total != 1 || c.Changed.Items[0].Vulnerability != "CVE-2" || c.Changed.Items[0].From.FixState != vuln.FixStateNotFixed ||
		c.Changed.Items[0].To.SuggestedVersion != "1.3" {
		t.Errorf("changed = %+v", c.Changed)
	}
	want := report.ComparedPackages{
		Added:   report.Differences[report.ComparedPackage]{Total: 1, Items: []report.ComparedPackage{{PackageName: report.PackageName{Type: "npm", Name: "new"}, Versions: []string{"1"}}}},
		Removed: report.Differences[report.ComparedPackage]{Total: 1, Items: []report.ComparedPackage{{PackageName: report.PackageName{Type: "npm", Name: "gone"}, Versions: []string{"1"}}}},
		Changed: report.Differences[report.ChangedPackage]{Total: 1, Items: []report.ChangedPackage{{PackageName: report.PackageName{Type: "npm", Name: "lodash"}, From: []string{"1.0"}, To: []string{"1.1"}}}},
	}
	if diff := cmp.Diff(want, c.Packages); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
	c = into[report.Comparison](t, b.get("/compare", "from", app+":2", "to", app+":3"))
	if c.Opened.Total != 0 || c.Closed.Total != 3 || c.Closed.Items[0].Severity != vuln.SeverityHigh || c.From.Counts.Total != 3 || c.To.Answer != report.Clean {
		t.Errorf("closed = %+v, from %+v, to %+v", c.Closed, c.From, c.To)
	}
}

func TestCompareMoments(t *testing.T) {
	w := versionsOf(t)
	b := newBench(t, w)
	var before time.Time
	if err := w.Pool.QueryRow(t.Context(), `SELECT clock_timestamp()`).Scan(&before); err != nil {
		t.Fatal(err)
	}
	w.Push("team/app", "1", postgrestest.Image{Name: "3"})
	c := into[report.Comparison](t, b.get("/compare", "from", app+":1", "from_as_of", before.UTC().Format(time.RFC3339Nano)))
	if c.Closed.Total != 2 || c.Opened.Total != 0 || c.From.AsOf == nil || c.To.AsOf != nil || c.From.Digest == c.To.Digest || c.From.Reference != c.To.Reference {
		t.Errorf("closed %+v, from %+v, to %+v", c.Closed, c.From, c.To)
	}
}

func TestUpgrades(t *testing.T) {
	b := newBench(t, versionsOf(t))
	plan := into[report.UpgradePlan](t, b.get("/upgrades", "ref", app+":2"))
	want := []report.Upgrade{{
		Package: report.Package{Type: "npm", Name: "lodash", Version: "1.1"}, To: "1.3", Closes: report.FindingSum{Total: 2, High: 1, Low: 1},
		Steps: []report.UpgradeStep{{Version: "1.2", Closes: 1}}, Vulnerabilities: []string{"CVE-1", "CVE-2"},
	}}
	if diff := cmp.Diff(want, plan.Items, cmpopts.IgnoreUnexported(report.Upgrade{})); diff != "" {
		t.Errorf("upgrades (-want +got):\n%s", diff)
	}
	if plan.WithoutFix.Total != 1 || plan.Closes.Total != 2 || plan.Counts.Total != 3 || plan.Build == nil || plan.State != report.StateDone {
		t.Errorf("plan = %+v", plan)
	}
	whole := into[report.UpgradePlan](t, b.get("/upgrades", "repository", app))
	if whole.UpgradesTotal != 2 {
		t.Errorf("%d upgrades of the repository, want one per version", whole.UpgradesTotal)
	}
	if clean := into[report.UpgradePlan](t, b.get("/upgrades", "ref", app+":3")); clean.Answer != report.Clean || len(clean.Items) != 0 {
		t.Errorf("clean = %+v", clean)
	}
}

func TestExport(t *testing.T) {
	b := newBench(t, postgrestest.Harbour(t))
	r := b.get("/export/findings", "min_severity", "high")
	lines := strings.Split(strings.TrimSpace(string(r.body)), "\n")
	if r.header.Get("Content-Type") != "application/x-ndjson" || len(lines) < 4 {
		t.Fatalf("%s: %s", r.header.Get("Content-Type"), r.body)
	}
	apitest.CheckLine(t, "ExportHead", []byte(lines[0]))
	apitest.CheckLine(t, "ExportFoot", []byte(lines[len(lines)-1]))
	for _, line := range lines[1 : len(lines)-1] {
		apitest.CheckLine(t, "ExportRow", []byte(line))
	}
	if want := `{"row":"end","images":8,"findings":10,"unjudged":3}`; lines[len(lines)-1] != want || len(lines) != 15 {
		t.Errorf("%d lines, the last %s, want %s", len(lines), lines[len(lines)-1], want)
	}
}

// A cell that a spreadsheet would run is none that it runs.
func TestExportAsCSV(t *testing.T) {
	w := postgrestest.New(t)
	w.Push("team/app", "1", postgrestest.Image{Name: "1", Packages: []postgrestest.Package{{
		Package: inventory.Package{Type: "npm", Name: `=HYPERLINK("http://evil","x")`, Version: "-1\n+2", PURL: "@x"},
		Matches: []vuln.Match{{Ref: vuln.Ref{ID: "CVE-1", Namespace: "test"}, Details: []byte(`[]`), Fix: vuln.Fix{State: vuln.FixStateFixed, Versions: []string{"1", "2"}}}},
	}}})
	b := newBench(t, w)
	r := b.get("/export/findings", "format", "csv")
	records, err := csv.NewReader(strings.NewReader(string(r.body))).ReadAll()
	if err != nil || len(records) != 2 {
		t.Fatalf("%v: %s", err, r.body)
	}
	if diff := cmp.Diff(report.ExportColumns(), records[0]); diff != "" {
		t.Error(diff)
	}
	row := map[string]string{}
	for n, name := range records[0] {
		row[name] = records[1][n]
	}
	for name, want := range map[string]string{"row": "finding", "package_name": `'=HYPERLINK("http://evil","x")`, "package_version": "'-1\n+2", "purl": "'@x",
		"fixed_versions": "1 2", "severity": "unknown", "epss": "", "known_exploited": "false", "tags": "1"} {
		if row[name] != want {
			t.Errorf("%s = %q, want %q", name, row[name], want)
		}
	}
	if got := r.header.Get("Content-Type"); !strings.HasPrefix(got, "text/csv") {
		t.Errorf("content type %q", got)
	}
}
