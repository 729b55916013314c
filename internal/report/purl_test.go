package report_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

func TestParsePURL(t *testing.T) {
	none := map[string]string{}
	tests := []struct {
		text string
		want report.PURL
	}{
		{"pkg:npm/lodash", report.PURL{Type: "npm", Name: "lodash", Qualifiers: none}},
		{"PKG:NPM/lodash", report.PURL{Type: "npm", Name: "lodash", Qualifiers: none}},
		{"pkg://npm/lodash/", report.PURL{Type: "npm", Name: "lodash", Qualifiers: none}},
		{"pkg:npm/%40types/node@20", report.PURL{Type: "npm", Namespace: "@types", Name: "node", Version: "20", Qualifiers: none}},
		{"pkg:npm/@types/node@20", report.PURL{Type: "npm", Namespace: "@types", Name: "node", Version: "20", Qualifiers: none}},
		{"pkg:npm/@types/node", report.PURL{Type: "npm", Namespace: "@types", Name: "node", Qualifiers: none}},
		{"pkg:golang/github.com/cli/cli/v2@2.63.0#cmd", report.PURL{Type: "golang", Namespace: "github.com/cli/cli", Name: "v2", Version: "2.63.0", Subpath: "cmd", Qualifiers: none}},
		{"pkg:deb/debian/a@1%3A2%2B3?Arch=amd64&empty=&distro=debian-12", report.PURL{Type: "deb", Namespace: "debian", Name: "a", Version: "1:2+3",
			Qualifiers: map[string]string{"arch": "amd64", "distro": "debian-12"}}},
		{"pkg:generic/a%zz", report.PURL{Type: "generic", Name: "a%zz", Qualifiers: none}},
	}
	for _, tt := range tests {
		got, err := report.ParsePURL(tt.text)
		if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", tt.text, err, diff)
		}
	}
	for _, text := range []string{"", "lodash", "nonsense", "pkg:", "pkg:npm", "pkg:npm/", "pkg:/lodash", "pkg:1x/a", "pkg:npm/a%00", "pkg:npm/a%ff", "npm/lodash"} {
		got, err := report.ParsePURL(text)
		if !errs.Is(err, errs.Invalid) || errs.Field(err) != "purl" || errs.Hint(err) == "" {
			t.Errorf("%q: %+v, %v; want an invalid purl", text, got, err)
		}
	}
}

func TestVulnerabilityNames(t *testing.T) {
	for id, want := range map[string]string{
		"cve-2021-44228": "CVE-2021-44228", "CVE-2021-44228": "CVE-2021-44228", "GHSA-JFH8-C2JP-5V3Q": "GHSA-jfh8-c2jp-5v3q",
		"ghsa-jfh8-c2jp-5v3q": "GHSA-jfh8-c2jp-5v3q", "alas-2021-1": "ALAS-2021-1", "openSUSE-SU-2021:1": "openSUSE-SU-2021:1",
	} {
		got := report.VulnerabilityNames(id)
		if !slices.Contains(got, want) || !slices.Contains(got, id) {
			t.Errorf("%s: %v, want %s and what was given among them", id, got, want)
		}
	}
}
