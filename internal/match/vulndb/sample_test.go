package vulndb

import (
	"strings"
	"testing"
	"time"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/anchore/grype/grype/distro"
	"github.com/anchore/grype/grype/vulnerability"
	"github.com/anchore/syft/syft/pkg"
	"github.com/google/go-cmp/cmp"
)

func TestSampleHasOneName(t *testing.T) {
	a, err := BuildSample(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	lib := openLibrary(t, Config{})
	b, err := lib.InstallSample(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if a.Checksum != b.Checksum {
		t.Errorf("two builds have checksums %s and %s", a.Checksum, b.Checksum)
	}
	if !a.Sample || !b.Sample {
		t.Error("the sample is not marked as one")
	}
	if !a.Built.Equal(sampleDate) {
		t.Errorf("built %v, want the date of the facts %v", a.Built, sampleDate)
	}
	current, err := lib.Current()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b, current); diff != "" {
		t.Errorf("current differs from what was installed (-want +got):\n%s", diff)
	}
}

func TestSampleFindings(t *testing.T) {
	in, err := BuildSample(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := openReader(t, in)
	tests := []struct {
		name string
		question
		want []string
	}{
		{"debian, some fixed before", question{distro.Debian, "12", pkg.DebPkg, "openssl", "3.0.11-1~deb12u1"}, []string{
			"CVE-2023-5363 debian:distro:debian:12 fixed 3.0.11-1~deb12u2",
			"CVE-2024-6119 debian:distro:debian:12 fixed 3.0.14-1~deb12u2",
		}},
		{"debian, no fix yet", question{distro.Debian, "12", pkg.DebPkg, "zlib", "1:1.2.13.dfsg-1"}, []string{
			"CVE-2023-45853 debian:distro:debian:12 not-fixed",
		}},
		{"debian, all fixed", question{distro.Debian, "12", pkg.DebPkg, "curl", "7.88.1-10+deb12u4"}, nil},
		{"debian, another release", question{distro.Debian, "11", pkg.DebPkg, "curl", "7.74.0-1"}, nil},
		{"alpine", question{distro.Alpine, "3.19.1", pkg.ApkPkg, "busybox", "1.36.1-r17"}, []string{
			"CVE-2023-42364 alpine:distro:alpine:3.19 fixed 1.36.1-r19",
			"CVE-2023-42365 alpine:distro:alpine:3.19 fixed 1.36.1-r19",
		}},
		{"npm", question{kind: pkg.NpmPkg, name: "lodash", ver: "4.17.19"}, []string{
			"GHSA-35jh-r3h4-6jhm github:language:javascript fixed 4.17.21",
		}},
		{"npm, one of several ranges", question{kind: pkg.NpmPkg, name: "ws", ver: "7.5.0"}, []string{
			"GHSA-3h5v-q93c-6h6q github:language:javascript fixed 7.5.10",
		}},
		{"npm, fixed", question{kind: pkg.NpmPkg, name: "lodash", ver: "4.17.21"}, nil},
		{"python, another spelling", question{kind: pkg.PythonPkg, name: "django", ver: "3.2.12"}, []string{
			"GHSA-2gwj-7jmv-h26r github:language:python fixed 3.2.13",
			"GHSA-jh3w-4vvf-mjgr github:language:python fixed 3.2.20",
		}},
		{"maven", question{kind: pkg.JavaPkg, name: "org.apache.logging.log4j:log4j-core", ver: "2.14.1"}, []string{
			"GHSA-7rjr-3q55-vv33 github:language:java fixed 2.16.0",
			"GHSA-jfh8-c2jp-5v3q github:language:java fixed 2.15.0",
			"GHSA-p6xc-xr62-6r2g github:language:java fixed 2.17.0",
		}},
		{"maven, with a qualifier", question{kind: pkg.JavaPkg, name: "org.springframework:spring-beans", ver: "5.2.19.RELEASE"}, []string{
			"GHSA-36p3-wjmg-h94x github:language:java fixed 5.2.20.RELEASE",
		}},
		{"gem", question{kind: pkg.GemPkg, name: "rack", ver: "2.2.3"}, []string{
			"GHSA-22f2-v57c-j9cx github:language:ruby fixed 2.2.8.1",
			"GHSA-wq4h-7r42-5hrr github:language:ruby fixed 2.2.3.1",
		}},
		{"go module", question{kind: pkg.GoModulePkg, name: "golang.org/x/net", ver: "v0.17.0"}, []string{
			"GO-2024-2687 govulndb:language:go fixed 0.23.0",
		}},
		{"go module never fixed", question{kind: pkg.GoModulePkg, name: "github.com/dgrijalva/jwt-go", ver: "v3.2.0"}, []string{
			"GO-2020-0017 govulndb:language:go",
		}},
		{"go standard library", question{kind: pkg.GoModulePkg, name: "stdlib", ver: "go1.22.3"}, []string{
			"GO-2024-2887 govulndb:language:go fixed 1.21.11,1.22.4",
		}},
		{"unknown package", question{kind: pkg.NpmPkg, name: "left-pad", ver: "1.0.0"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, find(t, r, tt.question)); diff != "" {
				t.Errorf("findings differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSampleMetadata(t *testing.T) {
	in, err := BuildSample(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	p := v6.NewVulnerabilityProvider(openReader(t, in))
	m, err := p.VulnerabilityMetadata(vulnerability.Reference{ID: "CVE-2021-44228", Namespace: "nvd:cpe"})
	if err != nil {
		t.Fatal(err)
	}
	if m.Severity != "Critical" || len(m.Cvss) != 1 || m.Cvss[0].Metrics.BaseScore != 10 {
		t.Errorf("severity %q and scores %+v, want critical and 10", m.Severity, m.Cvss)
	}
	if len(m.KnownExploited) != 1 || m.KnownExploited[0].DateAdded.Format(time.DateOnly) != "2021-12-10" {
		t.Errorf("known exploited %+v, want one entry of 2021-12-10", m.KnownExploited)
	}
	if len(m.EPSS) != 1 || m.EPSS[0].EPSS < 0.9 || !m.EPSS[0].Date.Equal(sampleDate) {
		t.Errorf("EPSS %+v, want one high estimate of %v", m.EPSS, sampleDate)
	}
	eol, _, err := p.(vulnerability.EOLChecker).GetOperatingSystemEOL(distro.New(distro.Alpine, "3.18.4", ""))
	if err != nil || eol == nil || eol.Format(time.DateOnly) != "2025-05-09" {
		t.Errorf("end of life %v (%v), want 2025-05-09", eol, err)
	}
}

// TestFactsHoldTogether finds what a slip in the files would break silently: a
// package under a CVE nobody describes, a missing sentence, an unreadable score.
func TestFactsHoldTogether(t *testing.T) {
	f, err := readFacts()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, c := range f.CVEs {
		if known[c.ID] {
			t.Errorf("%s is there twice", c.ID)
		}
		known[c.ID] = true
		if !strings.HasSuffix(c.Summary, ".") && !strings.HasSuffix(c.Summary, ".)") {
			t.Errorf("%s: the summary is not a sentence: %q", c.ID, c.Summary)
		}
		if _, err := time.Parse(time.DateOnly, c.Published); err != nil {
			t.Errorf("%s: published: %v", c.ID, err)
		}
		if c.EPSS[0] <= 0 || c.EPSS[0] > 1 || c.EPSS[1] <= 0 || c.EPSS[1] > 1 {
			t.Errorf("%s: EPSS %v", c.ID, c.EPSS)
		}
		if c.CVSS != "" && checkVector(c.CVSS) != nil {
			t.Errorf("%s: CVSS %q", c.ID, c.CVSS)
		}
	}
	used := map[string]bool{}
	use := func(where, cve string) {
		used[cve] = true
		if !known[cve] {
			t.Errorf("%s: %q is not described", where, cve)
		}
	}
	for id, d := range f.Distros {
		for release, packages := range d {
			for name, cves := range packages {
				for cve := range cves {
					use(id+":"+release+"/"+name, cve)
				}
			}
		}
	}
	for _, g := range f.GitHub {
		use(g.ID, g.CVE)
	}
	for _, g := range f.Go {
		use(g.ID, g.Aliases[0])
	}
	for cve := range known {
		if !used[cve] {
			t.Errorf("%s affects no package", cve)
		}
	}
	if len(known) < 60 {
		t.Errorf("only %d vulnerabilities", len(known))
	}
}
