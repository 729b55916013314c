package match

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/inventory"
)

func TestNames(t *testing.T) {
	on := func(typ, version string) *inventory.Distro { return &inventory.Distro{Type: typ, Version: version} }
	for _, tt := range []struct {
		name string
		p    inventory.Package
		want []string
	}{
		{"npm", inventory.Package{Type: "npm", Name: "@Scope/Left", Version: "1", Language: "javascript", CPEs: []string{"cpe:2.3:a:x:left:1:*:*:*:*:*:*:*"}}, []string{"@scope/left"}},
		{"Python, as the index spells it", inventory.Package{Type: "python", Name: "Zope.Interface_x", Version: "1", Language: "python"}, []string{"zope-interface-x", "zope.interface_x"}},
		{
			"Java", inventory.Package{Type: "java-archive", Name: "log4j-core", Version: "2", Language: "java", PURL: "pkg:maven/org.apache.logging.log4j/log4j-core@2",
				Java: &inventory.Java{GroupID: "org.other", ArtifactID: "log4j-core", ManifestName: "Core"}},
			[]string{"log4j-core", "org.apache.logging.log4j:log4j-core", "org.other:core", "org.other:log4j-core"},
		},
		{"Swift", inventory.Package{Type: "swift", Name: "vapor", Version: "4", Language: "swift", PURL: "pkg:swift/github.com/vapor/Vapor@4"}, []string{"github.com/vapor/vapor", "vapor"}},
		{"Go", inventory.Package{Type: "go-module", Name: "example.test/X", Version: "v1", Language: "go", Go: &inventory.Go{MainModule: "example.test/main"}}, []string{"example.test/x"}},
		{"a main module, which is not searched for", inventory.Package{Type: "go-module", Name: "example.test/x", Version: "v0.0.0-2020", Language: "go", Go: &inventory.Go{MainModule: "example.test/x"}}, []string{"example.test/x"}},
		{"Debian, with its source", inventory.Package{Type: "deb", Name: "libssl3", Version: "1", Distro: on("debian", "12"), Upstreams: []inventory.Upstream{{Name: "openssl", Version: "2"}}}, []string{"distro:debian", "libssl3", "openssl"}},
		{
			"Alpine, with its origin and the CPEs of both",
			inventory.Package{Type: "apk", Name: "libssl3", Version: "1", Distro: on("alpine", "3.20"), Upstreams: []inventory.Upstream{{Name: "openssl"}},
				CPEs: []string{"cpe:2.3:a:libssl3:libssl3:1:*:*:*:*:*:*:*", "cpe:2.3:a:x:Other:1:*:*:*:*:*:*:*"}},
			[]string{"distro:alpine", "libssl3", "openssl", "other"},
		},
		{"AlmaLinux stands on Red Hat", inventory.Package{Type: "rpm", Name: "tkinter", Version: "1", Distro: on("almalinux", "9"), Upstreams: []inventory.Upstream{{Name: "python3"}}}, []string{"distro:almalinux", "distro:redhat", "python3", "tkinter"}},
		{"a module of Red Hat", inventory.Package{Type: "rpm", Name: "nodejs", Version: "1", Distro: on("redhat", "9.4"), RPM: &inventory.RPM{}}, []string{"distro:redhat", "nodejs"}},
		{"a program by its CPE", inventory.Package{Type: "binary", Name: "node", Version: "1", CPEs: []string{"cpe:2.3:a:nodejs:node.js:1:*:*:*:*:*:*:*"}}, []string{"node", "node.js"}},
		{"Root.io's build", inventory.Package{Type: "npm", Name: "left", Version: "1.0.0-root.io.1", Language: "javascript"}, []string{"@rootio/left", "left"}},
		{"without a name, which finds everything", inventory.Package{Type: "npm", Version: "1", Language: "javascript"}, nil},
		{"what cannot be judged", inventory.Package{Type: "binary", Name: "x", Version: "1", CPEs: []string{"no CPE"}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := Names(tt.p)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestEveryMatchIsNamed holds that the records that match a package are found
// under its names.
func TestEveryMatchIsNamed(t *testing.T) {
	e := sampleEngine(t)
	before := databaseIn(t, nil, leftNPM())
	change, err := e.Compare(t.Context(), before, e.current.installed)
	if err != nil {
		t.Fatal(err)
	}
	matched := 0
	for _, b := range []*bill{mixed(), onAlpine(), onCentOS()} {
		inv := take(t, b)
		judgements, err := pin(t, e).Judge(t.Context(), inv.Packages)
		if err != nil {
			t.Fatal(err)
		}
		for i, j := range judgements {
			if len(j.Matches)+len(j.Ignores) == 0 {
				continue
			}
			matched++
			if names := Names(inv.Packages[i]); !slices.ContainsFunc(names, func(n string) bool { return slices.Contains(change.Names, n) }) {
				t.Errorf("%s matches and none of %q is among %q", describe(inv.Packages[i]), names, change.Names)
			}
		}
	}
	if matched < 5 {
		t.Errorf("only %d packages match: the sample no longer fits the test", matched)
	}
}

func BenchmarkNames(b *testing.B) {
	p := inventory.Package{Type: "deb", Name: "libssl3", Version: "3.0.9-1", Distro: &inventory.Distro{Type: "debian", Version: "12"}, Upstreams: []inventory.Upstream{{Name: "openssl"}}}
	for b.Loop() {
		Names(p)
	}
}

// TestJudgementsCarryNames holds that the store learns the names with what is
// judged.
func TestJudgementsCarryNames(t *testing.T) {
	p := inventory.Package{Type: "npm", Name: "Lodash", Version: "4.17.15", Language: "javascript"}
	judgements, err := pin(t, sampleEngine(t)).Judge(t.Context(), []inventory.Package{p})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"lodash"}, judgements[0].Names); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
