package postgres_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/postgres/postgrestest"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

func exported(t *testing.T, w *postgrestest.World, access report.Access, filter report.ExportFilter) ([]report.ExportRow, report.ExportEnd) {
	t.Helper()
	var out []report.ExportRow
	started := false
	end, err := w.Store.Export(t.Context(), access, filter, func(s report.ExportStart) error {
		started = s.Build != nil && !s.At.IsZero()
		return nil
	}, func(r report.ExportRow) error {
		out = append(out, r)
		return nil
	})
	if err != nil || !started {
		t.Fatalf("started %v: %v", started, err)
	}
	return out, end
}

func exportLines(rows []report.ExportRow) []string {
	out := []string{}
	for _, r := range rows {
		out = append(out, string(r.Row)+" "+r.Repository+" "+r.Platform+" "+r.PackageName+" "+r.Vulnerability+string(r.State))
	}
	return out
}

// What is exported of an image is what is listed for it.
func TestExportIsWhatIsListed(t *testing.T) {
	w := postgrestest.Harbour(t)
	rows, end := exported(t, w, all, report.ExportFilter{Repository: &report.RepositoryRef{Registry: "main", Name: "team/app"}})
	want := []string{}
	for _, line := range []string{"linux/amd64", "linux/arm64/v8"} {
		for _, f := range []string{"log4j-core CVE-2021-44228", "lodash CVE-2021-23337", "openssl CVE-2019-1010022", "openssl CVE-2023-0286"} {
			want = append(want, "finding registry.example.com/team/app "+line+" "+f)
		}
	}
	got := exportLines(rows)
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if end != (report.ExportEnd{Images: 2, Findings: 8}) {
		t.Errorf("end = %+v", end)
	}
	for _, r := range rows {
		if r.Vulnerability != "CVE-2021-44228" || r.Platform != "linux/amd64" {
			continue
		}
		one := report.ExportRow{
			Row: report.RowFinding, Registry: "main", Repository: "registry.example.com/team/app",
			Digest: postgrestest.App("app-amd64", "").Manifest().Digest, Platform: "linux/amd64", Tags: []string{"1.0", "multi"}, TagsTotal: 2,
			Vulnerability: "CVE-2021-44228", Aliases: []string{"GHSA-jfh8-c2jp-5v3q"}, PackageType: "java-archive", PackageName: "log4j-core",
			PackageVersion: "2.14.1", PURL: "pkg:maven/org.apache.logging.log4j/log4j-core@2.14.1", Severity: vuln.SeverityCritical, CVSS: 10,
			FixState: vuln.FixStateFixed, FixedVersions: []string{"2.15.0", "2.3.1"}, SuggestedVersion: "2.15.0", KnownExploited: true,
			EPSS: ptr(0.5), EPSSPercentile: ptr(0.95), Risk: 95,
		}
		if diff := cmp.Diff(one, r); diff != "" {
			t.Errorf("row (-want +got):\n%s", diff)
		}
	}
}

func TestExportFilters(t *testing.T) {
	w := postgrestest.Harbour(t)
	for _, tt := range []struct {
		name     string
		access   report.Access
		filter   report.ExportFilter
		findings int
		unjudged int
	}{
		{"everything", all, report.ExportFilter{}, 13, 3},
		{"a registry", all, report.ExportFilter{Registry: "sboms"}, 1, 0},
		{"a prefix", all, report.ExportFilter{Prefix: "registry.example.com/legacy/"}, 0, 2},
		{"a limited reader", report.Access{Prefixes: []string{"registry.example.com/other/"}}, report.ExportFilter{}, 4, 0},
		{"severity", all, report.ExportFilter{FindingFilter: report.FindingFilter{MinSeverity: vuln.SeverityCritical}}, 4, 3},
		{"no fix", all, report.ExportFilter{FindingFilter: report.FindingFilter{Fixable: ptr(false)}}, 3, 3},
		{"an alias", all, report.ExportFilter{FindingFilter: report.FindingFilter{Vulnerability: "ghsa-35jh-r3h4-6jhm"}}, 3, 3},
		{"a package", all, report.ExportFilter{FindingFilter: report.FindingFilter{Package: "OpenSSL"}}, 6, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rows, end := exported(t, w, tt.access, tt.filter)
			if end.Findings != tt.findings || end.Unjudged != tt.unjudged || len(rows) != tt.findings+tt.unjudged {
				t.Errorf("%+v:\n%v", end, exportLines(rows))
			}
		})
	}
	_, err := w.Store.Export(t.Context(), report.Access{Prefixes: []string{"registry.example.com/team/"}},
		report.ExportFilter{Repository: &report.RepositoryRef{Registry: "main", Name: "other/secret"}}, nil, nil)
	if !errs.Is(err, errs.NotFound) {
		t.Errorf("a hidden repository: %v", err)
	}
}

func TestExportEndsWithItsReader(t *testing.T) {
	w := postgrestest.Harbour(t)
	gone := errors.New("gone")
	_, err := w.Store.Export(t.Context(), all, report.ExportFilter{}, func(report.ExportStart) error { return nil }, func(report.ExportRow) error { return gone })
	if !errors.Is(err, gone) {
		t.Errorf("got %v", err)
	}
}

// More images than are fetched at once; a name is no SQL.
func TestExportOfManyImages(t *testing.T) {
	w := postgrestest.New(t)
	for n := range 150 {
		w.Push("team/app", string(rune('a'+n%26))+string(rune('a'+n/26)), one("image "+string(rune('0'+n)), "1.0.0", "CVE-1"))
	}
	_, end := exported(t, w, all, report.ExportFilter{})
	if end != (report.ExportEnd{Images: 150, Findings: 150}) {
		t.Errorf("end = %+v", end)
	}
	if _, end := exported(t, w, all, report.ExportFilter{Prefix: `registry.example.com/'; DROP TABLE tag; --`}); end.Images != 0 {
		t.Errorf("end = %+v", end)
	}
}
