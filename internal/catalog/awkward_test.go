package catalog_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/tidewaiter/tidewaiter/internal/catalog"
	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/sampleimage"
)

// item is an entry of a tar.
type item struct {
	tar.Header
	content string
}

func text(path, content string) item {
	return item{tar.Header{Name: path, Typeflag: tar.TypeReg, Size: int64(len(content)), Mode: 0o644}, content}
}

func dir(path string) item {
	return item{Header: tar.Header{Name: path, Typeflag: tar.TypeDir, Mode: 0o755}}
}
func link(path, to string) item {
	return item{Header: tar.Header{Name: path, Typeflag: tar.TypeSymlink, Linkname: to, Mode: 0o777}}
}
func hard(path, to string) item {
	return item{Header: tar.Header{Name: path, Typeflag: tar.TypeLink, Linkname: to, Mode: 0o644}}
}

// gone deletes a path of the layers below, opaque what is in a directory of them.
func gone(path string) item {
	at := strings.LastIndex(path, "/") + 1
	return text(path[:at]+".wh."+path[at:], "")
}
func opaque(path string) item { return text(path+"/.wh..wh..opq", "") }

// npm is the record of an npm package in a directory: something that shows in the
// document with its paths and its layer.
func npm(directory, name string) item {
	return text(directory+"/package.json", fmt.Sprintf(`{"name":%q,"version":"1.0.0","license":"MIT"}`, name))
}

// busybox is a program that syft knows by its bytes.
func busybox(path, version string) item {
	i := text(path, "\x7fELF\x02\x01\x01\x00 BusyBox v"+version+" (2023-07-27)\x00")
	i.Mode = 0o755
	return i
}

func deb(name, version string) string {
	return "Package: " + name + "\nStatus: install ok installed\nVersion: " + version + "\nArchitecture: amd64\nMaintainer: A <a@example.com>\n\n"
}

func tarOf(t testing.TB, items []item) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, i := range items {
		if err := w.WriteHeader(&i.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, i.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// stack puts layers over a small Debian.
func stack(t *testing.T, layers ...[]item) v1.Image {
	t.Helper()
	img := build(t, sampleimage.Content{Distro: sampleimage.Debian12(), Deb: []sampleimage.Deb{{Name: "zlib1g", Version: "1:1.2.13.dfsg-1"}}})
	for _, items := range layers {
		content := tarOf(t, items)
		l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil })
		if err != nil {
			t.Fatal(err)
		}
		if img, err = mutate.AppendLayers(img, l); err != nil {
			t.Fatal(err)
		}
	}
	return img
}

