package match

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/anchore/clio"
	"github.com/anchore/grype/cmd/grype/cli/options"
	"github.com/anchore/grype/grype/distro"
	grypematch "github.com/anchore/grype/grype/match"
	"github.com/anchore/grype/grype/matcher"
	"github.com/anchore/grype/grype/matcher/dotnet"
	"github.com/anchore/grype/grype/matcher/dpkg"
	"github.com/anchore/grype/grype/matcher/golang"
	"github.com/anchore/grype/grype/matcher/hex"
	"github.com/anchore/grype/grype/matcher/java"
	"github.com/anchore/grype/grype/matcher/javascript"
	"github.com/anchore/grype/grype/matcher/python"
	"github.com/anchore/grype/grype/matcher/rpm"
	"github.com/anchore/grype/grype/matcher/ruby"
	"github.com/anchore/grype/grype/matcher/rust"
	"github.com/anchore/grype/grype/matcher/stock"
	"github.com/anchore/grype/grype/pkg"
	syft "github.com/anchore/syft/syft/pkg"
	"github.com/google/go-cmp/cmp"
)

// TestConfigIsTheCLIs builds the matcher configuration from the CLI's own
// defaults, as its root command does.
func TestConfigIsTheCLIs(t *testing.T) {
	o := options.DefaultGrype(clio.Identification{Name: "grype"})
	want := matcher.Config{
		Java:       java.MatcherConfig{ExternalSearchConfig: o.ExternalSources.ToJavaMatcherConfig(), UseCPEs: o.Match.Java.UseCPEs},
		Ruby:       ruby.MatcherConfig(o.Match.Ruby),
		Python:     python.MatcherConfig(o.Match.Python),
		Dotnet:     dotnet.MatcherConfig(o.Match.Dotnet),
		Javascript: javascript.MatcherConfig(o.Match.Javascript),
		Golang: golang.MatcherConfig{
			UseCPEs: o.Match.Golang.UseCPEs, AlwaysUseCPEForStdlib: o.Match.Golang.AlwaysUseCPEForStdlib,
			AllowMainModulePseudoVersionComparison: o.Match.Golang.AllowMainModulePseudoVersionComparison,
		},
		Rust:  rust.MatcherConfig(o.Match.Rust),
		Hex:   hex.MatcherConfig(o.Match.Hex),
		Stock: stock.MatcherConfig(o.Match.Stock),
		Dpkg:  dpkg.MatcherConfig{MissingEpochStrategy: o.Match.Dpkg.MissingEpochStrategy, UseCPEsForEOL: o.Match.Dpkg.UseCPEsForEOL, UseCPEs: o.Match.Dpkg.UseCPEs},
		Rpm:   rpm.MatcherConfig{MissingEpochStrategy: o.Match.Rpm.MissingEpochStrategy, UseCPEsForEOL: o.Match.Rpm.UseCPEsForEOL, UseCPEs: o.Match.Rpm.UseCPEs},
	}
	if diff := cmp.Diff(want, matcherConfig()); diff != "" {
		t.Errorf("matcher configuration (-grype CLI +ours):\n%s", diff)
	}
	if o.GenerateMissingCPEs || o.MatchUpstreamKernelHeaders || o.OnlyFixed || o.OnlyNotFixed || o.IgnoreStates != "" || len(o.Ignore) > 0 || o.ByCVE || len(o.Exclusions) > 0 {
		t.Error("the CLI's defaults select matches in ways that are not followed here")
	}
	for _, c := range fixChannels() {
		cli := map[string]options.FixChannel{"eus": o.FixChannel.RedHatEUS, "esm": o.FixChannel.UbuntuESM}[c.Name]
		versions := ""
		if c.Versions != nil {
			versions = c.Versions.Value()
		}
		if distro.FixChannelEnabled(cli.Apply) != c.Apply || cli.Versions != versions {
			t.Errorf("fix channel %s: %s %q, the CLI has %s %q", c.Name, c.Apply, versions, cli.Apply, cli.Versions)
		}
	}
}

