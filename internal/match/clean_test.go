package match

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/anchore/syft/syft/cpe"
	syft "github.com/anchore/syft/syft/pkg"
	generator "github.com/anchore/syft/syft/pkg/cataloger/common/cpe"

	"github.com/tidewaiter/tidewaiter/internal/text"
)

// TestHostileNames judges packages with names nobody would choose. What comes
// out has to fit into Postgres, and one of them must not spoil the others.
func TestHostileNames(t *testing.T) {
	e := sampleEngine(t)
	b := &bill{distro: debian12()}
	b.add(npm("lodash", "4.17.15"), "/good")
	for _, name := range []string{"nul\x00byte", "bytes\xff\xfe", strings.Repeat("n", 100_000), "esc\x1b[2J", "rtl\u202eevil", "<script>", "a\nb", "%s%n", "*", "?", `\`} {
		for _, typ := range []syft.Type{syft.NpmPkg, syft.DebPkg, syft.ApkPkg, syft.RpmPkg, syft.BinaryPkg, "made-up"} {
			p := npm(name, name)
			p.Type = typ
			b.add(p, "/"+name)
		}
	}
	inv := take(t, b)
	judgements, err := pin(t, e).Judge(t.Context(), inv.Packages)
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for i, p := range inv.Packages {
		for _, s := range []string{p.Name, p.Version, p.PURL, p.Type} {
			if strings.ContainsRune(s, 0) || !utf8.ValidString(s) || len(s) > text.PURL {
				t.Errorf("package keeps %.40q (%d bytes)", s, len(s))
			}
		}
		for _, m := range judgements[i].Matches {
			found = found || p.Name == "lodash"
			if strings.Contains(string(m.Details), `\u0000`) {
				t.Errorf("details hold NUL: %s", m.Details)
			}
		}
	}
	if !found {
		t.Error("the good package was not judged")
	}
	for _, o := range inv.Occurrences {
		for _, l := range o.Locations {
			if strings.ContainsRune(l.Path, 0) || len(l.Path) > text.Path {
				t.Errorf("location keeps %.40q", l.Path)
			}
		}
	}
}

// TestCPEsSurvive writes CPEs and reads them again: matchers must see the same
// attributes, whatever stands in them.
func TestCPEsSurvive(t *testing.T) {
	var cpes []cpe.CPE
	for _, name := range []string{"plain", "c++", "a:b", "a.b-c_d", "*", "?", "-", `back\slash`, "sp ace", "ünïcode", "[x]", "@scope/name", "%41", "\"q\"", "~tilde~"} {
		p := npm(name, "1.0~rc1+build:2")
		cpes = append(cpes, generator.Generate(p)...)
		if c, err := cpe.New("cpe:2.3:a:"+name+":"+name+":1.0:*:*:*:*:*:*:*", ""); err == nil {
			cpes = append(cpes, c)
		}
	}
	if len(cpes) < 20 {
		t.Fatalf("only %d CPEs to try", len(cpes))
	}
	for _, c := range cpes {
		again, err := cpe.New(c.Attributes.String(), "")
		if err != nil {
			continue // left out by cpeNames
		}
		// What was read once from a document is what packages hold.
		twice, err := cpe.New(again.Attributes.String(), "")
		if err != nil || twice.Attributes != again.Attributes {
			t.Errorf("%+v became %+v, %v", again.Attributes, twice.Attributes, err)
		}
	}
}

// TestHostileFeed has a record with NULs where a feed can put them.
func TestHostileFeed(t *testing.T) {
	s := pin(t, databaseOf(t, entry{provider: "github", id: "GHSA-a\x00aa", severity: "high", ecosystem: "npm", name: "left", below: "2.0.0"}))
	b := &bill{}
	b.add(npm("left", "1.0.0"), "/a")
	inv := take(t, b)
	judged, err := s.Judge(t.Context(), inv.Packages)
	if err != nil || len(judged[0].Matches) != 1 {
		t.Fatalf("%+v, %v", judged, err)
	}
	if got := string(encode(judged[0].Matches)); strings.Contains(got, `\u0000`) {
		t.Errorf("a NUL came through: %s", got)
	}
}

func TestCleanJSON(t *testing.T) {
	for in, want := range map[string]string{
		`[{"a":1.50}]`:             `[{"a":1.50}]`,
		`{"a\u0000":["\u0000",2]}`: "{\"a\uFFFD\":[\"\uFFFD\",2]}",
		`{"a":"\\u0000"}`:          `{"a":"\\u0000"}`, // a backslash and text, not a NUL
	} {
		if got := string(cleanJSON([]byte(in))); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}