// awkward images, layer by layer.
var awkward = map[string][][]item{
	"whiteout of a file":             {{npm("a", "a"), npm("b", "b")}, {gone("a/package.json")}},
	"whiteout of a directory":        {{dir("a"), npm("a/x", "a"), npm("b", "b")}, {gone("a")}},
	"whiteout of nothing":            {{npm("a", "a")}, {gone("b"), gone("c/d/e"), gone("a/package.json/x")}},
	"whiteout and new":               {{npm("a", "old"), npm("a/b", "lost")}, {gone("a"), npm("a", "new")}},
	"new and whiteout":               {{npm("a", "old"), npm("a/b", "lost")}, {npm("a", "new"), gone("a")}},
	"whiteout in the lowest layer":   {{gone("a"), npm("a", "a")}},
	"whiteout through a link":        {{npm("real/a", "a"), npm("real/b", "b"), link("way", "real")}, {gone("way/a")}},
	"whiteout of a link":             {{npm("real/a", "a"), link("way", "real")}, {gone("way")}},
	"whiteout of what a link hides":  {{npm("real/a", "a"), link("way", "/nowhere")}, {gone("way/a")}},
	"whiteout through a loop":        {{npm("a", "a"), link("l", "m"), link("m", "l")}, {gone("l/x")}},
	"whiteouts that are directories": {{npm("a/b", "a")}, {dir("a/.wh.b"), npm("a/.wh.b/c", "c")}},
	"whiteout of a whiteout":         {{npm("a", "a")}, {gone("a")}, {gone(".wh.a"), npm("b", "b")}},
	"names that begin like one":      {{npm("a", "a")}, {text(".wh.", ""), text(".wha", ""), npm(".wh", "c"), text("a/.wh..wh.opq", "")}},

	"opaque directory":              {{npm("a/x", "x"), npm("a/y", "y")}, {dir("a"), opaque("a"), npm("a/z", "z")}},
	"opaque directory without one":  {{npm("a/x", "x")}, {opaque("a")}},
	"opaque directory, marked last": {{npm("a/x", "x")}, {npm("a/z", "z"), opaque("a")}},
	"opaque directory of a link":    {{npm("real/x", "x"), link("a", "real")}, {opaque("a"), npm("a/z", "z")}},
	"opaque directory over a link":  {{npm("real/x", "x"), link("a", "real")}, {dir("a"), opaque("a"), npm("a/z", "z")}},
	"opaque within a link above":    {{npm("real/x", "x"), npm("a/y", "y")}, {link("a", "real"), opaque("real"), npm("real/z", "z")}},
	"opaque root":                   {{npm("a", "a")}, {text(".wh..wh..opq", ""), npm("b", "b")}},
	"opaque directory twice":        {{npm("a/x", "x")}, {opaque("a"), npm("a/y", "y")}, {opaque("a"), npm("a/z", "z")}},
	"opaque parent and child":       {{npm("a/b/x", "x"), npm("a/c", "c")}, {opaque("a"), opaque("a/b"), npm("a/b/z", "z")}},

	"hard link":                         {{npm("a", "a"), hard("b/package.json", "a/package.json")}},
	"hard link to what follows":         {{hard("b/package.json", "a/package.json"), npm("a", "a")}},
	"hard link by an absolute name":     {{npm("a", "a"), hard("b/package.json", "/a/package.json")}},
	"hard link of a hard link":          {{npm("a", "a"), hard("b/package.json", "a/package.json"), hard("c/package.json", "b/package.json")}},
	"hard link to a layer below":        {{npm("a", "a")}, {hard("b/package.json", "a/package.json")}},
	"hard link to what changes":         {{npm("a", "old"), hard("b/package.json", "a/package.json")}, {npm("a", "new")}},
	"hard link to what goes":            {{npm("a", "old"), hard("b/package.json", "a/package.json")}, {gone("a/package.json")}},
	"hard link that goes":               {{npm("a", "old"), hard("b/package.json", "a/package.json")}, {gone("b/package.json")}},
	"hard link to a symlink":            {{npm("a", "a"), link("l", "a/package.json"), hard("b/package.json", "l")}},
	"hard link to a dead symlink":       {{link("l", "nowhere"), hard("b/package.json", "l"), npm("a", "a")}},
	"hard link to a directory":          {{dir("a"), npm("a", "a"), hard("b", "a")}},
	"hard link to nothing":              {{hard("b/package.json", "nothing"), hard("c/package.json", ""), npm("a", "a")}},
	"hard link to itself":               {{hard("b/package.json", "b/package.json"), npm("a", "a")}},
	"hard link through a symlink":       {{npm("real", "a"), link("way", "real"), hard("b/package.json", "way/package.json")}},
	"hard link across, through a link":  {{npm("real", "a"), link("way", "real")}, {hard("b/package.json", "way/package.json")}},
	"hard link to a program":            {{busybox("bin/busybox", "1.36.1"), hard("bin/sh", "bin/busybox"), link("bin/ls", "busybox")}},
	"hard link to a program of a layer": {{busybox("bin/busybox", "1.36.1")}, {hard("usr/bin/busybox", "bin/busybox")}},
	"hard link to an empty file":        {{text("a", ""), hard("b", "a"), npm("c", "c")}},

	"symlinked directory":            {{npm("opt/nm/a", "a"), link("usr/lib/node_modules", "/opt/nm")}},
	"symlinked directory, relative":  {{npm("opt/nm/a", "a"), link("usr/lib/node_modules", "../../opt/nm")}},
	"symlinked directory of below":   {{npm("opt/nm/a", "a")}, {link("usr/lib/node_modules", "/opt/nm")}},
	"symlink above the root":         {{npm("opt/nm/a", "a"), link("l", "../../../opt")}},
	"symlink to a link":              {{npm("a", "a"), link("b", "a"), link("c", "b"), link("d", "/c/../c")}},
	"symlink to a file":              {{npm("a", "a"), link("b/package.json", "../a/package.json")}},
	"symlink to a file of above":     {{link("b/package.json", "../a/package.json")}, {npm("a", "a")}},
	"symlink to a file that changes": {{npm("a", "old"), link("b/package.json", "../a/package.json")}, {npm("a", "new")}},
	"symlink to a file that goes":    {{npm("a", "old"), link("b/package.json", "../a/package.json")}, {gone("a/package.json")}},
	"symlink to the root":            {{npm("a", "a"), link("host", "/")}},
	"symlink to its parent":          {{npm("a/b", "b"), link("a/up", "..")}},
	"symlink into itself":            {{npm("a", "a"), link("x", "x/y")}},
	"symlink with blanks":            {{npm("a dir", "a"), link("l", "a dir"), npm(" lead", "b"), npm("trail ", "c")}},
	"symlink to nothing at all":      {{npm("a", "a"), link("l", "")}},

	"loop of links":       {{npm("a", "a"), link("l", "m"), link("m", "l"), link("n/package.json", "../l")}},
	"link to itself":      {{npm("a", "a"), link("package.json", "package.json")}},
	"loop of directories": {{npm("a/b", "b"), link("a/b/c", "/a"), link("a/d", "b/c/d")}},
	"loop made by layers": {{npm("a", "a"), link("l", "a")}, {link("a2", "l"), link("l", "a2")}},
	"150 links to a file": {links(150)},
	"90 links to a file":  {links(90)},

	"file becomes a directory":      {{text("a", "file")}, {npm("a", "a")}},
	"directory becomes a file":      {{npm("a/x", "x"), npm("b", "b")}, {text("a", "file")}},
	"and back":                      {{npm("a/x", "x")}, {text("a", "file")}, {npm("a/y", "y")}},
	"directory becomes a link":      {{npm("a/x", "x"), npm("b/y", "y")}, {link("a", "b")}},
	"link becomes a directory":      {{npm("b/y", "y"), link("a", "b")}, {dir("a"), npm("a/x", "x")}},
	"link becomes a file":           {{npm("b", "b"), link("a/package.json", "../b/package.json")}, {npm("a", "a")}},
	"file becomes a link":           {{npm("b", "b"), npm("a", "a")}, {link("a/package.json", "../b/package.json")}},
	"directory becomes a device":    {{npm("a/x", "x")}, {{Header: tar.Header{Name: "a", Typeflag: tar.TypeChar}}}},
	"link becomes a device":         {{npm("b", "b"), link("a", "b")}, {{Header: tar.Header{Name: "a", Typeflag: tar.TypeFifo}}}},
	"hard link becomes a directory": {{text("f", "f"), hard("a", "f")}, {npm("a", "a")}},

	"usr-merge":                 {{npm("usr/lib/node_modules/a", "a"), link("lib", "usr/lib"), busybox("usr/bin/busybox", "1.36.1"), link("bin", "usr/bin")}},
	"usr-merge, written under":  {{npm("usr/lib/node_modules/a", "a"), link("lib", "usr/lib")}, {npm("lib/node_modules/b", "b")}},
	"usr-merge, dir over it":    {{npm("usr/lib/node_modules/a", "a"), link("lib", "usr/lib")}, {dir("lib"), npm("lib/node_modules/b", "b")}},
	"usr-merge later":           {{npm("lib/node_modules/a", "a"), npm("usr/lib/node_modules/b", "b")}, {link("lib", "usr/lib")}},
	"usr-merge later, same":     {{npm("lib/node_modules/a", "a"), npm("usr/lib/node_modules/a", "b")}, {link("lib", "usr/lib")}},
	"usr-merge and an owner":    {{text("var/lib/dpkg/info/x.list", "/bin/busybox\n"), text("var/lib/dpkg/status", deb("x", "1")), busybox("usr/bin/busybox", "1.36.1"), link("bin", "usr/bin")}},
	"usr-merge and an owner, 2": {{text("var/lib/dpkg/info/x.list", "/usr/bin/busybox\n"), text("var/lib/dpkg/status", deb("x", "1")), busybox("bin/busybox", "1.36.1"), link("usr/bin", "../bin")}},

	"the same path twice":           {{npm("a", "first"), npm("a", "second")}},
	"the same link twice":           {{npm("a", "a"), npm("b", "b"), link("l", "a"), link("l", "b")}},
	"the same directory twice":      {{dir("a"), npm("a", "a"), dir("a/")}},
	"the same path, different ways": {{npm("a", "first"), npm("./a", "second"), npm("/a//", "third"), npm("b/../a", "fourth")}},
	"the same layer twice":          {{npm("a", "a")}, {npm("a", "a")}, {gone("a")}, {npm("a", "a")}},
	"layers of nothing":             {{}, {npm("a", "a")}, {}, {}},

	"directories that are implied": {{npm("a/b/c/d/e", "e")}, {npm("a/b", "b")}, {dir("a"), dir("a/b"), dir("a/b/c")}},
	"dots and slashes":             {{npm("./a", "a"), npm("//b", "b"), npm("c/./d/../e", "e"), npm("../../f", "f"), dir("./"), dir("/")}},
	"names like patterns":          {{npm("[a]", "a"), npm("{b,c}", "b"), npm("*", "c"), npm("?", "d"), npm("\\x", "e"), npm("a**b", "f")}},
	"names that are not text":      {{npm("\xff\xfe", "a"), npm("ü", "b"), npm("a\nb", "c"), npm("\u202e", "d")}},
	"devices":                      {{{Header: tar.Header{Name: "a/package.json", Typeflag: tar.TypeFifo}}, {Header: tar.Header{Name: "b/package.json", Typeflag: tar.TypeBlock}}, npm("c", "c")}},
	"directory like a file":        {{dir("a/package.json"), npm("a/package.json", "a"), npm("b", "b")}},
	"type nobody knows":            {{{Header: tar.Header{Name: "a/package.json", Typeflag: 'Z'}}, npm("b", "b")}},

	"packages, more of them":    {{text("var/lib/dpkg/status", deb("zlib1g", "1")+deb("curl", "2"))}},
	"packages, fewer of them":   {{text("var/lib/dpkg/status", deb("curl", "2"))}, {text("var/lib/dpkg/status", deb("wget", "3")), text("usr/share/doc/wget/copyright", "License: GPL-2\n")}},
	"packages gone":             {{gone("var/lib/dpkg")}},
	"packages in parts":         {{text("var/lib/dpkg/status.d/a", deb("a", "1")), text("var/lib/dpkg/status.d/b", deb("b", "1"))}, {gone("var/lib/dpkg/status.d/a"), text("var/lib/dpkg/status.d/c", deb("c", "1")), text("var/lib/dpkg/status.d/c.md5sums", "0123  usr/bin/c\n")}},
	"packages through a link":   {{link("usr/lib/dpkg", "/var/lib/dpkg"), text("var/lib/dpkg/info/zlib1g.list", "/usr/lib/z\n"), text("usr/share/doc/zlib1g/copyright", "License: Zlib\n")}},
	"packages moved behind one": {{text("state/status", deb("a", "1")), gone("var/lib/dpkg"), link("var/lib/dpkg", "/state")}},
	"packages listed by a link": {{text("var/lib/dpkg/info/real", "/usr/lib/z\n"), link("var/lib/dpkg/info/zlib1g.list", "real"), link("usr/share/doc/zlib1g", "other"), text("usr/share/doc/other/copyright", "License: MIT\n")}},
	"Alpine in an upper layer":  {{text("etc/os-release", "ID=alpine\nVERSION_ID=3.18.4\n"), text("lib/apk/db/installed", "P:musl\nV:1.2.4-r1\nA:x86_64\nF:lib\nR:libc.so\n\n")}, {text("lib/apk/db/installed", "P:musl\nV:1.2.4-r2\nA:x86_64\nF:bin\nR:busybox\n\n"), busybox("bin/busybox", "1.36.1")}},
	"os-release by links":       {{text("usr/lib/os-release", "ID=debian\nVERSION_ID=11\n"), link("etc/os-release", "../usr/lib/os-release")}, {text("usr/lib/os-release", "ID=debian\nVERSION_ID=13\n")}},
	"os-release gone":           {{gone("etc/os-release"), gone("usr/lib/os-release")}},
	"Python, linked and linked": {{text("usr/lib/python3/dist-packages/six-1.16.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: six\nVersion: 1.16.0\n"), text("usr/lib/python3/dist-packages/six-1.16.0.dist-info/RECORD", "six.py,sha256=abc,10\n"), link("venv/lib", "/usr/lib/python3")}, {link("usr/lib/python3/dist-packages/copy.dist-info", "six-1.16.0.dist-info")}},
	"programs by other names":   {{busybox("opt/bb", "1.30.0"), link("bin/busybox", "/opt/bb"), link("sbin/busybox", "../bin/busybox")}, {busybox("opt/bb", "1.31.0")}},
	"a library in two places":   {{text("opt/app.war", "PK\x03\x04 not really"), link("srv/app.jar", "/opt/app.war")}},
	"Java and its programs": {{text("opt/java/release", "IMPLEMENTOR=\"Eclipse Adoptium\"\nJAVA_VERSION=\"17.0.9\"\nJAVA_RUNTIME_VERSION=\"17.0.9+9\"\nIMAGE_TYPE=\"JDK\"\n"), text("opt/java/bin/javac", "x"),
		text("opt/java/bin/java", "\x7fELF\x02\x01\x01\x00\x00openjdk\x00java\x000.0\x0017.0.9+9\x00"), link("usr/bin/java", "/opt/java/bin/java")}},
	"owned by two, one by a link": {{text("var/lib/dpkg/status", deb("a", "1")+deb("b", "1")), text("var/lib/dpkg/info/a.list", "/bin/busybox\n/usr/share/doc\n"),
		text("var/lib/dpkg/info/a.md5sums", "d41d8cd98f00b204e9800998ecf8427e  bin/busybox\n"), text("var/lib/dpkg/info/b.md5sums", "d41d8cd98f00b204e9800998ecf8427e  usr/bin/busybox\nd41d8cd98f00b204e9800998ecf8427e  usr/lib/node_modules/x/package.json\n"),
		busybox("usr/bin/busybox", "1.36.1"), link("bin", "usr/bin"), npm("usr/lib/node_modules/x", "x")}},
	"an image in an image": {{npm("rootfs/usr/lib/a", "a"), text("rootfs/var/lib/dpkg/status", deb("inner", "1")), link("rootfs/lib", "/usr/lib")}},
}

