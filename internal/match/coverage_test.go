package match

import (
	"testing"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/anchore/syft/syft/cpe"
	syft "github.com/anchore/syft/syft/pkg"
	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// ofType is a package of a type as it comes from a document that says little.
func ofType(t syft.Type, version string, cpes ...string) syft.Package {
	p := syft.Package{Name: "x" + string(t), Version: version, Type: t}
	for _, c := range cpes {
		p.CPEs = append(p.CPEs, cpe.Must(c, ""))
	}
	return p
}

// mainModule is a module found in the program example.test/app.
func mainModule(name, version string) syft.Package {
	return syft.Package{Name: name, Version: version, Type: syft.GoModulePkg, Language: syft.Go,
		Metadata: syft.GolangBinaryBuildinfoEntry{MainModule: "example.test/app", GoCompiledVersion: "go1.25.0"}}
}

// TestNobodyCanJudge has packages that neither an ecosystem's data nor a CPE of
// their own can say anything about, over a database of CPEs and npm.
func TestNobodyCanJudge(t *testing.T) {
	s := pin(t, databaseOf(t,
		entry{provider: "github", id: "GHSA-aaaa-aaaa-aaaa", severity: "high", ecosystem: "npm", name: "left", below: "2.0.0"},
		entry{provider: "nvd", id: "CVE-2020-1", severity: "high", cpe: &v6.Cpe{Part: "a", Vendor: "tool", Product: "tool"}, below: "2.0.0"},
	))
	const toolCPE = "cpe:2.3:a:tool:tool:9.0.0:*:*:*:*:*:*:*"
	for _, tt := range []struct {
		name     string
		packages []syft.Package
		noData   []string
		answer   report.Answer
	}{
		{"no type", []syft.Package{ofType("", "1")}, []string{"ecosystem:unknown"}, report.Unknown},
		{"an unknown type", []syft.Package{ofType(syft.UnknownPkg, "1")}, []string{"ecosystem:unknown"}, report.Unknown},
		{"an unknown type with a CPE", []syft.Package{ofType(syft.UnknownPkg, "1", toolCPE)}, []string{"ecosystem:unknown"}, report.Unknown},
		{"types grype searches by guessed CPEs", []syft.Package{ofType(syft.ConanPkg, "1", toolCPE), ofType(syft.HackagePkg, "1"), ofType(syft.Rpkg, "1")},
			[]string{"ecosystem:R-package", "ecosystem:conan", "ecosystem:hackage"}, report.Unknown},
		{"a type with a matcher of its own", []syft.Package{ofType(syft.GemPkg, "1", toolCPE)}, []string{"ecosystem:gem"}, report.Unknown},
		{"no version", []syft.Package{ofType(syft.NpmPkg, "")}, []string{"version:npm"}, report.Unknown},
		{"some without a version", []syft.Package{ofType(syft.NpmPkg, "UNKNOWN"), npm("right", "1.0.0")}, []string{"version:npm"}, report.Partial},
		{"a Go program's own module without a version", []syft.Package{mainModule("example.test/app", ""), npm("right", "1.0.0")}, []string{}, report.Clean},
		{"a Go dependency without a version", []syft.Package{mainModule("example.test/dep", ""), npm("right", "1.0.0")}, []string{"version:go-module"}, report.Partial},
		{"an ecosystem with data", []syft.Package{npm("right", "1.0.0")}, []string{}, report.Clean},
		{"a program by its CPE", []syft.Package{ofType(syft.BinaryPkg, "9.0.0", toolCPE)}, []string{}, report.Clean},
		{"a program without a CPE", []syft.Package{ofType(syft.BinaryPkg, "1")}, []string{"ecosystem:binary"}, report.Unknown},
		{"the program with a CPE is met first", []syft.Package{ofType(syft.BinaryPkg, "9.0.0", toolCPE), ofType(syft.BinaryPkg, "1")}, []string{"ecosystem:binary"}, report.Unknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := &bill{}
			for _, p := range tt.packages {
				b.add(p, "/a")
			}
			inv := take(t, b)
			r, err := s.JudgeImage(t.Context(), inv)
			if err != nil {
				t.Fatal(err)
			}
			a := r.Assess(r.Findings())
			if diff := cmp.Diff(tt.noData, a.NoData); diff != "" {
				t.Errorf("no data (-want +got):\n%s", diff)
			}
			if a.Answer != tt.answer || a.Complete != (len(tt.noData) == 0) {
				t.Errorf("answer %s, complete %v; want %s", a.Answer, a.Complete, tt.answer)
			}
		})
	}
}

// TestCoverageOfTypes asks as for a stored inventory, of which only the types
// are known.
func TestCoverageOfTypes(t *testing.T) {
	withCPEs := databaseOf(t, entry{provider: "nvd", id: "CVE-2020-1", severity: "high", cpe: &v6.Cpe{Part: "a", Vendor: "tool", Product: "tool"}, below: "2.0.0"})
	without := databaseOf(t, entry{provider: "github", id: "GHSA-aaaa-aaaa-aaaa", severity: "high", ecosystem: "npm", name: "left", below: "2.0.0"})
	inv := &inventory.Inventory{
		Packages: []inventory.Package{{Type: "binary"}, {Type: "conan"}, {Type: "npm"}},
		Members:  []inventory.Member{{Package: 0}, {Package: 1}, {Package: 2}, {Package: 2, Excluded: inventory.ExcludedNoVersion}, {Package: 1, Excluded: inventory.ExcludedOwned}},
	}
	for _, tt := range []struct {
		name   string
		engine *Engine
		noData []string
	}{
		{"with CPEs", withCPEs, []string{"ecosystem:conan", "ecosystem:npm", "version:npm"}},
		{"without", without, []string{"ecosystem:binary", "ecosystem:conan", "version:npm"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			noData, _, err := pin(t, tt.engine).Coverage(t.Context(), inv)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.noData, noData); diff != "" {
				t.Errorf("no data (-want +got):\n%s", diff)
			}
		})
	}
}
