package vulndb

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/klauspost/compress/zstd"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// TestHostileArchives unpacks what an attacker who controls a mirror, or the
// file a person was told to import, could send.
func TestHostileArchives(t *testing.T) {
	const name = v6.VulnerabilityDBFileName
	db := append([]byte(nil), sqliteMagic...)
	link := func(kind byte, name, target string) tarEntry {
		return tarEntry{Header: tar.Header{Name: name, Linkname: target, Typeflag: kind, Mode: 0o777}}
	}
	var many []tarEntry
	for i := range maxEntries + 1 {
		many = append(many, file("f"+strconv.Itoa(i), nil))
	}
	tests := []struct {
		name string
		raw  []byte
		kind errs.Kind
		word string
	}{
		{"path above", tarball(t, file("../"+name, db)), errs.Malformed, "leaves its directory"},
		{"absolute path", tarball(t, file("/tmp/"+name, db)), errs.Malformed, "leaves its directory"},
		{"path above, of another file", tarball(t, file("x/../../evil", nil), file(name, db)), errs.Malformed, "leaves its directory"},
		{"backslashes", tarball(t, file(`..\..\`+name, db)), errs.Malformed, "leaves its directory"},
		{"symbolic link", tarball(t, link(tar.TypeSymlink, name, "/etc/passwd")), errs.Malformed, "neither a file nor a directory"},
		{"hard link", tarball(t, link(tar.TypeLink, name, "/etc/passwd")), errs.Malformed, "neither a file nor a directory"},
		{"device", tarball(t, link(tar.TypeChar, name, "")), errs.Malformed, "neither a file nor a directory"},
		{"link before the file", tarball(t, link(tar.TypeSymlink, "d", "/tmp"), file("d/"+name, db)), errs.Malformed, "neither a file nor a directory"},
		{"two databases", tarball(t, file(name, db), file("d/"+name, db)), errs.Malformed, "more than one"},
		{"no database", tarball(t, file("readme", []byte("hello"))), errs.Malformed, "holds no"},
		{"many entries", tarball(t, many...), errs.Malformed, "more than 64"},
		{"empty archive", tarball(t), errs.Malformed, "neither"},
		{"too large", gzipped(t, tarball(t, file(name, make([]byte, 1<<20)))), errs.TooLarge, "larger"},
		{"too much beside it", gzipped(t, tarball(t, file("x", make([]byte, 3<<20)), file(name, db))), errs.TooLarge, "larger"},
		{"too much behind it", append(gzipped(t, tarball(t, file(name, db))), gzipped(t, make([]byte, 3<<20))...), errs.TooLarge, "larger"},
		{"zstd window beyond memory", wideWindow, errs.Malformed, "window"},
		{"damaged compression", damaged(gzipped(t, tarball(t, file(name, make([]byte, 1000))))), errs.Malformed, "unpack"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			_, err := unpacker{ctx: t.Context(), limit: 1 << 16}.unpack(bytes.NewReader(tt.raw), filepath.Join(dir, "out"))
			wantKind(t, err, tt.kind, tt.word)
			wantSmall(t, dir)
		})
	}
}

// wantSmall fails when more than the limit, or anything beside the one file,
// was written.
func wantSmall(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if e.Name() != "out" || info.Size() > 1<<16 {
			t.Errorf("wrote %s, %d bytes", e.Name(), info.Size())
		}
	}
}

// wideWindow is the head of a zstd frame that asks for a window of 512 GB.
var wideWindow = append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 29 << 3, 0x01, 0x00, 0x00}, make([]byte, 64)...)

// damaged changes a byte of the checksum at the end.
func damaged(raw []byte) []byte {
	raw[len(raw)-6] ^= 0xff
	return raw
}

// TestSparseEntry: an entry with holes gives more bytes than its archive has.
func TestSparseEntry(t *testing.T) {
	const size = 1 << 40
	records := map[string]string{
		"GNU.sparse.major": "1", "GNU.sparse.minor": "0",
		"GNU.sparse.name": v6.VulnerabilityDBFileName, "GNU.sparse.realsize": strconv.Itoa(size),
	}
	var pax strings.Builder
	for _, k := range []string{"GNU.sparse.major", "GNU.sparse.minor", "GNU.sparse.name", "GNU.sparse.realsize"} {
		line := " " + k + "=" + records[k] + "\n"
		n := len(line) + 2
		pax.WriteString(strconv.Itoa(n) + line)
	}
	content := make([]byte, 512)
	copy(content, "1\n"+strconv.Itoa(size)+"\n0\n") // one hole, no data
	raw := tarball(t,
		tarEntry{tar.Header{Name: "x", Typeflag: tar.TypeReg, Size: int64(pax.Len()), Format: tar.FormatUSTAR}, []byte(pax.String())},
		tarEntry{tar.Header{Name: "x", Typeflag: tar.TypeReg, Size: 512, Format: tar.FormatUSTAR}, content})
	raw[156] = 'x' // make the first entry the extended header of the second
	fixChecksum(raw[:512])
	if h, err := tar.NewReader(bytes.NewReader(raw)).Next(); err != nil || h.Size != size {
		t.Fatalf("the test's archive is not what it should be: %+v, %v", h, err)
	}
	_, err := unpacker{ctx: t.Context(), limit: 1 << 16}.unpack(bytes.NewReader(raw), filepath.Join(t.TempDir(), "out"))
	wantKind(t, err, errs.TooLarge, "larger")
}

// fixChecksum writes the checksum of a tar header.
func fixChecksum(block []byte) {
	copy(block[148:156], "        ")
	sum := 0
	for _, b := range block {
		sum += int(b)
	}
	copy(block[148:156], strconv.FormatInt(int64(sum), 8)+"\x00 ")
}

// TestUnpackNeedsNoProgram: the archive Build writes is read by a plain decoder.
func TestUnpackNeedsNoProgram(t *testing.T) {
	f, err := os.Open(buildSample(t, "a.tar.zst").Archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := zstd.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	r := tar.NewReader(z)
	h, err := r.Next()
	if err != nil || h.Name != v6.VulnerabilityDBFileName || !h.ModTime.Equal(sampleDate) {
		t.Fatalf("first entry %+v, %v", h, err)
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("a second entry: %v", err)
	}
}