// links is a chain of symbolic links to a package.
func links(n int) []item {
	out := []item{npm("end", "a"), link("l0", "end")}
	for i := range n {
		out = append(out, link(fmt.Sprint("l", i+1), fmt.Sprint("l", i)))
	}
	return append(out, link("b/package.json", fmt.Sprintf("../l%d/package.json", n)))
}

// One cataloger for all, in an order that is another one each time: what was
// learned from one image must not show in the next.
func TestAwkwardImagesAreCataloguedAsStockDoes(t *testing.T) {
	c := cataloger(t).With(catalog.Options{TempDir: t.TempDir(), CacheDir: t.TempDir()}, 0)
	for name, layers := range awkward {
		t.Run(name, func(t *testing.T) {
			img := stack(t, layers...)
			sameAsStock(t, c, img, reference(t, img))
		})
	}
}

func TestSampleImageIsCataloguedAsStockDoes(t *testing.T) {
	img, err := sampleimage.Vulnerable()
	if err != nil {
		t.Fatal(err)
	}
	c := cataloger(t).With(catalog.Options{TempDir: t.TempDir(), CacheDir: t.TempDir()}, 0)
	sameAsStock(t, c, img, reference(t, img))
}

// Stock syft gives these images up.
func TestImagesThatStockCannotRead(t *testing.T) {
	for name, tt := range map[string]struct {
		layers [][]item
		want   []string
	}{
		"a file, then a directory": {[][]item{{text("a", "file"), dir("a"), npm("a", "a")}}, []string{"deb zlib1g 1:1.2.13.dfsg-1", "npm a 1.0.0"}},
		"a directory, then a file": {[][]item{{npm("a", "a"), text("a", "file"), npm("b", "b")}}, []string{"deb zlib1g 1:1.2.13.dfsg-1", "npm b 1.0.0"}},
		"a file in a file":         {[][]item{{text("a", "file"), npm("a/b", "b")}}, []string{"deb zlib1g 1:1.2.13.dfsg-1", "npm b 1.0.0"}},
		"whiteout of the root":     {[][]item{{npm("a", "a")}, {text(".wh..", ""), npm("b", "b")}}, []string{"deb zlib1g 1:1.2.13.dfsg-1", "npm a 1.0.0", "npm b 1.0.0"}},
		"entry for the root":       {[][]item{{text("..", "x"), npm("a", "a")}}, []string{"deb zlib1g 1:1.2.13.dfsg-1", "npm a 1.0.0"}},
	} {
		t.Run(name, func(t *testing.T) {
			doc := catalogue(t, stack(t, tt.layers...))
			if got := packages(t, doc); strings.Join(got, ",") != strings.Join(tt.want, ",") {
				t.Errorf("packages are %v, want %v", got, tt.want)
			}
		})
	}
}

