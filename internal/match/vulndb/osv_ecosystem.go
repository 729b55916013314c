package vulndb

import (
	"fmt"
	"regexp"
	"strings"
)

// languages maps OSV's ecosystems of programming languages to the names by
// which grype's advisory form knows both the package type and the order of
// versions.
var languages = map[string]string{
	"npm":            "npm",
	"PyPI":           "python",
	"Maven":          "maven",
	"Go":             "go",
	"crates.io":      "cargo",
	"RubyGems":       "gem",
	"NuGet":          "nuget",
	"Packagist":      "composer",
	"Hex":            "hex",
	"Pub":            "pub",
	"SwiftURL":       "swift",
	"GitHub Actions": "github-action",
	"ConanCenter":    "conan",
	"Hackage":        "hackage",
	"CRAN":           "cran",
	"opam":           "opam",
}

// distroForm says how OSV's name of a distribution becomes grype's namespace.
type distroForm struct {
	id      string         // as in /etc/os-release
	format  string         // order of versions
	release *regexp.Regexp // finds the release in what follows the colon; nil when the distribution has none
}

// The rebuilds of Red Hat's distribution are missing: grype judges them by Red
// Hat's data, so records of their own would never be looked at. (AlmaLinux's
// errata are read in OSV form.)
var distros = map[string]distroForm{
	"Debian":      {"debian", "dpkg", regexp.MustCompile(`^(\d+)$`)},
	"Ubuntu":      {"ubuntu", "dpkg", regexp.MustCompile(`^(\d+\.\d+)(?::LTS)?$`)},
	"Alpine":      {"alpine", "apk", regexp.MustCompile(`^v?(\d+\.\d+|edge)$`)},
	"Red Hat":     {"rhel", "rpm", regexp.MustCompile(`^enterprise_linux:(\d+)(?:::.*)?$`)},
	"SUSE":        {"sles", "rpm", regexp.MustCompile(`^Linux Enterprise (?:Server|Module for .+) (\d+)(?: SP(\d+))?$`)},
	"Photon OS":   {"photon", "rpm", regexp.MustCompile(`^(\d+\.\d+)$`)},
	"Azure Linux": {"azurelinux", "rpm", regexp.MustCompile(`^(\d+(?:\.\d+)?)$`)},
	"Wolfi":       {"wolfi", "apk", nil},
	"Chainguard":  {"chainguard", "apk", nil},
	"MinimOS":     {"minimos", "apk", nil},
	"Echo":        {"echo", "dpkg", nil},
}

// place is where grype looks for a package: in the ecosystem of a language, or
// in the namespace of a distribution's release.
type place struct {
	language  string
	namespace string
	format    string // order of versions, in the form's own words
}

// placeOf maps an OSV ecosystem such as "PyPI" or "Debian:12".
func placeOf(ecosystem string) (place, error) {
	base, rest, _ := strings.Cut(ecosystem, ":")
	if l, ok := languages[base]; ok {
		return place{language: l, format: l}, nil
	}
	d, ok := distros[base]
	switch {
	case ecosystem == "":
		return place{}, fmt.Errorf("names no package")
	case !ok:
		return place{}, fmt.Errorf("ecosystem %q is not one grype matches", ecosystem)
	case d.release == nil:
		return place{namespace: d.id + ":rolling", format: d.format}, nil
	}
	m := d.release.FindStringSubmatch(rest)
	if m == nil {
		return place{}, fmt.Errorf("ecosystem %q names no release grype matches", ecosystem)
	}
	release := m[1]
	if len(m) > 2 && m[2] != "" {
		release += "." + m[2]
	}
	return place{namespace: d.id + ":" + release, format: d.format}, nil
}

// native maps the prefixes of records that grype's build library reads in OSV
// form to the provider they come from.
var native = map[string]string{
	"ALSA": "alma", "ALBA": "alma", "ALEA": "alma",
	"BIT":  "bitnami",
	"GO":   "govulndb",
	"ROOT": "rootio",
	"CGA":  "chainguard",
}

// publishers maps the prefixes of other public records to the provider that
// carries them in grype's own databases, so that findings keep their namespace.
var publishers = map[string]string{
	"GHSA":   "github",
	"DEBIAN": "debian", "DSA": "debian", "DLA": "debian", "DTSA": "debian",
	"UBUNTU": "ubuntu", "USN": "ubuntu",
	"ALPINE": "alpine",
	"RHSA":   "rhel", "RHBA": "rhel", "RHEA": "rhel",
	"SUSE": "sles",
	"MINI": "minimos",
}

// prefix returns what stands before the first dash of an id.
func prefix(id string) string {
	p, _, _ := strings.Cut(id, "-")
	return p
}
