package vulndb

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/anchore/grype/grype/distro"
	"github.com/anchore/grype/grype/vulnerability"
	"github.com/anchore/syft/syft/pkg"
	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// advisories writes files into a directory, by relative path.
func advisories(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// buildFrom builds from files and installs the result.
func buildFrom(t *testing.T, files map[string]string) (Installed, BuildReport) {
	t.Helper()
	report, err := Build(t.Context(), BuildOptions{From: advisories(t, files), Out: t.TempDir()}, nil)
	if err != nil {
		t.Fatalf("%v (%v)", err, report.Skipped)
	}
	in, err := openLibrary(t, Config{}).Import(t.Context(), report.Archive, nil)
	if err != nil {
		t.Fatal(err)
	}
	if in.Checksum != report.Checksum {
		t.Errorf("installed as %s, the report says %s", in.Checksum, report.Checksum)
	}
	return in, report
}

func skipped(r BuildReport) []string {
	var out []string
	for _, s := range r.Skipped {
		out = append(out, s.String())
	}
	slices.Sort(out)
	return out
}

const envelopeOS = `{"schema":"https://raw.githubusercontent.com/anchore/vunnel/main/schema/vulnerability/os/schema-1.1.0.json",
	"identifier":"debian:12/cve-2026-7","item":{"Vulnerability":{"Name":"CVE-2026-7","NamespaceName":"debian:12","Severity":"High",
	"Description":"words","Link":"https://x.example","FixedIn":[{"Name":"widget","NamespaceName":"debian:12","Version":"2.0-1","VersionFormat":"dpkg"}]}}}`

// TestVunnelFormats builds from loose envelopes and from workspaces.
func TestVunnelFormats(t *testing.T) {
	schema := func(kind string) string {
		return `"schema":"https://raw.githubusercontent.com/anchore/vunnel/main/schema/` + kind + `/schema-1.0.0.json"`
	}
	state := func(name, store string) string {
		return `{"provider":"` + name + `","version":1,"processor":"vunnel@0.30","timestamp":"2026-01-01T00:00:00Z","store":"` + store + `","stale":false}`
	}
	dir := advisories(t, map[string]string{
		"flat/os.json": envelopeOS,
		"flat/signals.json": `[{` + schema("known-exploited") + `,"identifier":"kev/x","item":{"cveID":"CVE-2026-7","dateAdded":"2026-03-01"}},
			{` + schema("epss") + `,"identifier":"epss/x","item":{"cve":"CVE-2026-7","epss":0.5,"percentile":0.9,"date":"2026-03-02"}}]`,
		"a-eol.json":         `{` + schema("eol") + `,"identifier":"eol/x","item":{"product":"debian","name":"12","eolFrom":"2026-07-11"}}`,
		"ghsa/metadata.json": state("github", "flat-file"),
		"ghsa/results/GHSA-1.json": `{` + schema("vulnerability/github-security-advisory") + `,"identifier":"ghsa","item":{"Advisory":{"ghsaId":"GHSA-1",
			"Severity":"High","url":"https://x.example","FixedIn":[{"ecosystem":"npm","name":"widget","range":"< 2.0.0","identifier":"2.0.0"}]}}}`,
		"ghsa/input/raw.json": `not for us`,
		"nvd/metadata.json":   state("nvd", "sqlite"),
		"nvd/results/x":       "",
		"acme/metadata.json":  state("acme", "flat-file"),
		"acme/results/deep/osv.json": `{` + schema("vulnerability/osv") + `,"identifier":"x","item":` +
			osv("ACME-9", "npm", "gadget", events("SEMVER", `{"introduced":"0"},{"fixed":"3.0.0"}`)) + `}`,
	})
	resultsDB(t, filepath.Join(dir, "nvd", "results", "results.db"), map[string]string{
		"2026/cve-2026-7": `{` + schema("nvd") + `,"identifier":"x","item":{"cve":{"id":"CVE-2026-7","published":"2026-01-01","lastModified":"2026-01-01",
			"descriptions":[{"lang":"en","value":"of NVD"}],"references":[]}}}`,
		"2026/broken": `{`,
	})
	report, err := Build(t.Context(), BuildOptions{From: dir, Out: t.TempDir()}, nil)
	if err != nil {
		t.Fatalf("%v (%v)", err, report.Skipped)
	}
	wantRecords := map[string]int{"debian": 1, "kev": 1, "epss": 1, "eol": 1, "github": 1, "nvd": 1, "acme": 1}
	if diff := cmp.Diff(wantRecords, report.Records); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	if got := skipped(report); len(got) != 1 || !strings.HasPrefix(got[0], "nvd/results/results.db: ") {
		t.Errorf("skipped %v", got)
	}
	in, err := openLibrary(t, Config{}).Import(t.Context(), report.Archive, nil)
	if err != nil {
		t.Fatal(err)
	}
	if in.Sample {
		t.Error("marked as a sample")
	}
	r := openReader(t, in)
	for _, tt := range []struct {
		question
		want string
	}{
		{question{distro.Debian, "12", pkg.DebPkg, "widget", "1.0-1"}, "CVE-2026-7 debian:distro:debian:12 fixed 2.0-1"},
		{question{kind: pkg.NpmPkg, name: "widget", ver: "1.0.0"}, "GHSA-1 github:language:javascript fixed 2.0.0"},
		{question{kind: pkg.NpmPkg, name: "gadget", ver: "1.0.0"}, "ACME-9 acme:language:javascript fixed 3.0.0"},
	} {
		if diff := cmp.Diff([]string{tt.want}, find(t, r, tt.question)); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", tt.question, diff)
		}
	}
	eol, _, err := v6.NewVulnerabilityProvider(r).(vulnerability.EOLChecker).GetOperatingSystemEOL(distro.New(distro.Debian, "12", ""))
	if err != nil || eol == nil {
		t.Errorf("end of life %v, %v: it was not added last", eol, err)
	}
}

