package postgrestest

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// The records of the harbour.
var (
	OpenSSL   = vuln.Ref{ID: "CVE-2023-0286", Namespace: "debian:distro:debian:12"}
	Log4Shell = vuln.Ref{ID: "GHSA-jfh8-c2jp-5v3q", Namespace: "github:language:java"}
	Log4NVD   = vuln.Ref{ID: "CVE-2021-44228", Namespace: "nvd:cpe"}
	Lodash    = vuln.Ref{ID: "GHSA-35jh-r3h4-6jhm", Namespace: "github:language:javascript"}
	LodashCVE = vuln.Ref{ID: "CVE-2021-23337", Namespace: "nvd:cpe"}
	Quiet     = vuln.Ref{ID: "CVE-2019-1010022", Namespace: "debian:distro:debian:12"}
)

// Debian is the distro of most images of the harbour.
var Debian = &inventory.Distro{Type: "debian", Version: "12"}

// Harbour returns a world with one of everything: a multi-platform image with an
// attestation, images that are clean, partial, unknown, pending, failed and
// unsupported, an upload, an ignored delivery, and repositories of two teams.
func Harbour(t testing.TB) *World {
	t.Helper()
	w := New(t)
	w.Know(records()...)
	w.Push("team/app", "1.0", App("app-amd64", "linux/amd64"))
	w.PushIndex("team/app", "multi", App("app-amd64", "linux/amd64"), App("app-arm64", "linux/arm64/v8"),
		Image{Name: "provenance", Platform: "unknown/unknown", Kind: image.KindAttestation},
		Image{Name: "app-s390x", Platform: "linux/s390x", Excluded: "platforms"})
	w.Push("team/web", "1", Image{Name: "web", Distro: Debian, Packages: []Package{{Package: DebPackage("zlib1g", "1:1.2.13", "amd64")}}})
	w.Push("legacy/centos", "7", Image{Name: "centos", Distro: &inventory.Distro{Type: "centos", Version: "7"},
		NoData: []string{"distro:centos:7"}, EndOfLife: time.Date(2024, 6, 30, 0, 0, 0, 0, time.UTC),
		Packages: []Package{{Package: inventory.Package{Type: "rpm", Name: "bash", Version: "4.2.46"}}}})
	w.Push("legacy/mixed", "1", Image{Name: "mixed", Distro: Debian, NoData: []string{"ecosystem:gem"},
		Packages: []Package{{Package: DebPackage("zlib1g", "1:1.2.13", "amd64")}, {Package: inventory.Package{Type: "gem", Name: "rack", Version: "2"}}}})
	w.Push("team/chart", "1", Image{Name: "chart", Kind: image.KindHelmChart})
	w.Push("team/broken", "1", Image{Name: "broken", Failure: errs.New(errs.Malformed, "catalog: layer 3 does not match its digest")})
	w.Push("other/secret", "1", App("app-amd64", "linux/amd64"))
	w.Upload("team/app", "ci", Image{Name: "upload", Packages: []Package{log4j()}})
	w.Deliver("main", postgres.Delivery{DedupeKey: "pull", Ignored: "pull", Action: "pull", Repository: "team/app", Tag: "1.0", Actor: "ci"})
	w.Deliver("main", postgres.Delivery{DedupeKey: "junk", Ignored: "unknown event"})
	return w
}

func records() []vuln.Vulnerability {
	return []vuln.Vulnerability{
		{Ref: OpenSSL, Severity: vuln.SeverityHigh, Description: "X.400 address type confusion", Risk: 30,
			DataSource: "https://security-tracker.debian.org/tracker/CVE-2023-0286", URLs: []string{"https://example.com/a"},
			CVSS: []vuln.CVSS{{Version: "3.1", Vector: "CVSS:3.1/AV:N", Score: 7.4}}, CWEs: []string{"CWE-843"},
			EPSS: &vuln.EPSS{Score: 0.9, Percentile: 0.99, Date: "2026-11-01"}},
		{Ref: Log4Shell, Severity: vuln.SeverityCritical, Description: "Remote code injection in Log4j", Risk: 95,
			Aliases: []vuln.Ref{Log4NVD}, CVSS: []vuln.CVSS{{Version: "3.1", Vector: "CVSS:3.1/AV:N", Score: 10}},
			KEV:  []vuln.KnownExploited{{CVE: Log4NVD.ID, DateAdded: "2021-12-10", Ransomware: true}},
			EPSS: &vuln.EPSS{Score: 0.5, Percentile: 0.95, Date: "2026-11-01"}},
		{Ref: Log4NVD, Severity: vuln.SeverityHigh, Risk: 90, Description: "Apache Log4j2 JNDI features",
			CVSS: []vuln.CVSS{{Version: "3.1", Score: 9.1}}},
		{Ref: Lodash, Severity: vuln.SeverityHigh, Risk: 12, Aliases: []vuln.Ref{LodashCVE}},
		{Ref: Quiet, Severity: vuln.SeverityNegligible, Risk: 0.1},
	}
}

