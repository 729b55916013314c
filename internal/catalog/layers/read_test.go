package layers

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// pass reads a tar into a directory and loads what was written.
func readTar(t *testing.T, content []byte, l Limits) (*Layer, index, error) {
	t.Helper()
	dir := t.TempDir()
	noRoomNeeded := func() error { return nil }
	if err := read(t.Context(), bytes.NewReader(content), digestOf(content), l, noRoomNeeded, false, dir); err != nil {
		return nil, index{}, err
	}
	layer, x, err := load(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = layer.Close() })
	return layer, x, nil
}

func mustRead(t *testing.T, content []byte) *Layer {
	t.Helper()
	l, _, err := readTar(t, content, Unlimited{})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestEntriesAreWrittenDown(t *testing.T) {
	l := mustRead(t, pack(t,
		entry{Header: tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755}},
		entry{Header: tar.Header{Name: "etc/", Typeflag: tar.TypeDir, Mode: 0o755, Uid: 1, Gid: 2}},
		entry{tar.Header{Name: "etc/os-release", Size: 9}, "ID=debian"},
		entry{Header: tar.Header{Name: "/etc/empty"}},
		entry{Header: tar.Header{Name: "bin", Typeflag: tar.TypeSymlink, Linkname: "usr/bin"}},
		entry{Header: tar.Header{Name: "etc/hard", Typeflag: tar.TypeLink, Linkname: "etc/os-release"}},
		entry{Header: tar.Header{Name: "dev/null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}},
		entry{Header: tar.Header{Name: "run/fifo", Typeflag: tar.TypeFifo}},
		entry{tar.Header{Name: "../../etc/passwd", Size: 4}, "root"},
		entry{Header: tar.Header{Name: ".."}},
		entry{tar.Header{Name: "bad\xff\xfename", Size: 1}, "x"},
	))
	want := []Entry{
		{Path: "/", Type: tar.TypeDir},
		{Path: "/etc", Type: tar.TypeDir, UID: 1, GID: 2},
		{Path: "/etc/os-release", Type: tar.TypeReg, Size: 9, MIME: "text/plain"},
		{Path: "/etc/empty", Type: tar.TypeReg},
		{Path: "/bin", Link: "usr/bin", Type: tar.TypeSymlink},
		{Path: "/etc/hard", Link: "etc/os-release", Type: tar.TypeLink},
		{Path: "/dev/null", Type: tar.TypeChar},
		{Path: "/run/fifo", Type: tar.TypeFifo},
		{Path: "/etc/passwd", Type: tar.TypeReg, Size: 4, MIME: "text/plain"},
		{Path: "/", Type: tar.TypeReg},
		{Path: "/bad\xff\xfename", Type: tar.TypeReg, Size: 1, MIME: "text/plain"},
	}
	if diff := cmp.Diff(want, l.Entries, cmpopts.IgnoreFields(Entry{}, "Mode", "at", "length")); diff != "" {
		t.Error(diff)
	}
	if got := content(t, l, "/etc/passwd") + content(t, l, "/etc/empty") + content(t, l, "/dev/null"); got != "root" {
		t.Errorf("contents are %q", got)
	}
	if m := l.Entries[1].FileInfo(); !m.IsDir() || m.Name() != "etc" || m.Mode().Perm() != 0o755 {
		t.Errorf("info is %v", m)
	}
}

// What no file system could hold costs itself.
func TestEntriesThatAreLeftOut(t *testing.T) {
	for name, header := range map[string]tar.Header{
		"long name":       {Name: strings.Repeat("x", 100_000)},
		"deep name":       {Name: strings.Repeat("d/", 100_000) + "f"},
		"long link":       {Name: "l", Typeflag: tar.TypeSymlink, Linkname: strings.Repeat("x", 100_000)},
		"deep, but short": {Name: strings.Repeat("d/", 100) + strings.Repeat("../", 200) + strings.Repeat("y", 5000)},
	} {
		t.Run(name, func(t *testing.T) {
			l := mustRead(t, pack(t, regular("a", "a"), entry{Header: header}, regular("b", "b")))
			if len(l.Entries) != 2 || l.Skipped != 1 || content(t, l, "/b") != "b" {
				t.Errorf("%d entries, %d skipped", len(l.Entries), l.Skipped)
			}
		})
	}
}

func TestDamagedTars(t *testing.T) {
	good := pack(t, regular("a", strings.Repeat("a", 2000)), regular("b", "b"))
	broken := bytes.Clone(good)
	copy(broken[124:136], "99999999999\x00") // the size of a
	huge := pax(t, "path="+strings.Repeat("x", 2<<20))
	for name, content := range map[string][]byte{
		"no tar":             []byte(strings.Repeat("no tar ", 500)),
		"cut in a file":      good[:1500],
		"cut in a header":    good[:3000],
		"changed header":     broken,
		"record of 2 MiB":    huge,
		"record with NUL":    pax(t, "path=a\x00b"),
		"record without end": pax(t, "x"),
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := readTar(t, content, Unlimited{})
			checkKind(t, err, errs.Malformed)
		})
	}
}