// TestIgnoreRulesAreTheCLIs compares with the CLI's source: its default rules
// are not exported, nor is the way it puts its defaults together.
func TestIgnoreRulesAreTheCLIs(t *testing.T) {
	source := filepath.Join(grypeSource(t), "cmd", "grype", "cli", "commands", "root.go")
	fset := token.NewFileSet()
	parsed, err := parser.ParseFile(fset, source, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	rule := regexp.MustCompile(`\{Package: match.IgnoreRulePackage\{Name: "(.*?)", UpstreamName: "(.*?)", Type: string\(syftPkg\.(\w+)\)\}, MatchType: match\.(\w+)\}`)
	var theirs []string
	for _, d := range declared(parsed) {
		if text := print1(t, fset, d); strings.HasPrefix(text, "ignoreLinuxKernelHeaders") {
			for _, m := range rule.FindAllStringSubmatch(text, -1) {
				theirs = append(theirs, strings.Join(m[1:], " "))
			}
			if strings.Count(text, "IgnoreRulePackage") != len(theirs) {
				t.Errorf("rules of an unknown form:\n%s", text)
			}
		}
	}
	var ours []string
	for _, r := range kernelHeaders() {
		typ := map[string]string{"rpm": "RpmPkg", "deb": "DebPkg"}[r.Package.Type]
		how := map[grypematch.Type]string{grypematch.ExactIndirectMatch: "ExactIndirectMatch"}[r.MatchType]
		ours = append(ours, strings.Join([]string{r.Package.Name, r.Package.UpstreamName, typ, how}, " "))
	}
	if diff := cmp.Diff(theirs, ours); diff != "" {
		t.Errorf("default ignore rules (-grype CLI +ours):\n%s", diff)
	}
}

// TestRulesAreAskedWhereTheyApply holds what is skipped to the rules themselves:
// the types of grype's list of false positives, and the source packages that the
// CLI's default rules name.
func TestRulesAreAskedWhereTheyApply(t *testing.T) {
	source, err := os.ReadFile(filepath.Join(grypeSource(t), "grype", "match", "explicit_ignores.go"))
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]bool{}
	for _, m := range regexp.MustCompile(`typ:\s+string\(syftPkg\.(\w+)\)`).FindAllStringSubmatch(string(source), -1) {
		types[m[1]] = true
	}
	want := map[string]bool{"JavaPkg": true, "GoModulePkg": true, "GemPkg": true, "DebPkg": true}
	if diff := cmp.Diff(types, want); diff != "" || strings.Count(string(source), "typ:") != 7 {
		t.Errorf("types of grype's list (-grype +ours), %d entries:\n%s", strings.Count(string(source), "typ:"), diff)
	}
	for _, p := range []syft.Type{syft.JavaPkg, syft.GoModulePkg, syft.GemPkg, syft.DebPkg} {
		if !explicitlyIgnored(p) {
			t.Errorf("%s is not asked for", p)
		}
	}
	for _, r := range kernelHeaders() {
		if name := strings.TrimSuffix(r.Package.UpstreamName, ".*"); !ofKernel(pkg.Package{Upstreams: []pkg.UpstreamPackage{{Name: name}}}) {
			t.Errorf("the rule for %s of %s is not asked for", r.Package.Name, r.Package.UpstreamName)
		}
	}
}

func declared(f *ast.File) []*ast.ValueSpec {
	var out []*ast.ValueSpec
	for _, d := range f.Decls {
		if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.VAR {
			for _, s := range g.Specs {
				out = append(out, s.(*ast.ValueSpec))
			}
		}
	}
	return out
}

