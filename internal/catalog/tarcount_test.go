package catalog

import (
	"archive/tar"
	"bytes"
	"fmt"
	"math/rand/v2"
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
	for _, piece := range []int{1, 7, 512, 1000, b.Len()} {
		var c tarCounter
		var n int64
		for rest := b.Bytes(); len(rest) > 0; {
			size := min(piece, len(rest))
			n += c.count(rest[:size])
			rest = rest[size:]
		}
		if n != files {
			t.Errorf("in pieces of %d: %d entries, want %d", piece, n, files)
		}
	}
}

func TestTarCounterTakesLargeSizes(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "large", Size: 20 << 30, Typeflag: tar.TypeReg, Format: tar.FormatGNU}); err != nil {
		t.Fatal(err)
	}
	var c tarCounter
	if n := c.count(b.Bytes()); n != 1 || c.skip != 20<<30 {
		t.Errorf("%d entries, %d bytes to skip", n, c.skip)
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{32 << 30: "32 GiB", 1<<20 + 1<<19: "1.5 MiB", 2048: "2 KiB", 7: "7 bytes"} {
		if got := size(n); got != want {
			t.Errorf("size(%d) is %q, want %q", n, got, want)
		}
	}
}