// pax writes a tar of an extended header with one record, by hand: archive/tar
// does not write bad ones.
func pax(t *testing.T, record string) []byte {
	t.Helper()
	text := record
	if strings.Contains(record, "=") {
		for n := 0; len(text) != n; {
			n = len(text)
			text = fmt.Sprintf("%d %s\n", n, record)
		}
	}
	content := pack(t, entry{tar.Header{Name: "PaxHeaders/x", Size: int64(len(text))}, text}, regular("x", "x"))
	content[156] = tar.TypeXHeader
	return resum(content)
}

// resum writes the checksum of the first header again.
func resum(content []byte) []byte {
	copy(content[148:156], "        ")
	sum := 0
	for _, b := range content[:512] {
		sum += int(b)
	}
	copy(content[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return content
}

// sparse is a tar of a sparse file of this size, all of it a hole.
func sparse(t *testing.T, size int64) []byte {
	t.Helper()
	return sparseNamed(t, "var/log/lastlog", size)
}

func sparseNamed(t *testing.T, name string, size int64) []byte {
	t.Helper()
	// Format 0.1: the map is in the records.
	h := tar.Header{Name: name, Format: tar.FormatPAX, PAXRecords: map[string]string{"TIDEWAITER.x": "y"}}
	content := pack(t, entry{Header: h}, regular("b", "b"))
	records := record("GNU.sparse.size", fmt.Sprint(size)) + record("GNU.sparse.numblocks", "1") + record("GNU.sparse.map", fmt.Sprintf("%d,0", size))
	header := content[:512]
	copy(header[124:136], fmt.Sprintf("%011o\x00", len(records)))
	body := make([]byte, (len(records)+511)/512*512)
	copy(body, records)
	return append(append(resum(header), body...), content[1024:]...)
}

func record(key, value string) string {
	text := key + "=" + value
	line := ""
	for n := 0; len(line) != n || n == 0; {
		n = len(line)
		line = fmt.Sprintf("%d %s\n", n, text)
	}
	return line
}

func TestSparseFiles(t *testing.T) {
	t.Run("exabytes", func(t *testing.T) {
		l := mustRead(t, sparse(t, 1<<60))
		if len(l.Entries) != 2 || l.Skipped != 1 || content(t, l, "/var/log/lastlog") != "" || content(t, l, "/b") != "b" {
			t.Errorf("%d entries, %d skipped", len(l.Entries), l.Skipped)
		}
		if l.Entries[0].Size != 1<<60 || l.Bytes > 1<<20 {
			t.Errorf("the size is %d, %d bytes are kept", l.Entries[0].Size, l.Bytes)
		}
	})
	t.Run("a megabyte", func(t *testing.T) {
		l, x, err := readTar(t, sparse(t, 1<<20), Unlimited{})
		if err != nil {
			t.Fatal(err)
		}
		if got := content(t, l, "/var/log/lastlog"); got != strings.Repeat("\x00", 1<<20) {
			t.Errorf("content has %d bytes", len(got))
		}
		if x.bytes < 1<<20 || x.bytes > 1<<20+8192 {
			t.Errorf("%d bytes counted", x.bytes)
		}
	})
	for name, tt := range map[string]struct {
		limit int64
		kind  errs.Kind
	}{"counts against the limit": {1 << 19, errs.TooLarge}, "just enough": {2 << 20, ""}} {
		t.Run(name, func(t *testing.T) {
			_, _, err := readTar(t, sparse(t, 1<<20), &limits{tt.limit, 100})
			checkKind(t, err, tt.kind)
			// Not kept, it may still be asked for.
			_, _, err = readTar(t, sparseNamed(t, "srv/page.js", 1<<20), &limits{tt.limit, 100})
			checkKind(t, err, tt.kind)
		})
	}
}

func TestLimitsEndTheReading(t *testing.T) {
	many := make([]entry, 1000)
	for i := range many {
		many[i] = regular(fmt.Sprint("f", i), "")
	}
	for name, tt := range map[string]struct {
		content []byte
		limits  limits
		kind    errs.Kind
	}{
		"bytes of files":   {pack(t, regular("a.py", strings.Repeat("a", 1<<20))), limits{1 << 19, 10}, errs.TooLarge},
		"bytes behind it":  {append(pack(t, regular("a", "a")), make([]byte, 1<<20)...), limits{1 << 19, 10}, errs.TooLarge},
		"entries":          {pack(t, many...), limits{1 << 30, 999}, errs.TooLarge},
		"just enough":      {pack(t, many...), limits{1 << 30, 1000}, ""},
		"deep paths count": {pack(t, regular(strings.Repeat("d/", 1000)+"f", "")), limits{1 << 30, 900}, errs.TooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := readTar(t, tt.content, &tt.limits)
			checkKind(t, err, tt.kind)
		})
	}
}

func TestReadingEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	endless := readerFunc(func(p []byte) (int, error) {
		cancel()
		clear(p)
		return len(p), nil
	})
	first := bytes.NewReader(pack(t, regular("a", strings.Repeat("a", 5000)))[:2048])
	err := read(ctx, io.MultiReader(first, endless), "", Unlimited{}, func() error { return nil }, false, t.TempDir())
	checkKind(t, err, errs.Canceled)
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestNoDirectoryToReadInto(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	err := read(t.Context(), strings.NewReader(""), "", Unlimited{}, func() error { return nil }, false, dir)
	checkKind(t, err, errs.Unavailable)
	if err != nil && strings.Contains(err.Error(), dir) {
		t.Errorf("the error names a path of this machine: %v", err)
	}
}

func TestWhatIsKept(t *testing.T) {
	elf := "\x7fELF\x02\x01\x01\x00" + strings.Repeat("\x00", 56)
	for path, want := range map[string]bool{
		"var/lib/dpkg/status": true, "etc/os-release": true, "usr/share/doc/curl/copyright": true,
		"app/node_modules/a/package.json": true, "app/node_modules/a/index.js": false,
		"usr/lib/python3/a.py": false, "usr/lib/python3/a.dist-info/METADATA": true, "setup.py": true,
		"opt/app.jar": true, "usr/share/man/man1/curl.1": false, "usr/share/locale/de.mo": false,
		"usr/lib/modules/6.1/a.ko.xz": true, "usr/share/pixmaps/python3.11.xpm": true, "app/vendor.tar.gz": true, "app/data.gz": false,
	} {
		l := mustRead(t, pack(t, regular(path, "text"), regular("elf/"+path, elf)))
		if l.Entries[0].Kept() != want {
			t.Errorf("%s: kept is %v", path, !want)
		}
		if !l.Entries[1].Kept() {
			t.Errorf("a program called %s is not kept", path)
		}
	}
}