// What was not kept is read again; when that fails, so does the image: it is not
// said to hold less.
func TestContentThatCannotBeReadAgain(t *testing.T) {
	// A name that is asked for, and an extension that is not kept.
	img := stack(t, []item{npm("a", "a"), link("b/package.json", "code.js"), text("b/code.js", `{"name":"b","version":"2.0.0"}`)})
	doc := catalogue(t, img)
	if got := packages(t, doc); strings.Join(got, ",") != "deb zlib1g 1:1.2.13.dfsg-1,npm a 1.0.0,npm b 2.0.0" {
		t.Errorf("packages are %v", got)
	}
	all, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	c := cataloger(t).With(catalog.Options{TempDir: t.TempDir()}, 0)
	_, err = c.Catalog(t.Context(), onceReadable{img, all}, reference(t, img))
	if !errs.Is(err, errs.Unavailable) {
		t.Errorf("Catalog returned %v", err)
	}
}

// onceReadable is an image whose registry goes after each layer was read.
type onceReadable struct {
	v1.Image
	layers []v1.Layer
}

func (o onceReadable) Layers() ([]v1.Layer, error) {
	var out []v1.Layer
	for _, l := range o.layers {
		out = append(out, &once{Layer: l})
	}
	return out, nil
}

type once struct {
	v1.Layer
	read bool
}

func (o *once) Compressed() (io.ReadCloser, error) {
	if o.read {
		return nil, errs.New(errs.Unavailable, "the registry is down")
	}
	o.read = true
	return o.Layer.Compressed()
}
