package layers

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

func gzipped(t testing.TB, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstandard(t testing.TB, content []byte, o ...zstd.EOption) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil, o...)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	return w.EncodeAll(content, nil)
}

// skippable is a frame of zstd that holds something else, such as an index.
func skippable(content string) []byte {
	frame := []byte{0x50, 0x2a, 0x4d, 0x18}
	frame = binary.LittleEndian.AppendUint32(frame, uint32(len(content)))
	return append(frame, content...)
}

// blob is a blob that says whether it was closed.
type blob struct {
	io.Reader
	closed chan struct{}
}

func newBlob(r io.Reader) *blob { return &blob{r, make(chan struct{})} }

func (b *blob) Close() error { close(b.closed); return nil }

func (b *blob) isClosed() bool {
	select {
	case <-b.closed:
		return true
	default:
		return false
	}
}

func unpackAll(t *testing.T, packed io.Reader) ([]byte, error) {
	t.Helper()
	b := newBlob(packed)
	defer func() {
		if !b.isClosed() {
			t.Error("the blob was not closed")
		}
	}()
	r, err := Decompress(b)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(r)
	for range 2 {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	return content, err
}

func TestDecompress(t *testing.T) {
	defer goleak.VerifyNone(t)
	content := pack(t, regular("a", strings.Repeat("0123456789", 100_000)))
	half := len(content) / 2
	for name, packed := range map[string][]byte{
		"not packed":                 content,
		"gzip":                       gzipped(t, content),
		"zstd":                       zstandard(t, content),
		"estargz":                    append(gzipped(t, content[:half]), gzipped(t, content[half:])...),
		"zstd:chunked":               bytes.Join([][]byte{zstandard(t, content[:half]), zstandard(t, content[half:]), skippable("the index")}, nil),
		"zstd after a frame to skip": append(skippable("first"), zstandard(t, content)...),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := unpackAll(t, bytes.NewReader(packed))
			if err != nil || !bytes.Equal(got, content) {
				t.Errorf("%d of %d bytes, %v", len(got), len(content), err)
			}
		})
	}
	t.Run("empty", func(t *testing.T) {
		if got, err := unpackAll(t, strings.NewReader("")); err != nil || len(got) != 0 {
			t.Errorf("%q, %v", got, err)
		}
	})
	t.Run("a byte", func(t *testing.T) {
		if got, err := unpackAll(t, strings.NewReader("x")); err != nil || string(got) != "x" {
			t.Errorf("%q, %v", got, err)
		}
	})
}

func TestDamagedBlobs(t *testing.T) {
	defer goleak.VerifyNone(t)
	content := pack(t, regular("a", strings.Repeat("0123456789", 100_000)))
	gz, zs := gzipped(t, content), zstandard(t, content, zstd.WithEncoderCRC(true))
	flipped := func(b []byte) []byte { c := bytes.Clone(b); c[len(c)-3] ^= 0xff; return c }
	down := errs.New(errs.RateLimited, "slow down")
	for name, tt := range map[string]struct {
		packed io.Reader
		kind   errs.Kind
	}{
		"gzip cut":                   {bytes.NewReader(gz[:len(gz)/2]), errs.Malformed},
		"gzip cut in its header":     {bytes.NewReader(gz[:5]), errs.Malformed},
		"gzip changed":               {bytes.NewReader(flipped(gz)), errs.Malformed},
		"gzip and garbage":           {io.MultiReader(bytes.NewReader(gz), strings.NewReader("garbage and more of it")), errs.Malformed},
		"zstd cut":                   {bytes.NewReader(zs[:len(zs)/2]), errs.Malformed},
		"zstd changed":               {bytes.NewReader(flipped(zs)), errs.Malformed},
		"zstd and garbage":           {io.MultiReader(bytes.NewReader(zs), strings.NewReader("garbage and more of it")), errs.Malformed},
		"zstd of a huge window":      {bytes.NewReader(hugeWindow()), errs.TooLarge},
		"registry fails at once":     {readerFunc(func([]byte) (int, error) { return 0, down }), errs.RateLimited},
		"registry fails in a header": {io.MultiReader(bytes.NewReader(gz[:5]), readerFunc(func([]byte) (int, error) { return 0, down })), errs.RateLimited},
		"registry fails later":       {io.MultiReader(bytes.NewReader(gz[:len(gz)/2]), readerFunc(func([]byte) (int, error) { return 0, down })), errs.RateLimited},
		"registry fails with zstd":   {io.MultiReader(bytes.NewReader(zs[:len(zs)/2]), readerFunc(func([]byte) (int, error) { return 0, down })), errs.RateLimited},
		"reader panics":              {readerFunc(func([]byte) (int, error) { panic("on purpose") }), errs.Malformed},
		"reader that gives nothing":  {readerFunc(func([]byte) (int, error) { return 0, nil }), errs.Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLayer(t, regular("x", "x"))
			l.key.DiffID = digestOf(content)
			s := openStore(t, Settings{})
			b := newBlob(tt.packed)
			_, err := s.Layer(t.Context(), l.key, func() (io.ReadCloser, error) { return Decompress(b) }, Unlimited{})
			checkKind(t, err, tt.kind)
			if !b.isClosed() {
				t.Error("the blob was not closed")
			}
		})
	}
}

// hugeWindow is the head of a zstd frame that asks for a gigabyte of memory.
func hugeWindow() []byte {
	const exponent = 20 // 2^(10+20)
	return append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, exponent << 3}, make([]byte, 100)...)
}

// A bomb is unpacked as far as limits let it.
func TestBombs(t *testing.T) {
	defer goleak.VerifyNone(t)
	zeros := pack(t, regular("zeros", strings.Repeat("\x00", 32<<20)))
	for name, packed := range map[string][]byte{"gzip": gzipped(t, zeros), "zstd": zstandard(t, zeros)} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, Settings{})
			key := Key{Blob: digestOf(packed), DiffID: digestOf(zeros)}
			_, err := s.Layer(t.Context(), key, func() (io.ReadCloser, error) { return Decompress(newBlob(bytes.NewReader(packed))) }, &limits{1 << 20, 10})
			checkKind(t, err, errs.TooLarge)
			if left := names(t, s.dir); len(left) != 0 {
				t.Errorf("%v is left", left)
			}
		})
	}
}

// Closing ends a read that is under way, in the registry's reader as well as in
// ours.
func TestCloseWhileReading(t *testing.T) {
	defer goleak.VerifyNone(t)
	waiting := make(chan struct{})
	b := newBlob(nil)
	b.Reader = io.MultiReader(bytes.NewReader(gzipped(t, make([]byte, 100))[:20]), readerFunc(func([]byte) (int, error) {
		close(waiting)
		<-b.closed
		return 0, errors.New("closed")
	}))
	r, err := Decompress(b)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		_, err := io.ReadAll(r)
		done <- err
	}()
	<-waiting
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; err == nil {
		t.Error("reading ended without an error")
	}
}