// resultsDB writes a vunnel workspace's results in its SQLite form.
func resultsDB(t *testing.T, path string, records map[string]string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`CREATE TABLE results (id text PRIMARY KEY, record blob)`); err != nil {
		t.Fatal(err)
	}
	for id, record := range records {
		if _, err := db.Exec(`INSERT INTO results VALUES (?, ?)`, id, []byte(record)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestUnusableAdvisories puts every kind of bad file beside one good record.
func TestUnusableAdvisories(t *testing.T) {
	good := osv("GOOD-1", "npm", "widget", events("SEMVER", `{"introduced":"0"}`))
	git := `"ranges":[{"type":"GIT","repo":"https://x.example","events":[{"introduced":"0"}]}]`
	tests := []struct{ name, file, content, reason string }{
		{"not JSON", "a.json", `{"id":`, "not JSON"},
		{"empty", "a.json", ``, "empty"},
		{"an empty list", "a.json", `[]`, "an empty list"},
		{"another kind of file", "README.md", `# hello`, "only .json files"},
		{"some other JSON", "a.json", `{"name":"package"}`, "neither an OSV record nor a vunnel envelope"},
		{"a number", "a.json", `[1]`, "not an object"},
		{"wrong types", "a.json", `{"id":"A-1","affected":"all"}`, "not an OSV record"},
		{"no package", "a.json", `{"id":"A-1","affected":[]}`, "names no affected package"},
		{"a package without a name", "a.json", osv("A-1", "npm", " ", events("SEMVER", `{"introduced":"0"}`)), "names no package"},
		{"an ecosystem nobody matches", "a.json", osv("A-1", "Amiga", "widget", events("SEMVER", `{"introduced":"0"}`)), `"Amiga"`},
		{"a distribution without release", "a.json", osv("A-1", "Debian", "widget", events("ECOSYSTEM", `{"introduced":"0"}`)), "names no release"},
		{"a rebuild of Red Hat's", "a.json", osv("A-1", "Rocky Linux:9", "widget", events("ECOSYSTEM", `{"introduced":"0"}`)), "not one grype matches"},
		{"a paid service's fixes", "a.json", osv("A-1", "Ubuntu:Pro:18.04:LTS", "widget", events("ECOSYSTEM", `{"introduced":"0"}`)), "names no release"},
		{"only commits", "a.json", osv("A-1", "npm", "widget", git), "neither versions nor ranges"},
		{"a range that affects nothing", "a.json", osv("A-1", "Debian:12", "widget", events("ECOSYSTEM", `{"introduced":"0"},{"fixed":"0"}`)), "affect no version"},
		{"a version that is a comparator", "a.json", osv("A-1", "npm", "widget", events("SEMVER", `{"introduced":"0"},{"fixed":"1.0 || > 0"}`)), "not a version"},
		{"a listed version that is one", "a.json", osv("A-1", "npm", "widget", `"versions":["1.0, <9"]`), "not a version"},
		{"an unreadable score", "a.json", strings.Replace(good, `"summary"`, `"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:X"}],"summary"`, 1), "CVSS vector"},
		{"an unknown schema", "a.json", `{"schema":"https://x.example/mystery/schema-1.0.0.json","identifier":"x","item":{}}`, "no use for schema"},
		{"a schema of another age", "a.json", strings.Replace(envelopeOS, "schema-1.1.0", "schema-9.0.0", 1), "no use for schema"},
		{"an item that would crash the library", "a.json", strings.ReplaceAll(envelopeOS, "debian:12", "debian"), "not in the shape"},
		{"an item without content", "a.json", strings.Replace(envelopeOS, `"Name":"CVE-2026-7",`, "", 1), "makes nothing of it"},
		{"an item with an unreadable range", "a.json", strings.Replace(envelopeOS, `"Version":"2.0-1"`, `"Version":"2.0-1","VulnerableRange":"!! what"`, 1), "range"},
		{"an item with an unreadable score", "a.json", strings.Replace(envelopeOS, `"FixedIn"`, `"CVSS":[{"vector_string":"CVSS:3.1/oops","version":"3.1"}],"FixedIn"`, 1), "CVSS vector"},
		{"a workspace of nobody", "w/metadata.json", `{"provider":"../x","store":"flat-file"}`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, report := buildFrom(t, map[string]string{"good.json": good, tt.file: tt.content})
			got := strings.Join(skipped(report), "\n")
			if !strings.Contains(got, tt.reason) || !strings.HasPrefix(got, tt.file) {
				t.Errorf("skipped %q, want %s: ...%s...", got, tt.file, tt.reason)
			}
		})
	}
}

func TestPartOfARecord(t *testing.T) {
	in, report := buildFrom(t, map[string]string{"a.json": `{"id":"A-1","modified":"2026-01-02T00:00:00Z","affected":[
		{"package":{"ecosystem":"Amiga","name":"widget"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"}]}]},
		{"package":{"ecosystem":"npm","name":"widget"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"2.0.0"}]}]}]}`})
	if got := skipped(report); len(got) != 1 || !strings.Contains(got[0], "affected[0] widget") {
		t.Errorf("skipped %v", got)
	}
	if got := find(t, openReader(t, in), question{kind: pkg.NpmPkg, name: "widget", ver: "1.0.0"}); len(got) != 1 {
		t.Errorf("found %v", got)
	}
}

func TestNothingUsable(t *testing.T) {
	out := t.TempDir()
	report, err := Build(t.Context(), BuildOptions{From: advisories(t, map[string]string{"a.json": "{}", "b.txt": "x"}), Out: out}, nil)
	wantKind(t, err, errs.Invalid, "a.json")
	if len(report.Skipped) != 2 {
		t.Errorf("skipped %v", report.Skipped)
	}
	if left, err := os.ReadDir(out); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}

func TestBuildOptions(t *testing.T) {
	dir := advisories(t, map[string]string{"a.json": osv("A-1", "npm", "widget", events("SEMVER", `{"introduced":"0"}`))})
	tests := []struct {
		name string
		opts BuildOptions
		word string
	}{
		{"nowhere", BuildOptions{Sample: true}, "place to write"},
		{"from nothing", BuildOptions{Out: t.TempDir()}, "either"},
		{"from both", BuildOptions{From: dir, Sample: true, Out: t.TempDir()}, "either"},
		{"no such directory", BuildOptions{From: filepath.Join(dir, "none"), Out: t.TempDir()}, "no such file"},
		{"from a file", BuildOptions{From: filepath.Join(dir, "a.json"), Out: t.TempDir()}, "not a directory"},
		{"an unknown archive", BuildOptions{Sample: true, Out: save(t, "a.zip", nil)}, ".tar.zst"},
		{"a strange provider", BuildOptions{From: dir, Out: t.TempDir(), Provider: "Acme Inc:"}, "provider"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Build(t.Context(), tt.opts, nil)
			wantKind(t, err, errs.Invalid, tt.word)
		})
	}
	t.Run("a provider of one's own", func(t *testing.T) {
		report, err := Build(t.Context(), BuildOptions{From: dir, Out: filepath.Join(t.TempDir(), "new", "x.tar.gz"), Provider: "acme"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]int{"acme": 1}, report.Records); diff != "" {
			t.Errorf("records (-want +got):\n%s", diff)
		}
	})
}

