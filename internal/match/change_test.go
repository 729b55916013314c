package match

import (
	"context"
	"crypto/sha256"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/google/go-cmp/cmp"
	"gorm.io/gorm/schema"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// databaseIn is an installed database with the entries and what more a test writes.
func databaseIn(t *testing.T, more func(v6.ReadWriter) error, entries ...entry) vulndb.Installed {
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
	if more != nil {
		if err := more(db); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := v6.Hydrater()(dir); err != nil {
		t.Fatal(err)
	}
	return vulndb.Installed{Dir: dir, Checksum: "sha256:test", Built: time.Now()}
}

// edited is a copy of a database after some SQL.
func edited(t *testing.T, in vulndb.Installed, statements ...string) vulndb.Installed {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(in.Dir)); err != nil {
		t.Fatal(err)
	}
	db, err := v6.NewLowLevelDB(filepath.Join(dir, v6.VulnerabilityDBFileName), false, true, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range statements {
		if err := db.Exec(s).Error; err != nil {
			t.Fatal(err)
		}
	}
	conn, err := db.DB()
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	return vulndb.Installed{Dir: dir}
}

func inKEV(cve string) func(v6.ReadWriter) error {
	return func(db v6.ReadWriter) error {
		return db.AddKnownExploitedVulnerabilities(&v6.KnownExploitedVulnerabilityHandle{Cve: cve, BlobValue: &v6.KnownExploitedVulnerabilityBlob{Cve: cve}})
	}
}

func estimated(cve string, epss float64) func(v6.ReadWriter) error {
	return func(db v6.ReadWriter) error {
		return db.AddEpss(&v6.EpssHandle{Cve: cve, Epss: epss, Percentile: 0.5, Date: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)})
	}
}

// The database before: two records of npm, one of Debian, one by CPE.
func leftNPM() entry {
	return entry{provider: "github", id: "GHSA-aaaa-aaaa-aaaa", severity: "high", aliases: []string{"CVE-2020-1"}, ecosystem: "npm", name: "Left", below: "2.0.0"}
}

func rightNPM() entry {
	return entry{provider: "github", id: "GHSA-bbbb-bbbb-bbbb", severity: "high", ecosystem: "npm", name: "right", below: "2.0.0"}
}

func libDebian() entry {
	return entry{provider: "debian", id: "CVE-2020-1", severity: "low", os: debianRelease("12", "bookworm"), ecosystem: "deb", name: "lib", below: "2.0"}
}

func toolCPE() entry {
	return entry{provider: "nvd", id: "CVE-2020-9", severity: "high", cpe: &v6.Cpe{Part: "a", Vendor: "maker", Product: "Tool"}, below: "2.0.0"}
}

func baseline() []entry { return []entry{leftNPM(), rightNPM(), libDebian(), toolCPE()} }

// with applies a change to an entry.
func with(e entry, change func(*entry)) entry {
	change(&e)
	return e
}

func TestCompare(t *testing.T) {
	left, lib, tool := leftNPM(), libDebian(), toolCPE()
	refs := func(id string, namespaces ...string) (out []vuln.Ref) {
		for _, n := range namespaces {
			out = append(out, vuln.Ref{ID: id, Namespace: n})
		}
		return out
	}
	ofLeft := refs(left.id, "github:language:javascript")
	for _, tt := range []struct {
		name    string
		after   []entry
		more    func(v6.ReadWriter) error
		names   []string
		records []vuln.Ref
	}{
		{"nothing, in another order", []entry{toolCPE(), libDebian(), rightNPM(), leftNPM()}, nil, []string{}, nil},
		{"an advisory added", append(baseline(), entry{provider: "github", id: "GHSA-cccc-cccc-cccc", severity: "low", ecosystem: "npm", name: "new", below: "1.0.0"}), nil, []string{"new"}, nil},
		{"an advisory removed", []entry{leftNPM(), libDebian(), toolCPE()}, nil, []string{"right"}, nil},
		{"another range", []entry{with(left, func(e *entry) { e.below = "3.0.0" }), rightNPM(), libDebian(), toolCPE()}, nil, []string{"left"}, nil},
		{"another range of a CPE", []entry{leftNPM(), rightNPM(), libDebian(), with(tool, func(e *entry) { e.below = "3.0.0" })}, nil, []string{"tool"}, nil},
		{"another vendor", []entry{leftNPM(), rightNPM(), libDebian(), with(tool, func(e *entry) { e.cpe = &v6.Cpe{Part: "a", Vendor: "other", Product: "Tool"} })}, nil, []string{"tool"}, nil},
		{"a finding taken away", append(baseline(), entry{provider: "rootio", id: "ROOT-1", severity: "high", ecosystem: "npm", name: "left", below: "9.0.0", unaffected: true}), nil, []string{"left"}, nil},
		{"a second record of the same name", append(baseline(), with(lib, func(e *entry) { e.below = "4.0" })), nil, []string{"lib"}, nil},
		{"a severity only", []entry{with(left, func(e *entry) { e.severity = "low" }), rightNPM(), libDebian(), toolCPE()}, nil, []string{}, ofLeft},
		{"a severity by CPE only", []entry{leftNPM(), rightNPM(), libDebian(), with(tool, func(e *entry) { e.severity = "low" })}, nil, []string{}, refs(tool.id, "nvd:cpe")},
		{"an alias added", []entry{with(left, func(e *entry) { e.aliases = append(slices.Clone(e.aliases), "CVE-2020-2") }), rightNPM(), libDebian(), toolCPE()}, nil, []string{"left"}, ofLeft},
		{"KEV, through an alias too", baseline(), inKEV("CVE-2020-1"), []string{}, append(refs("CVE-2020-1", "debian:distro:debian:12"), ofLeft...)},
		{"EPSS in another case", baseline(), estimated("cve-2020-9", 0.1), []string{}, refs(tool.id, "nvd:cpe")},
		{"a release added", append(baseline(), with(lib, func(e *entry) { e.os, e.id = debianRelease("13", "trixie"), "CVE-2021-1" })), nil, []string{"distro:debian", "distro:raspbian", "lib"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := databaseIn(t, nil, baseline()...)
			got, err := NewEngine(Options{}).Compare(t.Context(), before, databaseIn(t, tt.more, tt.after...))
			if err != nil || got.Everything != "" {
				t.Fatalf("%v; everything: %s", err, got.Everything)
			}
			if diff := cmp.Diff(tt.names, got.Names); diff != "" {
				t.Errorf("names (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.records, got.Records); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
		})
	}
}

// TestCompareRows changes rows that no writer would change by themselves.
func TestCompareRows(t *testing.T) {
	before := databaseIn(t, estimated("CVE-2020-9", 0.1), baseline()...)
	for _, tt := range []struct {
		name, statement string
		want            scan.Change
	}{
		{"the day it was built", `UPDATE db_metadata SET build_timestamp = '2030-01-01 00:00:00+00:00'`, scan.Change{}},
		{"numbers of rows", `UPDATE affected_package_handles SET id = id + 1000`, scan.Change{}},
		{"dates of a record", `UPDATE vulnerability_handles SET modified_date = '2030-01-01 00:00:00+00:00'`, scan.Change{}},
		{"an end of support", `UPDATE operating_systems SET eol_date = '2030-01-01 00:00:00+00:00'`, scan.Change{}},
		{"a record withdrawn", `UPDATE vulnerability_handles SET status = 'withdrawn' WHERE provider_id = 'nvd'`,
			scan.Change{Names: []string{"tool"}, Records: []vuln.Ref{{ID: "CVE-2020-9", Namespace: "nvd:cpe"}}}},
		{"the day of an estimate", `UPDATE epss_metadata SET date = '2030-01-01 00:00:00+00:00'`,
			scan.Change{Records: []vuln.Ref{{ID: "CVE-2020-9", Namespace: "nvd:cpe"}}}},
		{"a weakness", `INSERT INTO cwe_handles (cve, cwe, source, type) VALUES ('CVE-2020-9', 'CWE-79', 's', 't')`,
			scan.Change{Records: []vuln.Ref{{ID: "CVE-2020-9", Namespace: "nvd:cpe"}}}},
		{"a CPE for a package", `INSERT INTO package_cpes (package_id, cpe_id) SELECT p.id, c.id FROM packages p, cpes c WHERE p.name = 'right'`,
			scan.Change{Names: []string{"tool"}}},
		{"a codename", `UPDATE operating_systems SET codename = 'other'`, scan.Change{Names: []string{"distro:debian", "distro:raspbian"}}},
		{"an alias of a distro", `INSERT INTO operating_system_specifier_overrides (alias, version, version_pattern, replacement, rolling) VALUES ('ours', '', '', 'debian', false)`,
			scan.Change{Everything: "which distro stands on whose data is decided otherwise (operating_system_specifier_overrides)"}},
		{"a rolling distro", `UPDATE operating_system_specifier_overrides SET rolling = NOT rolling WHERE alias = 'wolfi'`,
			scan.Change{Everything: "which distro stands on whose data is decided otherwise (operating_system_specifier_overrides)"}},
		{"an alias of an ecosystem", `INSERT INTO package_specifier_overrides (ecosystem, replacement_ecosystem) VALUES ('ours', 'npm')`,
			scan.Change{Everything: "the names of ecosystems are understood otherwise (package_specifier_overrides)"}},
		{"an architecture", `DELETE FROM architecture_aliases WHERE alias = 'x86_64'`,
			scan.Change{Everything: "the names of architectures are understood otherwise (architecture_aliases)"}},
		{"a schema", `UPDATE db_metadata SET addition = addition - 1`,
			scan.Change{Everything: "the database has schema v6.1.9, the one before had v6.1.10"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := NewEngine(Options{}).Compare(t.Context(), before, edited(t, before, tt.statement))
			if err != nil {
				t.Fatal(err)
			}
			got.Before, got.After = nil, nil
			if len(got.Names) == 0 {
				got.Names = nil
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestCompareOnlyReads compares directories that must not change, and stops with
// its context.
func TestCompareOnlyReads(t *testing.T) {
	before, after := databaseIn(t, nil, baseline()...), databaseIn(t, nil, leftNPM())
	contents := func() (out []string) {
		for _, in := range []vulndb.Installed{before, after} {
			files, err := os.ReadDir(in.Dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				b, err := os.ReadFile(filepath.Join(in.Dir, f.Name()))
				if err != nil {
					t.Fatal(err)
				}
				sum := sha256.Sum256(b)
				out = append(out, f.Name()+string(sum[:]))
			}
		}
		return out
	}
	want := contents()
	e := NewEngine(Options{})
	if _, err := e.Compare(t.Context(), before, after); err != nil {
		t.Fatal(err)
	}
	if _, err := VolumeOf(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Compare(stopped, before, after); !errs.Is(err, errs.Canceled) {
		t.Errorf("stopped: %v", err)
	}
	if _, err := e.Compare(t.Context(), before, vulndb.Installed{Dir: t.TempDir()}); !errs.Is(err, errs.Malformed) {
		t.Errorf("no database: %v", err)
	}
	cut := edited(t, after, `DROP TABLE affected_cpe_handles`)
	if _, err := e.Compare(t.Context(), before, cut); !errs.Is(err, errs.Malformed) {
		t.Errorf("a table is missing: %v", err)
	}
	if diff := cmp.Diff(want, contents()); diff != "" {
		t.Error("the directories changed")
	}
}

// TestEveryTableIsCompared fails when grype's schema gains a table or a column.
// Find out whether matching reads it, compare it, and note it here.
func TestEveryTableIsCompared(t *testing.T) {
	columns := map[string]int{
		"affected_cpe_handles": 4, "affected_package_handles": 5, "architecture_aliases": 2, "blobs": 2, "cpes": 10, "cwe_handles": 5,
		"db_metadata": 4, "epss_handles": 4, "epss_metadata": 1, "known_exploited_vulnerability_handles": 3,
		"operating_system_specifier_overrides": 12, "operating_systems": 10, "package_specifier_overrides": 2, "packages": 3, "providers": 5,
		"ssvc_handles": 9, "unaffected_cpe_handles": 4, "unaffected_package_handles": 5, "vulnerability_aliases": 2, "vulnerability_handles": 8,
	}
	naming := schema.NamingStrategy{}
	got := map[string]int{"package_cpes": 0}
	for _, m := range v6.Models() {
		typ := reflect.TypeOf(m).Elem()
		n := 0
		for i := range typ.NumField() {
			if tag := typ.Field(i).Tag.Get("gorm"); tag != "-" && !strings.Contains(tag, "foreignKey") && !strings.Contains(tag, "many2many") {
				n++
			}
		}
		got[naming.TableName(typ.Name())] = n
	}
	columns["package_cpes"] = 0
	if diff := cmp.Diff(columns, got); diff != "" {
		t.Errorf("columns of tables (-known +grype's):\n%s", diff)
	}
	for table := range got {
		if compared[table] == "" {
			t.Errorf("how a difference in %s is noticed is not said", table)
		}
	}
	if len(compared) != len(got) {
		t.Errorf("%d tables are described, grype has %d", len(compared), len(got))
	}
}

func TestVolume(t *testing.T) {
	in := databaseIn(t, inKEV("CVE-2020-1"), append(baseline(),
		entry{provider: "almalinux", id: "ALSA-1", severity: "high", os: &v6.OperatingSystem{Name: "almalinux", MajorVersion: "9"}, ecosystem: "rpm", name: "lib", below: "0:9", unaffected: true},
		entry{provider: "ubuntu", id: "CVE-2020-5", severity: "high", os: &v6.OperatingSystem{Name: "ubuntu", MajorVersion: "20", MinorVersion: "04"}, ecosystem: "deb", name: "lib", below: "9"},
	)...)
	want := scan.Volume{"ecosystem:npm": 2, "distro:debian:12": 1, "distro:almalinux:9": 1, "distro:ubuntu:20.04": 1, "cpe": 1, "kev": 1}
	got, err := VolumeOf(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	change, err := NewEngine(Options{}).Compare(t.Context(), in, databaseIn(t, nil, leftNPM()))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]scan.Volume{want, {"ecosystem:npm": 1}}, []scan.Volume{change.Before, change.After}); diff != "" {
		t.Errorf("of a comparison (-want +got):\n%s", diff)
	}
}

func TestCompareBuilds(t *testing.T) {
	b := vuln.Build{Checksum: "sha256:a", SchemaVersion: "v6.1.10", Engine: "grype", EngineVersion: "v1", Config: "c"}
	for _, tt := range []struct {
		name   string
		change func(*vuln.Build)
		want   string
	}{
		{"another database", func(b *vuln.Build) { b.Checksum, b.Source = "sha256:b", "there" }, ""},
		{"another engine", func(b *vuln.Build) { b.EngineVersion = "v2" }, "grype v1 judged before, grype v2 judges now"},
		{"another configuration", func(b *vuln.Build) { b.Config = "d" }, "the configuration of the matchers is another"},
		{"two reasons", func(b *vuln.Build) { b.Config, b.SchemaVersion = "d", "v6.1.11" },
			"the configuration of the matchers is another; the database has schema v6.1.11, the one before had v6.1.10"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			after := b
			tt.change(&after)
			if got := CompareBuilds(b, after); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}
