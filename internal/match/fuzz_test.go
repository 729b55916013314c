package match

import (
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/text"
)

// FuzzVersion judges packages the sample database has records of at versions
// that an image made up. A matcher that panics fails the image it came with; it
// had better not.
func FuzzVersion(f *testing.F) {
	for _, v := range []string{"1.0", "", "1:2-3", "v0.0.0-20200622213623-75b288015ac9", "1.0-r10071", "2.0.beta.1", "~", ":", "-", "1..2", "\xff", "1.0+root.io.1", "9999999999999999999999", "1_p1-r1", "kb1", "1.8.0_352-b08", "(devel)", "[1,2)", "|| < 1"} {
		f.Add(v)
	}
	e := NewEngine(Options{Parallel: 1})
	if err := e.Use(f.Context(), sample(f)); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = e.Close() })
	debian, alpine := &inventory.Distro{Type: "debian", Version: "12"}, &inventory.Distro{Type: "alpine", Version: "3.18.4"}
	f.Fuzz(func(t *testing.T, v string) {
		v = text.Clean(v, text.Version)
		packages := []inventory.Package{
			{Type: "deb", Name: "openssl", Distro: debian, Upstreams: []inventory.Upstream{{Name: "openssl", Version: v}}},
			{Type: "apk", Name: "busybox", Distro: alpine, CPEs: []string{"cpe:2.3:a:busybox:busybox:*:*:*:*:*:*:*:*"}},
			{Type: "npm", Name: "lodash", Language: "javascript"},
			{Type: "python", Name: "Django", Language: "python"},
			{Type: "gem", Name: "rack", Language: "ruby"},
			{Type: "go-module", Name: "golang.org/x/crypto", Language: "go", Go: &inventory.Go{}},
			{Type: "java-archive", Name: "log4j-core", Language: "java", Java: &inventory.Java{GroupID: "org.apache.logging.log4j", ArtifactID: "log4j-core"}},
			{Type: "binary", Name: "java/jre", CPEs: []string{"cpe:2.3:a:oracle:jre:*:*:*:*:*:*:*:*"}, JVM: &inventory.JVM{}},
		}
		for i := range packages {
			packages[i].Version = v
		}
		if _, err := pin(t, e).Judge(t.Context(), packages); err != nil {
			t.Error(err)
		}
		for _, p := range packages {
			if _, err := Satisfies(p.Type, v, "< 1.0"); err != nil {
				t.Error(err)
			}
			_, _ = Satisfies(p.Type, "1.0", v) // a constraint from a query
		}
	})
}