// App is the harbour's vulnerable image: a Debian package with a fix and an
// unimportant finding, log4j under two records, and lodash twice, once owned by
// a Debian package whose record takes it back.
func App(name, platform string) Image {
	arch := map[string]string{"linux/amd64": "amd64", "linux/arm64/v8": "arm64"}[platform]
	layers := []scan.Layer{
		{Digest: Digest("base " + arch), DiffID: Digest("base diff " + arch), Size: 700, CreatedBy: "ADD rootfs.tar /"},
		{Digest: Digest("npm"), DiffID: Digest("npm diff"), Size: 300, CreatedBy: "RUN npm ci"},
	}
	openssl := Package{
		Package:   DebPackage("openssl", "3.0.11-1", arch),
		Locations: []inventory.Location{{Path: "/var/lib/dpkg/status", Layer: string(layers[0].DiffID)}},
		Matches: []vuln.Match{
			match(OpenSSL, nil, vuln.Fix{State: vuln.FixStateFixed, Versions: []string{"3.0.11-2"}}, "3.0.11-2", "exact-indirect-match", 1),
			match(Quiet, nil, vuln.Fix{State: vuln.FixStateWontFix}, "", "exact-direct-match", 1),
		},
	}
	lodash := inventory.Package{Type: "npm", Name: "lodash", Version: "4.17.20", Language: "javascript", PURL: "pkg:npm/lodash@4.17.20"}
	matches := []vuln.Match{match(Lodash, []vuln.Ref{LodashCVE},
		vuln.Fix{State: vuln.FixStateFixed, Versions: []string{"4.17.21"}, Available: []vuln.FixAvailable{{Version: "4.17.21", Date: "2021-02-20"}}},
		"4.17.21", "exact-direct-match", 1)}
	owner := Package{Package: DebPackage("node-lodash", "4.17.21-1", arch),
		Ignores: []vuln.Ignore{{Vulnerability: LodashCVE.ID, Kind: vuln.IgnoreOwned, Reason: "Distro package fixed"}}}
	return Image{Name: name, Platform: platform, Distro: Debian, Layers: layers, Packages: []Package{
		openssl, owner,
		{Package: lodash, Matches: matches, Locations: []inventory.Location{{Path: "/app/node_modules/lodash/package.json", Layer: string(layers[1].DiffID)}}},
		{Package: lodash, Matches: matches, Owners: []int{1}, Locations: []inventory.Location{{Path: "/usr/share/nodejs/lodash/package.json", Layer: string(layers[0].DiffID)}}},
		log4j(),
		{Package: inventory.Package{Type: "python", Name: "owned", Version: "1"}, Excluded: inventory.ExcludedOwned},
	}}
}

func log4j() Package {
	return Package{
		Package: inventory.Package{Type: "java-archive", Name: "log4j-core", Version: "2.14.1", Language: "java",
			PURL: "pkg:maven/org.apache.logging.log4j/log4j-core@2.14.1"},
		Locations: []inventory.Location{{Path: "/app/app.jar"}},
		Matches: []vuln.Match{
			match(Log4Shell, []vuln.Ref{Log4NVD}, vuln.Fix{State: vuln.FixStateFixed, Versions: []string{"2.15.0", "2.3.1"}}, "2.15.0", "exact-direct-match", 1),
			match(Log4NVD, nil, vuln.Fix{State: vuln.FixStateUnknown}, "", "cpe-match", 0.9),
		},
	}
}

// DebPackage is a package of Debian 12.
func DebPackage(name, version, arch string) inventory.Package {
	return inventory.Package{Type: "deb", Name: name, Version: version, Distro: Debian,
		PURL: "pkg:deb/debian/" + name + "@" + version + "?arch=" + arch + "&distro=debian-12"}
}

func match(ref vuln.Ref, aliases []vuln.Ref, fix vuln.Fix, suggested, kind string, confidence float64) vuln.Match {
	return vuln.Match{
		Ref: ref, Aliases: aliases, Fix: fix, SuggestedVersion: suggested, MatchType: kind, Matcher: "stock-matcher",
		Confidence: confidence, Details: json.RawMessage(`[{"type": "` + kind + `"}]`),
	}
}
