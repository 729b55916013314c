package catalog

import (
	"archive/tar"
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestTarCounter(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	random := rand.New(rand.NewPCG(1, 2))
	const files = 200
	for i := range files {
		h := &tar.Header{Name: fmt.Sprintf("%s/%d", bytes.Repeat([]byte("d"), random.IntN(90)), i), Size: random.Int64N(3000), Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
		if i%7 == 0 {
			h.Typeflag, h.Size, h.Linkname = tar.TypeSymlink, 0, "x"
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		content := make([]byte, h.Size)
		for i := range content {
			content[i] = byte(random.UintN(256))
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if n := readerCount(b.Bytes()); n != files {
		t.Fatalf("the archive has %d entries, want %d", n, files)
	}
	checkCount(t, b.Bytes())
}

// TestTarCounterReadsAsArchiveTar has archives in which the size field of a
// header is not the size of what follows.
func TestTarCounterReadsAsArchiveTar(t *testing.T) {
	const eightGiB = 8<<30 - 1 // the most that fits the field
	var files []byte
	for i := range 50 {
		files = append(files, rawHeader(fmt.Sprint("f", i), tar.TypeReg, 0)...)
	}
	base256 := rawHeader("binary", tar.TypeReg, 0)
	copy(base256[124:136], "\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00") // 512
	negative := rawHeader("negative", tar.TypeReg, 0)
	copy(negative[124:136], bytes.Repeat([]byte{0xff}, 12))
	block := make([]byte, 512)
	sparse := rawHeader("sparse", tar.TypeGNUSparse, 512)
	copy(sparse[257:], "ustar  \x00")
	copy(sparse[386:], "00000000000\x0000000001000\x00")
	copy(sparse[483:], "00000001000\x00")
	tests := []struct {
		name    string
		before  [][]byte
		entries int64 // with the 50 files
	}{
		{"nothing before", nil, 50},
		{"PAX size of 0", [][]byte{pax(tar.TypeXHeader, "size", "0"), rawHeader("a", tar.TypeReg, eightGiB)}, 51},
		{"PAX size of a block", [][]byte{pax(tar.TypeXHeader, "size", "512"), rawHeader("a", tar.TypeReg, 0), block}, 51},
		{"PAX size that is negative", [][]byte{pax(tar.TypeXHeader, "size", "-1"), rawHeader("a", tar.TypeReg, 0)}, 0},
		{"PAX size of a directory", [][]byte{pax(tar.TypeXHeader, "size", "99999999999"), rawHeader("a", tar.TypeDir, 0)}, 51},
		{"PAX path of a directory", [][]byte{pax(tar.TypeXHeader, "path", "d/"), rawHeader("a", 0, eightGiB)}, 51},
		{"global PAX size", [][]byte{pax(tar.TypeXGlobalHeader, "size", "99999999999")}, 51},
		{"GNU long name of a directory", [][]byte{rawHeader("x", tar.TypeGNULongName, 3), padded("d/\x00"), rawHeader("a", 0, eightGiB)}, 51},
		{"old directory with a size", [][]byte{rawHeader("d/", 0, eightGiB)}, 51},
		{"directory with a size", [][]byte{rawHeader("d", tar.TypeDir, eightGiB)}, 51},
		{"link with a size", [][]byte{rawHeader("l", tar.TypeLink, eightGiB)}, 51},
		{"unknown type with a size", [][]byte{rawHeader("u", 'Q', 512), block}, 51},
		{"binary size", [][]byte{checksummed(base256), block}, 51},
		{"negative size", [][]byte{checksummed(negative)}, 0},
		{"old sparse file", [][]byte{checksummed(sparse), block}, 51},
		{"PAX sparse file", [][]byte{
			pax(tar.TypeXHeader, "GNU.sparse.major", "1", "GNU.sparse.minor", "0", "GNU.sparse.realsize", "99999999999"),
			rawHeader("s", tar.TypeReg, 1024), padded("1\n0\n512\n"), block,
		}, 51},
		{"file as large as the rest", [][]byte{rawHeader("a", tar.TypeReg, 50*512)}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			archive := append(bytes.Join(tt.before, nil), files...)
			archive = append(archive, make([]byte, 1024)...)
			if n := readerCount(archive); n != tt.entries {
				t.Errorf("archive/tar finds %d entries, want %d", n, tt.entries)
			}
			checkCount(t, archive)
		})
	}
}

func TestTarCounterStops(t *testing.T) {
	var c tarCounter
	c.stop() // not started
	header := rawHeader("f", tar.TypeReg, 0)
	if n := c.count(append(header, header[:100]...)); n != 1 {
		t.Errorf("%d entries, want 1", n)
	}
	c.stop()
	if n := c.count(header[100:]); n != 0 {
		t.Errorf("%d entries after the end, want none", n)
	}
	c.stop()
}

// checkCount compares the count of an archive in pieces with archive/tar's.
func checkCount(t *testing.T, archive []byte) {
	t.Helper()
	want := readerCount(archive)
	for _, piece := range []int{1, 7, 512, 1000, len(archive)} {
		var c tarCounter
		var n int64
		for p := range slices.Chunk(archive, piece) {
			n += c.count(p)
		}
		c.stop()
		if n != want {
			t.Errorf("in pieces of %d: %d entries, archive/tar finds %d", piece, n, want)
		}
	}
}

// readerCount is how many entries archive/tar finds.
func readerCount(archive []byte) (n int64) {
	for r := tar.NewReader(bytes.NewReader(archive)); ; n++ {
		if _, err := r.Next(); err != nil {
			return n
		}
	}
}

// rawHeader is a header block that says what it is told to.
func rawHeader(name string, typeflag byte, size int64) []byte {
	block := make([]byte, 512)
	copy(block, name)
	copy(block[100:], "0000644\x000000000\x000000000\x00")
	copy(block[124:], fmt.Sprintf("%011o\x00%011o\x00", size, 0))
	block[156] = typeflag
	copy(block[257:], "ustar\x0000")
	return checksummed(block)
}

func checksummed(block []byte) []byte {
	copy(block[148:156], "        ")
	sum := 0
	for _, b := range block {
		sum += int(b)
	}
	copy(block[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return block
}

// pax is an extended header with keys and values.
func pax(typeflag byte, records ...string) []byte {
	var content string
	for i := 0; i < len(records); i += 2 {
		line := " " + records[i] + "=" + records[i+1] + "\n"
		size := len(line) + 2 // of two digits
		content += fmt.Sprint(size) + line
	}
	return append(rawHeader("pax", typeflag, int64(len(content))), padded(content)...)
}

func padded(content string) []byte {
	return append([]byte(content), make([]byte, (512-len(content)%512)%512)...)
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{32 << 30: "32 GiB", 1<<20 + 1<<19: "1.5 MiB", 2048: "2 KiB", 7: "7 bytes"} {
		if got := size(n); got != want {
			t.Errorf("size(%d) is %q, want %q", n, got, want)
		}
	}
}

func TestDeepPathsCountForTheParentsTheyMake(t *testing.T) {
	for _, c := range []struct {
		name     string
		path     string
		min, max int64
	}{
		{"ordinary", "usr/lib/python3/dist-packages/x/y/z.py", 0, 0},
		{"as long and deep as a file system allows", strings.Repeat("a/", 2047), 100, 2000},
		{"a megabyte of parents is over every limit", strings.Repeat("a/", 1<<19), 10_000_000, 1 << 40},
	} {
		if got := depth(c.path); got < c.min || got > c.max {
			t.Errorf("%s: counts %d, want %d to %d", c.name, got, c.min, c.max)
		}
	}
}
