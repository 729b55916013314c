package vulndb

import (
	"strings"
	"testing"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/anchore/grype/grype/distro"
	"github.com/anchore/grype/grype/vulnerability"
	"github.com/anchore/syft/syft/pkg"
	"github.com/google/go-cmp/cmp"
)

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