func print1(t *testing.T, fset *token.FileSet, node any) string {
	var b bytes.Buffer
	if err := printer.Fprint(&b, fset, node); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// grypeSource is the directory of grype's module.
func grypeSource(t *testing.T) string {
	f := runtime.FuncForPC(reflect.ValueOf(distro.DefaultFixChannels).Pointer())
	file, _ := f.FileLine(f.Entry())
	dir, _, ok := strings.Cut(file, "/grype/distro/")
	if !ok {
		t.Fatalf("grype lies in %s", file)
	}
	if !filepath.IsAbs(dir) {
		t.Fatalf("built with -trimpath: %s", file)
	}
	return dir
}

// TestEngineVersion holds the version in every build to the module that is
// linked.
func TestEngineVersion(t *testing.T) {
	mod, err := os.ReadFile(filepath.Join("..", "..", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m)^\s*(require )?github\.com/anchore/grype ` + regexp.QuoteMeta(engineVersion) + `\b`).Match(mod) {
		t.Errorf("go.mod does not require grype %s", engineVersion)
	}
}

// TestKnownFields fails when grype's packages or their metadata gain a field.
// Find out then whether matchers, search or qualifiers read it: if so it belongs
// into inventory.Package, and inventory.FingerprintVersion goes up; if not, note
// it here.
func TestKnownFields(t *testing.T) {
	for _, tt := range []struct {
		of      any
		read    []string // by matchers; carried by inventory.Package
		ignored []string // not read by any matcher
	}{
		{
			pkg.Package{},
			[]string{"ID", "Name", "Version", "Language", "Distro", "Type", "CPEs", "PURL", "Upstreams", "Metadata"},
			[]string{"Locations", "Licenses", "Annotations", "RelatedPackages"},
		},
		{pkg.UpstreamPackage{}, []string{"Name", "Version"}, nil},
		{pkg.RpmMetadata{}, []string{"Epoch", "ModularityLabel", "Arch"}, nil},
		{pkg.ApkMetadata{}, []string{"Arch"}, []string{"Files"}},
		{pkg.JavaMetadata{}, []string{"PomArtifactID", "PomGroupID", "ManifestName"}, []string{"VirtualPath", "ArchiveDigests"}},
		{pkg.JavaVMInstallationMetadata{}, []string{"Release"}, nil},
		{pkg.JavaVMReleaseMetadata{}, []string{"JavaRuntimeVersion", "JavaVersion", "FullVersion", "SemanticVersion"}, nil},
		{pkg.GolangBinMetadata{}, []string{"MainModule", "Symbols"}, []string{"BuildSettings", "GoCompiledVersion", "Architecture", "H1Digest", "GoCryptoSettings"}},
		{pkg.GolangModMetadata{}, nil, []string{"H1Digest"}},
		{pkg.GolangSourceMetadata{}, nil, []string{"H1Digest", "OperatingSystem", "Architecture", "BuildTags", "CgoEnabled"}},
		{
			distro.Distro{},
			[]string{"Type", "Version", "Codename", "Channels", "IDLike", "SupportEnd"},
			[]string{"major", "minor", "remaining"}, // made from Version
		},
	} {
		typ := reflect.TypeOf(tt.of)
		var fields []string
		for i := range typ.NumField() {
			fields = append(fields, typ.Field(i).Name)
		}
		known := append(slices.Clone(tt.read), tt.ignored...)
		slices.Sort(fields)
		slices.Sort(known)
		if diff := cmp.Diff(known, fields); diff != "" {
			t.Errorf("%s (-known +grype's):\n%s", typ, diff)
		}
	}
}

// TestWhatMatchersRead looks through the source of matchers, searches and
// qualifiers for fields of a package that inventory.Package does not carry.
func TestWhatMatchersRead(t *testing.T) {
	forbidden := regexp.MustCompile(`\b(?:p|pk|searchPkg|catalogPkg|binaryPkg|upstreamPkg|indirectPackage)\.(Locations|Licenses|Annotations|RelatedPackages)\b` +
		`|\.(GoCompiledVersion|BuildSettings|H1Digest|GoCryptoSettings|VirtualPath)\b`)
	archives := regexp.MustCompile(`\bArchiveDigests\b`)
	files := 0
	for _, dir := range []string{"matcher", "search", "pkg/qualifier", "db/v6/name"} {
		root := filepath.Join(grypeSource(t), "grype", dir)
		err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			files++
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if found := forbidden.Find(text); found != nil {
				t.Errorf("%s reads %s", path, found)
			}
			// Java asks Maven by digest, which is off at the CLI's defaults.
			if archives.Match(text) && !strings.HasSuffix(path, "matcher/java/matcher.go") {
				t.Errorf("%s reads ArchiveDigests", path)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files < 40 {
		t.Errorf("only %d files looked at", files)
	}
}
