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

// osv makes a record with one affected package.
func osv(id, ecosystem, name, ranges string) string {
	return `{"id":"` + id + `","modified":"2026-01-02T03:04:05Z","summary":"words","affected":[{"package":{"ecosystem":"` +
		ecosystem + `","name":"` + name + `"},` + ranges + `}]}`
}

func events(kind, list string) string {
	return `"ranges":[{"type":"` + kind + `","events":[` + list + `]}]`
}

// TestOSVRecords builds from one record at a time and asks about a version
// inside and one outside of what it calls affected.
func TestOSVRecords(t *testing.T) {
	below2 := events("ECOSYSTEM", `{"introduced":"0"},{"fixed":"2.0"}`)
	tests := []struct {
		name    string
		record  string
		inside  question
		want    string
		outside question
	}{
		{
			"private, npm", osv("ACME-2026-1", "npm", "widget", events("SEMVER", `{"introduced":"1.0.0"},{"fixed":"1.4.0"}`)),
			question{kind: pkg.NpmPkg, name: "widget", ver: "1.3.9"}, "ACME-2026-1 osv:language:javascript fixed 1.4.0",
			question{kind: pkg.NpmPkg, name: "widget", ver: "1.4.0"},
		}, {
			"github", osv("GHSA-aaaa-bbbb-cccc", "npm", "widget", events("SEMVER", `{"introduced":"0"},{"fixed":"2.0.0"}`)),
			question{kind: pkg.NpmPkg, name: "widget", ver: "0.0.1"}, "GHSA-aaaa-bbbb-cccc github:language:javascript fixed 2.0.0",
			question{kind: pkg.NpmPkg, name: "widget", ver: "2.0.0"},
		}, {
			"second window of one range", osv("A-1", "npm", "widget", events("SEMVER",
				`{"introduced":"0"},{"fixed":"1.2.0"},{"introduced":"2.0.0"},{"fixed":"2.5.0"}`)),
			question{kind: pkg.NpmPkg, name: "widget", ver: "2.4.0"}, "A-1 osv:language:javascript fixed 2.5.0",
			question{kind: pkg.NpmPkg, name: "widget", ver: "1.5.0"},
		}, {
			"events out of order", osv("A-1", "npm", "widget", events("SEMVER",
				`{"fixed":"2.5.0"},{"introduced":"2.0.0"},{"fixed":"1.2.0"},{"introduced":"0"}`)),
			question{kind: pkg.NpmPkg, name: "widget", ver: "2.4.0"}, "A-1 osv:language:javascript fixed 2.5.0",
			question{kind: pkg.NpmPkg, name: "widget", ver: "1.5.0"},
		}, {
			"last affected", osv("A-1", "PyPI", "Widget_Kit", events("ECOSYSTEM", `{"introduced":"1.0"},{"last_affected":"1.9"}`)),
			question{kind: pkg.PythonPkg, name: "widget-kit", ver: "1.9"}, "A-1 osv:language:python not-fixed",
			question{kind: pkg.PythonPkg, name: "widget-kit", ver: "1.9.1"},
		}, {
			"every version", osv("MAL-2026-1", "npm", "evil", events("SEMVER", `{"introduced":"0"}`)),
			question{kind: pkg.NpmPkg, name: "evil", ver: "0.0.0-rc1"}, "MAL-2026-1 osv:language:javascript not-fixed",
			question{kind: pkg.NpmPkg, name: "good", ver: "1.0.0"},
		}, {
			"listed versions", osv("PYSEC-2026-1", "PyPI", "widget", `"ranges":[{"type":"GIT","repo":"https://x.example","events":[{"introduced":"0"}]}],"versions":["1.0","1.2"]`),
			question{kind: pkg.PythonPkg, name: "widget", ver: "1.2"}, "PYSEC-2026-1 osv:language:python not-fixed",
			question{kind: pkg.PythonPkg, name: "widget", ver: "1.1"},
		}, {
			"maven", osv("A-1", "Maven", "org.acme:widget", events("ECOSYSTEM", `{"introduced":"1.0.0"},{"fixed":"1.4.0.RELEASE"}`)),
			question{kind: pkg.JavaPkg, name: "org.acme:widget", ver: "1.3.0.RELEASE"}, "A-1 osv:language:java fixed 1.4.0.RELEASE",
			question{kind: pkg.JavaPkg, name: "org.acme:widget", ver: "1.4.0.RELEASE"},
		}, {
			"gem", osv("A-1", "RubyGems", "widget", below2),
			question{kind: pkg.GemPkg, name: "widget", ver: "1.9.9.pre"}, "A-1 osv:language:ruby fixed 2.0",
			question{kind: pkg.GemPkg, name: "widget", ver: "2.0"},
		}, {
			"crate", osv("RUSTSEC-2026-0001", "crates.io", "widget", events("SEMVER", `{"introduced":"0.0.0-0"},{"fixed":"2.0.0"}`)),
			question{kind: pkg.RustPkg, name: "widget", ver: "1.9.9"}, "RUSTSEC-2026-0001 osv:language:rust fixed 2.0.0",
			question{kind: pkg.RustPkg, name: "widget", ver: "2.0.0"},
		}, {
			"go module of one's own", osv("A-1", "Go", "acme.example/widget", events("SEMVER", `{"introduced":"0"},{"fixed":"1.2.3"}`)),
			question{kind: pkg.GoModulePkg, name: "acme.example/widget", ver: "v1.2.2"}, "A-1 osv:language:go fixed 1.2.3",
			question{kind: pkg.GoModulePkg, name: "acme.example/widget", ver: "v1.2.3"},
		}, {
			"go vulnerability database", osv("GO-2026-0001", "Go", "acme.example/widget", events("SEMVER", `{"introduced":"0"},{"fixed":"1.2.3"}`)),
			question{kind: pkg.GoModulePkg, name: "acme.example/widget", ver: "v1.2.2"}, "GO-2026-0001 govulndb:language:go fixed 1.2.3",
			question{kind: pkg.GoModulePkg, name: "acme.example/widget", ver: "v1.2.3"},
		}, {
			"nuget", osv("A-1", "NuGet", "Acme.Widget", below2),
			question{kind: pkg.DotnetPkg, name: "Acme.Widget", ver: "1.9.0"}, "A-1 osv:language:dotnet fixed 2.0",
			question{kind: pkg.DotnetPkg, name: "Acme.Widget", ver: "2.0.0"},
		}, {
			"composer", osv("A-1", "Packagist", "acme/widget", below2),
			question{kind: pkg.PhpComposerPkg, name: "acme/widget", ver: "1.9.0"}, "A-1 osv:language:php fixed 2.0",
			question{kind: pkg.PhpComposerPkg, name: "acme/widget", ver: "2.0.0"},
		}, {
			"debian, by the CVE's name", osv("DEBIAN-CVE-2026-1", "Debian:12", "widget", events("ECOSYSTEM", `{"introduced":"0"},{"fixed":"1:2.0-1+deb12u1"}`)),
			question{distro.Debian, "12", pkg.DebPkg, "widget", "1:2.0-1"}, "CVE-2026-1 debian:distro:debian:12 fixed 1:2.0-1+deb12u1",
			question{distro.Debian, "12", pkg.DebPkg, "widget", "1:2.0-1+deb12u1"},
		}, {
			"debian, between two versions", osv("ACME-1", "Debian:12", "widget", events("ECOSYSTEM", `{"introduced":"1.5-1"},{"fixed":"2.0-1"}`)),
			question{distro.Debian, "12", pkg.DebPkg, "widget", "1.5-1"}, "ACME-1 osv:distro:debian:12 fixed 2.0-1",
			question{distro.Debian, "12", pkg.DebPkg, "widget", "1.4-1"},
		}, {
			"debian, no fix", osv("ACME-1", "Debian:12", "widget", events("ECOSYSTEM", `{"introduced":"0"}`)),
			question{distro.Debian, "12", pkg.DebPkg, "widget", "99"}, "ACME-1 osv:distro:debian:12 not-fixed",
			question{distro.Debian, "11", pkg.DebPkg, "widget", "1"},
		}, {
			"ubuntu", osv("USN-1-1", "Ubuntu:22.04:LTS", "widget", events("ECOSYSTEM", `{"introduced":"0"},{"fixed":"2.0-1ubuntu0.1"}`)),
			question{distro.Ubuntu, "22.04", pkg.DebPkg, "widget", "2.0-1"}, "USN-1-1 ubuntu:distro:ubuntu:22.04 fixed 2.0-1ubuntu0.1",
			question{distro.Ubuntu, "20.04", pkg.DebPkg, "widget", "2.0-1"},
		}, {
			"alpine", osv("ALPINE-CVE-2026-2", "Alpine:v3.19", "widget", events("ECOSYSTEM", `{"introduced":"0"},{"fixed":"2.0-r9"}`)),
			question{distro.Alpine, "3.19.1", pkg.ApkPkg, "widget", "2.0-r8"}, "CVE-2026-2 alpine:distro:alpine:3.19 fixed 2.0-r9",
			question{distro.Alpine, "3.19.1", pkg.ApkPkg, "widget", "2.0-r10"},
		}, {
			"red hat", osv("RHSA-2026:1", "Red Hat:enterprise_linux:9::baseos", "widget", events("ECOSYSTEM", `{"introduced":"0"},{"fixed":"0:2.0-1.el9"}`)),
			question{distro.RedHat, "9.3", pkg.RpmPkg, "widget", "0:1.9-1.el9"}, "RHSA-2026:1 redhat:distro:redhat:9 fixed 0:2.0-1.el9",
			question{distro.RedHat, "9.3", pkg.RpmPkg, "widget", "0:2.0-1.el9"},
		}, {
			"photon", osv("ACME-1", "Photon OS:4.0", "widget", events("ECOSYSTEM", `{"introduced":"0"},{"fixed":"2.0-1.ph4"}`)),
			question{distro.Photon, "4.0", pkg.RpmPkg, "widget", "1.9-1.ph4"}, "ACME-1 osv:distro:photon:4.0 fixed 2.0-1.ph4",
			question{distro.Photon, "4.0", pkg.RpmPkg, "widget", "2.0-1.ph4"},
		}, {
			"azure linux", osv("AZL-1", "Azure Linux:3", "widget", events("ECOSYSTEM", `{"introduced":"0"},{"fixed":"2.0-1.azl3"}`)),
			question{distro.Azure, "3.0", pkg.RpmPkg, "widget", "1.9-1.azl3"}, "AZL-1 osv:distro:azurelinux:3.0 fixed 2.0-1.azl3",
			question{distro.Azure, "3.0", pkg.RpmPkg, "widget", "2.0-1.azl3"},
		}, {
			"minimos", osv("MINI-1", "MinimOS", "widget", events("ECOSYSTEM", `{"introduced":"0"},{"fixed":"2.0-r1"}`)),
			question{distro.MinimOS, "20240101", pkg.ApkPkg, "widget", "2.0-r0"}, "MINI-1 minimos:distro:minimos:rolling fixed 2.0-r1",
			question{distro.MinimOS, "20240101", pkg.ApkPkg, "widget", "2.0-r1"},
		}, {
			"echo", osv("ECHO-1", "Echo", "widget", events("ECOSYSTEM", `{"introduced":"0"},{"fixed":"2.0-1"}`)),
			question{distro.Echo, "1", pkg.DebPkg, "widget", "1.0-1"}, "ECHO-1 osv:distro:echo:rolling fixed 2.0-1",
			question{distro.Echo, "1", pkg.DebPkg, "widget", "2.0-1"},
		}, {
			"hex", osv("A-1", "Hex", "widget", below2),
			question{kind: pkg.HexPkg, name: "widget", ver: "1.9.0"}, "A-1 osv:language:hex fixed 2.0",
			question{kind: pkg.HexPkg, name: "widget", ver: "2.0.0"},
		}, {
			"pub", osv("A-1", "Pub", "widget", below2),
			question{kind: pkg.DartPubPkg, name: "widget", ver: "1.9.0"}, "A-1 osv:language:dart fixed 2.0",
			question{kind: pkg.DartPubPkg, name: "widget", ver: "2.0.0"},
		}, {
			"swift", osv("A-1", "SwiftURL", "github.com/acme/widget", below2),
			question{kind: pkg.SwiftPkg, name: "github.com/acme/widget", ver: "1.9.0"}, "A-1 osv:language:swift fixed 2.0",
			question{kind: pkg.SwiftPkg, name: "github.com/acme/widget", ver: "2.0.0"},
		}, {
			"github action", osv("GHSA-act-ions-0000", "GitHub Actions", "acme/widget", below2),
			question{kind: pkg.GithubActionPkg, name: "acme/widget", ver: "1.9.0"}, "GHSA-act-ions-0000 github:language:github-action fixed 2.0",
			question{kind: pkg.GithubActionPkg, name: "acme/widget", ver: "2.0.0"},
		}, {
			"conan", osv("A-1", "ConanCenter", "widget", below2),
			question{kind: pkg.ConanPkg, name: "widget", ver: "1.9.0"}, "A-1 osv:language:conan fixed 2.0",
			question{kind: pkg.ConanPkg, name: "widget", ver: "2.0.0"},
		}, {
			"hackage", osv("HSEC-1", "Hackage", "widget", below2),
			question{kind: pkg.HackagePkg, name: "widget", ver: "1.9.0"}, "HSEC-1 osv:language:hackage fixed 2.0",
			question{kind: pkg.HackagePkg, name: "widget", ver: "2.0.0"},
		}, {
			"cran", osv("RSEC-1", "CRAN", "widget", below2),
			question{kind: pkg.Rpkg, name: "widget", ver: "1.9.0"}, "RSEC-1 osv:language:R-package fixed 2.0",
			question{kind: pkg.Rpkg, name: "widget", ver: "2.0.0"},
		}, {
			"opam", osv("OSEC-1", "opam", "widget", below2),
			question{kind: pkg.OpamPkg, name: "widget", ver: "1.9.0"}, "OSEC-1 osv:language:opam fixed 2.0",
			question{kind: pkg.OpamPkg, name: "widget", ver: "2.0.0"},
		}, {
			"suse", osv("SUSE-SU-2026:1", "SUSE:Linux Enterprise Server 15 SP4", "widget", events("ECOSYSTEM", `{"introduced":"0"},{"fixed":"2.0-1"}`)),
			question{distro.SLES, "15.4", pkg.RpmPkg, "widget", "0:1.9-1"}, "SUSE-SU-2026:1 sles:distro:sles:15.4 fixed 2.0-1",
			question{distro.SLES, "15.4", pkg.RpmPkg, "widget", "0:2.0-1"},
		}, {
			"wolfi", osv("ACME-2", "Wolfi", "widget", events("ECOSYSTEM", `{"introduced":"0"},{"fixed":"2.0-r1"}`)),
			question{distro.Wolfi, "20230201", pkg.ApkPkg, "widget", "2.0-r0"}, "ACME-2 osv:distro:wolfi:rolling fixed 2.0-r1",
			question{distro.Wolfi, "20230201", pkg.ApkPkg, "widget", "2.0-r1"},
		}, {
			"alma", osv("ALSA-2026:1", "AlmaLinux:9", "widget", events("ECOSYSTEM", `{"introduced":"0"},{"fixed":"2.0-1.el9"}`)),
			question{}, "", question{},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in, report := buildFrom(t, map[string]string{"record.json": tt.record})
			if len(report.Skipped) != 0 {
				t.Errorf("skipped: %v", report.Skipped)
			}
			if tt.want == "" {
				if report.Records["alma"] != 1 { // grype looks its errata up in other ways
					t.Errorf("records %v", report.Records)
				}
				return
			}
			r := openReader(t, in)
			if diff := cmp.Diff([]string{tt.want}, find(t, r, tt.inside)); diff != "" {
				t.Errorf("inside (-want +got):\n%s", diff)
			}
			if got := find(t, r, tt.outside); len(got) != 0 {
				t.Errorf("outside: %v", got)
			}
		})
	}
}

