package layers

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// regular is a regular file of a tar.
func regular(name, content string) entry {
	return entry{tar.Header{Name: name, Size: int64(len(content))}, content}
}

type entry struct {
	tar.Header
	content string
}

// pack writes a tar.
func pack(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if e.Typeflag == 0 {
			e.Typeflag = tar.TypeReg
		}
		if e.Mode == 0 {
			e.Mode = 0o644
		}
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func digestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// layer is what a registry would have: a key and a stream, which counts how often
// it is opened.
type layer struct {
	key    Key
	tar    []byte
	opened atomic.Int32
	fail   atomic.Bool
}

func newLayer(t testing.TB, entries ...entry) *layer {
	content := pack(t, entries...)
	return &layer{key: Key{Blob: digestOf(append([]byte("packed "), content...)), DiffID: digestOf(content)}, tar: content}
}

func (l *layer) open() (io.ReadCloser, error) {
	l.opened.Add(1)
	if l.fail.Load() {
		return nil, errs.New(errs.Unavailable, "the registry is down")
	}
	return io.NopCloser(bytes.NewReader(l.tar)), nil
}

func openStore(t testing.TB, settings Settings) *Store {
	t.Helper()
	if settings.Dir == "" {
		settings.Dir = t.TempDir()
	}
	s, err := Open(settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// get asks a store for a layer.
func get(t testing.TB, s *Store, from *layer) *Layer {
	t.Helper()
	l, err := s.Layer(t.Context(), from.key, from.open, Unlimited{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// content reads the entry with a path.
func content(t testing.TB, l *Layer, path string) string {
	t.Helper()
	for i, e := range l.Entries {
		if e.Path != path {
			continue
		}
		r, err := l.Open(i)
		if err != nil {
			t.Fatalf("open %s: %v", path, err)
		}
		defer func() { _ = r.Close() }()
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatalf("read %s: %v", path, err)
		}
		return string(b)
	}
	t.Fatalf("no entry %s", path)
	return ""
}

// names lists what is in a directory.
func names(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// limits refuse beyond their numbers.
type limits struct{ bytes, entries int64 }

func (l *limits) Read(n int64) error {
	if l.bytes -= n; l.bytes < 0 {
		return errs.New(errs.TooLarge, "too many bytes")
	}
	return nil
}

func (l *limits) Entry(n int64) error {
	if l.entries -= n; l.entries < 0 {
		return errs.New(errs.TooLarge, "too many entries")
	}
	return nil
}

func checkKind(t testing.TB, err error, want errs.Kind) {
	t.Helper()
	if got := errs.KindOf(err); got != want {
		t.Errorf("error is %q of kind %q, want kind %q", fmt.Sprint(err), got, want)
	}
}
