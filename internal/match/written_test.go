package match

import (
	"testing"
	"time"

	v6 "github.com/anchore/grype/grype/db/v6"
	syft "github.com/anchore/syft/syft/pkg"
	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// entry is one record about one package in a database made by a test.
type entry struct {
	provider, id, severity string
	aliases                []string
	os                     *v6.OperatingSystem
	ecosystem, name        string
	below                  string // affected below, or unaffected
	unaffected             bool
	cpe                    *v6.Cpe // instead of a package
}

// database writes a database with the entries and opens an engine on it.
func databaseOf(t *testing.T, entries ...entry) *Engine {
	t.Helper()
	dir := t.TempDir()
	db, err := v6.NewWriter(v6.Config{DBDirPath: dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := e.write(db); err != nil {
			t.Fatalf("%s: %v", e.id, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := v6.Hydrater()(dir); err != nil {
		t.Fatal(err)
	}
	engine := NewEngine(Options{})
	if err := engine.Use(t.Context(), vulndb.Installed{Dir: dir, Checksum: "sha256:test", Built: time.Now()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = engine.Close() })
	return engine
}

func (e entry) write(db v6.ReadWriter) error {
	record := &v6.VulnerabilityHandle{
		Name: e.id, Status: v6.VulnerabilityActive, ProviderID: e.provider, Provider: &v6.Provider{ID: e.provider},
		BlobValue: &v6.VulnerabilityBlob{
			ID: e.id, Description: e.id + " in " + e.name + " of " + e.provider, Aliases: e.aliases,
			Severities: []v6.Severity{{Scheme: v6.SeveritySchemeCHMLN, Value: e.severity}},
		},
	}
	if e.cpe != nil {
		if err := db.AddVulnerabilities(record); err != nil {
			return err
		}
		return db.AddAffectedCPEs(&v6.AffectedCPEHandle{Vulnerability: record, CPE: e.cpe, BlobValue: &v6.PackageBlob{Ranges: []v6.Range{{
			Version: v6.Version{Type: "semver", Constraint: "< " + e.below},
		}}}})
	}
	format := map[string]string{"deb": "dpkg", "rpm": "rpm", "npm": "semver"}[e.ecosystem]
	about := v6.AffectedPackageHandle{
		Vulnerability: record, OperatingSystem: e.os, Package: &v6.Package{Name: e.name, Ecosystem: e.ecosystem},
		BlobValue: &v6.PackageBlob{Ranges: []v6.Range{{
			Version: v6.Version{Type: format, Constraint: "< " + e.below},
			Fix:     &v6.Fix{Version: e.below, State: v6.FixedStatus},
		}}},
	}
	if err := db.AddVulnerabilities(record); err != nil {
		return err
	}
	if e.unaffected {
		unaffected := v6.UnaffectedPackageHandle(about)
		return db.AddUnaffectedPackages(&unaffected)
	}
	return db.AddAffectedPackages(&about)
}

func debianRelease(major, codename string) *v6.OperatingSystem {
	return &v6.OperatingSystem{Name: "debian", ReleaseID: "debian", MajorVersion: major, Codename: codename}
}

func ofDebian(version string) *inventory.Distro {
	return &inventory.Distro{Type: "debian", Version: version}
}

// TestUnaffectedRecords has one ecosystem with records that take findings away
// and one without, and packages that are suppressed by name.
func TestUnaffectedRecords(t *testing.T) {
	e := databaseOf(t,
		entry{provider: "github", id: "GHSA-aaaa-aaaa-aaaa", severity: "high", aliases: []string{"CVE-2020-1"}, ecosystem: "npm", name: "left", below: "2.0.0"},
		entry{provider: "github", id: "GHSA-bbbb-bbbb-bbbb", severity: "high", ecosystem: "npm", name: "left", below: "2.0.0"},
		entry{provider: "rootio", id: "ROOT-1", severity: "high", aliases: []string{"CVE-2020-1"}, ecosystem: "npm", name: "left", below: "9.0.0", unaffected: true},
		entry{provider: "debian", id: "CVE-2020-2", severity: "low", os: debianRelease("12", "bookworm"), ecosystem: "deb", name: "left", below: "2.0"},
	)
	s := pin(t, e)
	got, err := s.Judge(t.Context(), []inventory.Package{
		{Type: "npm", Name: "left", Version: "1.0.0", Language: "javascript"},
		{Type: "deb", Name: "left", Version: "1.0", Distro: ofDebian("12")},
		{Type: "deb", Name: "left", Version: "3.0", Distro: ofDebian("12")},
	})
	if err != nil {
		t.Fatal(err)
	}
	var ids [][]string
	for _, j := range got {
		matched := []string{}
		for _, m := range j.Matches {
			matched = append(matched, m.ID)
		}
		ids = append(ids, matched)
	}
	if diff := cmp.Diff([][]string{{"GHSA-bbbb-bbbb-bbbb"}, {"CVE-2020-2"}, {}}, ids); diff != "" {
		t.Errorf("matches (-want +got):\n%s", diff)
	}
	same := func(id string) vuln.Ignore {
		return vuln.Ignore{Vulnerability: id, Kind: vuln.IgnoreSame, Reason: "UnaffectedPackageEntry"}
	}
	if diff := cmp.Diff([]vuln.Ignore{same("CVE-2020-1"), same("ROOT-1")}, got[0].Ignores); diff != "" {
		t.Errorf("suppressed by name (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]vuln.Ignore{{Vulnerability: "CVE-2020-2", Kind: vuln.IgnoreOwned, Reason: "distro-fixed"}}, got[2].Ignores); diff != "" {
		t.Errorf("suppressed on owned packages (-want +got):\n%s", diff)
	}
}

// TestOneNameTwoReleases looks up a CVE of which the feed has a record for each
// release.
func TestOneNameTwoReleases(t *testing.T) {
	e := databaseOf(t,
		entry{provider: "debian", id: "CVE-2020-1", severity: "low", os: debianRelease("11", "bullseye"), ecosystem: "deb", name: "left", below: "2.0"},
		entry{provider: "debian", id: "CVE-2020-1", severity: "critical", os: debianRelease("12", "bookworm"), ecosystem: "deb", name: "right", below: "2.0"},
		entry{provider: "rhel", id: "CVE-2020-1", severity: "medium", os: &v6.OperatingSystem{Name: "redhat", ReleaseID: "rhel", MajorVersion: "7"}, ecosystem: "rpm", name: "left", below: "0:2.0"},
	)
	s := pin(t, e)
	refs := []vuln.Ref{
		{ID: "CVE-2020-1", Namespace: "debian:distro:debian:11"},
		{ID: "CVE-2020-1", Namespace: "debian:distro:debian:12"},
		{ID: "CVE-2020-1", Namespace: "redhat:distro:redhat:7"},
	}
	packages := []inventory.Package{
		{Type: "deb", Name: "left", Version: "1.0", Distro: ofDebian("11")},
		{Type: "deb", Name: "right", Version: "1.0", Distro: ofDebian("12")},
		{Type: "rpm", Name: "left", Version: "0:1.0", Distro: &inventory.Distro{Type: "centos", Version: "7"}},
	}
	severities := func() (out []vuln.Severity) {
		described, err := s.Vulnerabilities(t.Context(), refs)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range described {
			if v.Ref != refs[i] {
				t.Errorf("%v stands at the place of %v", v.Ref, refs[i])
			}
			out = append(out, v.Severity)
		}
		return out
	}
	want := []vuln.Severity{vuln.SeverityLow, vuln.SeverityCritical, vuln.SeverityMedium}
	if diff := cmp.Diff(want, severities()); diff != "" {
		t.Errorf("looked up (-want +got):\n%s", diff)
	}
	judgements, err := s.Judge(t.Context(), packages)
	if err != nil {
		t.Fatal(err)
	}
	for i, j := range judgements {
		if len(j.Matches) != 1 || j.Matches[0].Ref != refs[i] {
			t.Errorf("%s: matches %+v, want %v", packages[i].Distro, j.Matches, refs[i])
		}
	}
	if diff := cmp.Diff(want, severities()); diff != "" {
		t.Errorf("met while judging (-want +got):\n%s", diff)
	}
	inv := inventory.NewBuilder(packages[2].Distro)
	inv.Add(packages[2], "", inventory.Occurrence{})
	if noData, _, err := s.Coverage(t.Context(), inv.Build()); err != nil || len(noData) > 0 {
		t.Errorf("CentOS stands on Red Hat's data: %v %v", noData, err)
	}
}

// TestVersionlessOwner has a package without a version that owns another: grype
// drops it while cataloguing, so it must decide nothing.
func TestVersionlessOwner(t *testing.T) {
	b := &bill{distro: debian12()}
	for _, version := range []string{"UNKNOWN", "1.0"} {
		owner := b.add(deb("owner-"+version, version, ""), "/var/lib/dpkg/status")
		child := syft.Package{Name: "child-" + version, Version: "1.0", Type: syft.PythonPkg, Language: syft.Python}
		if version == "UNKNOWN" {
			child.Version = "UNKNOWN-ish"
		}
		b.own(owner, b.add(child, "/usr/lib/"+version))
	}
	inv := take(t, b)
	got := map[string]string{}
	for _, m := range inv.Members {
		if len(m.Owners) > 0 {
			t.Errorf("%s has owners", inv.Packages[m.Package].Name)
		}
		got[inv.Packages[m.Package].Name] = m.Excluded
	}
	want := map[string]string{
		"owner-UNKNOWN": inventory.ExcludedNoVersion, "child-UNKNOWN": "",
		"owner-1.0": "", "child-1.0": inventory.ExcludedOwned,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("left out (-want +got):\n%s", diff)
	}
}

func TestDocumentsThatCannotBeRead(t *testing.T) {
	for name, text := range map[string]string{"empty": "", "no JSON": "hello", "another JSON": `{"a":1}`, "cut": string(mixed().document(t).JSON[:2000])} {
		doc := mixed().document(t)
		doc.JSON = []byte(text)
		if _, err := TakeInventory(t.Context(), doc); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
