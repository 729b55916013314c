package overlay

import (
	"archive/tar"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/catalog/layers"
	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// What whiteouts and links mean is compared with stereoscope, layer by layer, in
// the tests of catalog. Here is what can be said without it.

func file(p string) layers.Entry { return layers.Entry{Path: p, Type: tar.TypeReg} }
func dir(p string) layers.Entry  { return layers.Entry{Path: p, Type: tar.TypeDir} }
func link(p, to string) layers.Entry {
	return layers.Entry{Path: p, Type: tar.TypeSymlink, Link: to}
}
func hard(p, to string) layers.Entry {
	return layers.Entry{Path: p, Type: tar.TypeLink, Link: to}
}

func tree(all ...[]layers.Entry) *Tree {
	var read []*layers.Layer
	for _, entries := range all {
		read = append(read, &layers.Layer{Entries: entries})
	}
	t, _ := New(read)
	return t
}

func (t *Tree) paths() (out []string) {
	for at := range t.All {
		out = append(out, t.Path(at))
	}
	slices.Sort(out)
	return out
}

func requests(hits []Hit) (out []string) {
	for _, h := range hits {
		out = append(out, h.Request)
	}
	return out
}

func TestTree(t *testing.T) {
	for name, tt := range map[string]struct {
		layers [][]layers.Entry
		want   []string
	}{
		"nothing":         {nil, nil},
		"whiteout":        {[][]layers.Entry{{file("/a/x"), file("/a/y")}, {file("/a/.wh.x")}}, []string{"/a/y"}},
		"opaque":          {[][]layers.Entry{{file("/a/x"), file("/b/x")}, {dir("/a"), file("/a/.wh..wh..opq"), file("/a/z")}}, []string{"/a", "/a/z", "/b/x"}},
		"replaced":        {[][]layers.Entry{{dir("/a"), file("/a/x")}, {file("/a")}}, []string{"/a"}},
		"of the root":     {[][]layers.Entry{{file("/a")}, {file("/.wh.."), file("/")}}, []string{"/a"}},
		"conflict":        {[][]layers.Entry{{dir("/a"), file("/a/x"), file("/a")}}, []string{"/a"}},
		"implied stays":   {[][]layers.Entry{{dir("/a")}, {file("/a/x")}}, []string{"/a", "/a/x"}},
		"lowest whiteout": {[][]layers.Entry{{file("/.wh.a"), file("/b/.wh..wh..opq"), file("/b/x")}}, []string{"/b/x"}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, tree(tt.layers...).paths()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFindThroughLinks(t *testing.T) {
	tr := tree([]layers.Entry{
		file("/usr/lib/x"), link("/lib", "usr/lib"), link("/way", "/lib"), link("/dead", "nowhere"), link("/loop", "/loop/a"),
		link("/up", "../../usr"), link("/l1", "l2"), link("/l2", "l1"), hard("/other", "usr/lib/x"), file("/ blank"),
	})
	for p, want := range map[string]string{
		"/usr/lib/x": "/usr/lib/x", "/lib/x": "/usr/lib/x", "/way/x": "/usr/lib/x", "way/x": "/usr/lib/x", "  /way//x/": "/usr/lib/x",
		"/way/../way/x": "/usr/lib/x", "/up/lib/x": "/usr/lib/x", "/other": "/other", "/": "/", "": "/", "/ blank": "/ blank",
		"/dead": "", "/dead/x": "", "/loop": "", "/loop/b": "", "/l1": "", "/l2/x": "", "/nowhere": "", "/usr/lib/x/y": "",
	} {
		at, ok := tr.Find(p)
		got := ""
		if ok {
			got = tr.Path(at)
		}
		if got != want {
			t.Errorf("%q leads to %q, want %q", p, got, want)
		}
	}
	for p, want := range map[string]bool{"/dead": true, "/loop": true, "/l1": true, "/dead/x": false, "/usr": true, "/none": false} {
		if tr.Has(p) != want {
			t.Errorf("%q is there: %v", p, !want)
		}
	}
	if at, ok := tr.At("/other"); ok {
		if f, _ := tr.File(at); f.Entry != 8 || f.Content != 0 || f.Type != tar.TypeReg {
			t.Errorf("the hard link is %+v", f)
		}
	}
}

func TestPatterns(t *testing.T) {
	tr := tree([]layers.Entry{
		file("/usr/lib/a.jar"), file("/usr/lib/b.tar.gz"), file("/usr/bin/python3"), file("/usr/bin/python3.11"), file("/.hidden"),
		link("/lib", "usr/lib"), dir("/etc"), dir("/etc/conf.d"), file("/etc/conf.d/a"), file("/etc/conf.d/b"), link("/etc/more.d", "conf.d"),
		file("/opt/[x]"), file("/a/b/c/deep"),
	})
	for pattern, want := range map[string][]string{
		"**/*.jar": {"/usr/lib/a.jar"}, "*.jar": nil, "/lib/*.jar": {"/lib/a.jar"}, "**/*.gz": {"/usr/lib/b.tar.gz"}, "**/*.tar.gz": {"/usr/lib/b.tar.gz"},
		"**/python*": {"/usr/bin/python3", "/usr/bin/python3.11"}, "**/python3": {"/usr/bin/python3"}, "**/bin/python?": {"/usr/bin/python3"},
		"**/conf.d/*": {"/etc/conf.d/a", "/etc/conf.d/b"}, "**/more.d/*": {"/etc/more.d/a", "/etc/more.d/b"}, "/etc/conf.d/a": {"/etc/conf.d/a"},
		"**/{python3,deep}": {"/a/b/c/deep", "/usr/bin/python3"}, "/a/**/deep": {"/a/b/c/deep"}, "/a/b/*/*": {"/a/b/c/deep"}, "**/.hid*": {"/.hidden"},
		"//usr///lib/a.jar/": {"/usr/lib/a.jar"}, "****/a.jar": {"/usr/lib/a.jar"}, "/**/**/a.jar": {"/usr/lib/a.jar"}, "**/nothing": nil,
	} {
		hits, err := tr.ByPattern(pattern)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, requests(hits)); diff != "" {
			t.Errorf("%s: %s", pattern, diff)
		}
	}
	if _, err := tr.ByPattern("**/[a"); !errs.Is(err, errs.Invalid) {
		t.Errorf("a bad pattern: %v", err)
	}
}

func TestMediaTypes(t *testing.T) {
	elf := file("/usr/bin/a")
	elf.MIME = "application/x-executable"
	tr := tree([]layers.Entry{elf, link("/bin", "usr/bin"), hard("/usr/bin/b", "usr/bin/a"), file("/c")})
	if diff := cmp.Diff([]string{"/usr/bin/a", "/usr/bin/b"}, requests(tr.ByMIME("text/plain", "application/x-executable"))); diff != "" {
		t.Error(diff)
	}
}

// What takes a machine down when it is done in the simplest way.
func TestHostileTrees(t *testing.T) {
	const many = 100_000
	var wide, marks, chain, deep []layers.Entry
	for i := range many {
		wide = append(wide, file(fmt.Sprint("/w/", i)))
		marks = append(marks, file(fmt.Sprint("/w/.wh.", i)))
		chain = append(chain, link(fmt.Sprint("/c/", i), fmt.Sprint(i+1)))
	}
	for i := range 200 {
		deep = append(deep, file(fmt.Sprint("/", i, strings.Repeat("/d", 1900))))
	}
	loops := []layers.Entry{file("/x/f")}
	for i := range 50 {
		loops = append(loops, link(fmt.Sprint("/x/l", i), "."), link(fmt.Sprint("/x/m", i), "/x/l0/l1"))
	}
	if n := len(tree(wide, marks).paths()); n != 0 {
		t.Errorf("%d of many whiteouts were left", n)
	}
	tr := tree(wide, chain, deep, loops)
	if n := len(tr.paths()); n != 2*many+200+101 {
		t.Errorf("%d files", n)
	}
	for _, pattern := range []string{"**/f", "**/l0/l1/m2/f", "**/d", "/c/*", "/x/**/f"} {
		if _, err := tr.ByPattern(pattern); err != nil {
			t.Error(err)
		}
	}
	if _, ok := tr.Find("/c/0"); ok {
		t.Error("a chain of links without an end leads somewhere")
	}
}

// Forty links, each of which leads three times through the next: as a number of
// steps, 3 to the power of 40.
func TestLinksThatMultiplyLeadNowhere(t *testing.T) {
	const depth = 40
	entries := []layers.Entry{dir("/d"), file("/d/f"), link(fmt.Sprint("/d/l", depth), "/d")}
	for i := range depth {
		next := fmt.Sprint("l", i+1)
		entries = append(entries, link(fmt.Sprint("/d/l", i), "/d/"+strings.Join([]string{next, next, next}, "/")))
	}
	tr := tree(entries, []layers.Entry{file("/d/l0/.wh.f"), file("/d/.wh.l0"), link("/to", "/d/l1/f")})
	for p, want := range map[string]bool{"/d/l1/f": false, "/to": false, "/d/l40/l40/f": true, "/d/l37/f": true} {
		if _, ok := tr.Find(p); ok != want {
			t.Errorf("%s is found: %v", p, ok)
		}
	}
	for _, pattern := range []string{"**/f", "**/to", "/d/l1/f", "/d/l3/*"} {
		if _, err := tr.ByPattern(pattern); err != nil {
			t.Error(err)
		}
	}
}

// mesh are n directories, each with links to all of them.
func mesh(n int) (out []layers.Entry) {
	for i := range n {
		for j := range n {
			out = append(out, link(fmt.Sprint("/m", i, "/to", j), fmt.Sprint("/m", j)))
		}
		out = append(out, file(fmt.Sprint("/m", i, "/status")))
	}
	return out
}

func TestLinksThatLeadToTooMuchAreAnError(t *testing.T) {
	tr := tree(mesh(5))
	if hits, err := tr.ByPattern("**/to1/status"); err != nil || len(hits) == 0 {
		t.Fatalf("%v, %v", hits, err)
	}
	tr.tries.Store(mostTries - 100)
	for _, pattern := range []string{"**/lib/dpkg/status", "**/to0/status", "/**/m*/to*"} {
		if _, err := tr.ByPattern(pattern); !errs.Is(err, errs.TooLarge) {
			t.Errorf("%s: %v", pattern, err)
		}
	}
}

func BenchmarkNew(b *testing.B) {
	var entries []layers.Entry
	for i := range 100_000 {
		entries = append(entries, file(fmt.Sprintf("/usr/share/some-%d/directory/file-%d.txt", i/20, i)))
	}
	b.ReportAllocs()
	for b.Loop() {
		tree(entries)
	}
}