// TestOSVMetadata: what a record says besides ranges arrives too.
func TestOSVMetadata(t *testing.T) {
	in, _ := buildFrom(t, map[string]string{"a.json": `{"id":"ACME-1","modified":"2026-01-02T00:00:00Z","published":"2026-01-01T00:00:00Z",
		"aliases":["CVE-2026-1"],"upstream":["CVE-2026-2"],"summary":"short words","details":"long words",
		"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
		"database_specific":{"severity":"MODERATE"},
		"references":[{"type":"WEB","url":"https://acme.example/web"},{"type":"ADVISORY","url":"https://acme.example/1"},{"type":"WEB","url":"javascript:alert(1)"}],
		"affected":[{"package":{"ecosystem":"npm","name":"widget"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"}]}]},
			{"package":{"ecosystem":"Debian:12","name":"widget"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"}]}]}]}`})
	p := v6.NewVulnerabilityProvider(openReader(t, in))
	for _, namespace := range []string{"osv:language:javascript", "osv:distro:debian:12"} {
		m, err := p.VulnerabilityMetadata(vulnerability.Reference{ID: "ACME-1", Namespace: namespace})
		if err != nil || m == nil {
			t.Fatalf("%s: %v", namespace, err)
		}
		if m.Severity != "Medium" || len(m.Cvss) == 0 || m.Cvss[0].Metrics.BaseScore != 9.8 || m.DataSource != "https://acme.example/1" {
			t.Errorf("%s: severity %s, scores %+v, source %s", namespace, m.Severity, m.Cvss, m.DataSource)
		}
		if strings.Contains(strings.Join(m.URLs, " "), "javascript:") {
			t.Errorf("%s: links %v", namespace, m.URLs)
		}
	}
	r := openReader(t, in)
	vulns, err := r.GetVulnerabilities(&v6.VulnerabilitySpecifier{Name: "ACME-1"}, &v6.GetVulnerabilityOptions{Preload: true})
	if err != nil || len(vulns) != 2 {
		t.Fatalf("%d records, %v", len(vulns), err)
	}
	for _, v := range vulns {
		if diff := cmp.Diff([]string{"CVE-2026-1", "CVE-2026-2"}, v.BlobValue.Aliases); diff != "" {
			t.Errorf("aliases (-want +got):\n%s", diff)
		}
	}
}

func TestWithdrawn(t *testing.T) {
	withdrawn := func(record string) string {
		return strings.Replace(record, `"summary"`, `"withdrawn":"2026-02-01T00:00:00Z","summary"`, 1)
	}
	ranges := events("SEMVER", `{"introduced":"0"}`)
	_, report := buildFrom(t, map[string]string{
		"a.json": withdrawn(osv("A-1", "npm", "widget", ranges)),
		"b.json": withdrawn(osv("A-2", "Debian:12", "widget", ranges)),
		"c.json": withdrawn(osv("BIT-widget-2026-1", "Bitnami", "widget", ranges)),
		"d.json": osv("A-3", "npm", "other", ranges),
	})
	want := []string{"b.json: A-2: withdrawn on 2026-02-01", "c.json: BIT-widget-2026-1: withdrawn on 2026-02-01"}
	if diff := cmp.Diff(want, skipped(report)); diff != "" {
		t.Errorf("skipped (-want +got):\n%s", diff)
	}
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