func TestLatestDocument(t *testing.T) {
	built := time.Date(2026, 5, 6, 7, 8, 9, 999, time.FixedZone("", 3600))
	report, err := Build(t.Context(), BuildOptions{Sample: true, Built: built, Out: t.TempDir()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(report.Latest)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]string
	if err := json.NewDecoder(bytes.NewReader(raw)).Decode(&got); err != nil {
		t.Fatal(err)
	}
	sum, err := fileChecksum(report.Archive)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"status": "active", "schemaVersion": "v6.1.10", "built": "2026-05-06T06:08:09Z",
		"path": "vulnerability-db_v6.1.10_1778047689_sample.tar.zst", "checksum": sum,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("latest.json (-want +got):\n%s", diff)
	}
}

func TestBuildEndsWithItsContext(t *testing.T) {
	for _, stage := range []string{"building", "packing"} {
		t.Run(stage, func(t *testing.T) {
			out := t.TempDir()
			dir := advisories(t, map[string]string{
				"a.json": osv("A-1", "npm", "widget", events("SEMVER", `{"introduced":"0"}`)),
				"b.json": osv("A-2", "npm", "widget", events("SEMVER", `{"introduced":"0"}`)),
			})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			_, err := Build(ctx, BuildOptions{From: dir, Out: out}, func(s string, done, total int64) {
				if s == stage {
					cancel()
				}
			})
			wantKind(t, err, errs.Canceled, "canceled")
			if left, err := os.ReadDir(out); err != nil || len(left) != 0 {
				t.Errorf("left behind: %v (%v)", left, err)
			}
		})
	}
}
