package layers

import (
	"archive/tar"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

func TestLayerIsReadOnce(t *testing.T) {
	from := newLayer(t, regular("etc/os-release", "ID=debian"), regular("./usr/bin/tool", "\x7fELF tool"), entry{Header: tar.Header{Name: "etc/", Typeflag: tar.TypeDir, Mode: 0o755}})
	dir := t.TempDir()
	first := get(t, openStore(t, Settings{Dir: dir}), from)
	second := get(t, openStore(t, Settings{Dir: dir}), from)
	if first.Cached || !second.Cached || from.opened.Load() != 1 {
		t.Errorf("cached %v and %v, opened %d times", first.Cached, second.Cached, from.opened.Load())
	}
	if diff := cmp.Diff(first.Entries, second.Entries, cmp.AllowUnexported(Entry{})); diff != "" {
		t.Error(diff)
	}
	for _, l := range []*Layer{first, second} {
		if a, b := content(t, l, "/etc/os-release"), content(t, l, "/usr/bin/tool"); a != "ID=debian" || b != "\x7fELF tool" {
			t.Errorf("contents are %q and %q", a, b)
		}
	}
	if left := names(t, dir); len(left) != 1 {
		t.Errorf("besides the layer there is %v", left)
	}
}

func TestOneAtATimeReads(t *testing.T) {
	from := newLayer(t, regular("var/lib/dpkg/status", strings.Repeat("Package: a\n", 10000)))
	dir := t.TempDir()
	// Locks of files hold between stores as between processes.
	stores := []*Store{openStore(t, Settings{Dir: dir}), openStore(t, Settings{Dir: dir}), openStore(t, Settings{Dir: dir})}
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			l, err := stores[i%len(stores)].Layer(t.Context(), from.key, from.open, Unlimited{})
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = l.Close() }()
			if content(t, l, "/var/lib/dpkg/status") == "" {
				t.Error("no content")
			}
		})
	}
	wg.Wait()
	if n := from.opened.Load(); n != 1 {
		t.Errorf("the layer was read %d times", n)
	}
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	s := openStore(t, Settings{})
	from := newLayer(t, regular("a", "a"))
	reading, proceed := make(chan struct{}), make(chan struct{})
	done := make(chan error)
	go func() {
		_, err := s.Layer(t.Context(), from.key, func() (io.ReadCloser, error) {
			close(reading)
			<-proceed
			return from.open()
		}, Unlimited{})
		done <- err
	}()
	<-reading
	for name, other := range map[string]*Store{"same store": s, "other process": openStore(t, Settings{Dir: s.dir})} {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Millisecond, cancel)
		if _, err := other.Layer(ctx, from.key, from.open, Unlimited{}); !errs.Is(err, errs.Canceled) {
			t.Errorf("%s: waiting returned %v", name, err)
		}
	}
	close(proceed)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestKeyIsBothDigests(t *testing.T) {
	s := openStore(t, Settings{})
	a, b := newLayer(t, regular("a", "a")), newLayer(t, regular("b", "b"))
	get(t, s, a)
	// Another blob that claims a's content is read, and found out.
	if _, err := s.Layer(t.Context(), Key{Blob: b.key.Blob, DiffID: a.key.DiffID}, b.open, Unlimited{}); !errs.Is(err, errs.Malformed) {
		t.Errorf("another blob: %v", err)
	}
	if _, err := s.Layer(t.Context(), Key{Blob: a.key.Blob, DiffID: b.key.DiffID}, a.open, Unlimited{}); !errs.Is(err, errs.Malformed) {
		t.Errorf("another diffID: %v", err)
	}
	if a.opened.Load() != 2 || b.opened.Load() != 1 {
		t.Errorf("opened %d and %d times", a.opened.Load(), b.opened.Load())
	}
	if left := names(t, s.dir); len(left) != 1 {
		t.Errorf("what was refused left %v", left)
	}
}

func TestWithoutABlobNothingIsKept(t *testing.T) {
	s := openStore(t, Settings{})
	from := newLayer(t, regular("a.txt", "a"), regular("b.py", "b"))
	from.key.Blob = ""
	for range 2 {
		l := get(t, s, from)
		if content(t, l, "/a.txt") != "a" || content(t, l, "/b.py") != "b" {
			t.Error("contents are wrong")
		}
	}
	if left := names(t, s.dir); len(left) != 0 || from.opened.Load() != 4 {
		t.Errorf("%v is left, opened %d times", left, from.opened.Load())
	}
}

func TestDamageIsReadAgain(t *testing.T) {
	overwrite := func(t *testing.T, path string, at int64, text string) {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte(text), at); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		// Where clocks are coarse a write may not show.
		if err := os.Chtimes(path, time.Time{}, time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	try := func(t *testing.T, err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	tests := map[string]func(t *testing.T, dir string){
		"index changed":     func(t *testing.T, dir string) { overwrite(t, filepath.Join(dir, indexName), 30, "xxx") },
		"index cut":         func(t *testing.T, dir string) { try(t, os.Truncate(filepath.Join(dir, indexName), 20)) },
		"index empty":       func(t *testing.T, dir string) { try(t, os.Truncate(filepath.Join(dir, indexName), 0)) },
		"index of another":  func(t *testing.T, dir string) { overwrite(t, filepath.Join(dir, indexName), 0, "tidewaiter layer 1\n") },
		"index gone":        func(t *testing.T, dir string) { try(t, os.Remove(filepath.Join(dir, indexName))) },
		"contents changed":  func(t *testing.T, dir string) { overwrite(t, filepath.Join(dir, contentsName), 3, "x") },
		"contents cut":      func(t *testing.T, dir string) { try(t, os.Truncate(filepath.Join(dir, contentsName), 3)) },
		"contents gone":     func(t *testing.T, dir string) { try(t, os.Remove(filepath.Join(dir, contentsName))) },
		"everything gone":   func(t *testing.T, dir string) { try(t, os.RemoveAll(dir)) },
		"a file in between": func(t *testing.T, dir string) { try(t, os.RemoveAll(dir)); try(t, os.WriteFile(dir, nil, 0o600)) },
	}
	for name, damage := range tests {
		t.Run(name, func(t *testing.T) {
			from := newLayer(t, regular("etc/os-release", "ID=debian"))
			s := openStore(t, Settings{})
			get(t, s, from)
			damage(t, filepath.Join(s.dir, from.key.name(false)))
			for _, want := range []bool{false, true} {
				l := get(t, s, from)
				if got := content(t, l, "/etc/os-release"); got != "ID=debian" || l.Cached != want {
					t.Errorf("content is %q, cached %v", got, l.Cached)
				}
			}
			if n := from.opened.Load(); n != 2 {
				t.Errorf("opened %d times", n)
			}
			if left := names(t, s.dir); len(left) != 1 {
				t.Errorf("%v is left", left)
			}
		})
	}
}

// A reader of another process may have a layer open that is thrown away.
func TestOpenLayersOutliveTheirFiles(t *testing.T) {
	from := newLayer(t, regular("etc/os-release", "ID=debian"))
	s := openStore(t, Settings{})
	l := get(t, s, from)
	s.discard(from.key.name(false))
	if got := content(t, l, "/etc/os-release"); got != "ID=debian" {
		t.Errorf("content is %q", got)
	}
}

func TestContentThatWasNotKept(t *testing.T) {
	from := newLayer(t, regular("etc/os-release", "ID=debian"), regular("usr/lib/a.py", "print()"), regular("usr/lib/b.py", "pass"))
	s := openStore(t, Settings{})
	l := get(t, s, from)
	if l.Missed() {
		t.Error("a miss before anything was asked for")
	}
	if a, b := content(t, l, "/usr/lib/a.py"), content(t, l, "/usr/lib/b.py"); a != "print()" || b != "pass" {
		t.Errorf("contents are %q and %q", a, b)
	}
	if got, most := l.Written(), 2*l.Bytes+100; got <= l.Bytes || got > most {
		t.Errorf("%d bytes were written, of the layer itself %d", got, l.Bytes)
	}
	if !l.Missed() || from.opened.Load() != 2 {
		t.Errorf("missed is %v, opened %d times", l.Missed(), from.opened.Load())
	}
	// What was read again is kept as well.
	again := get(t, s, from)
	if got := content(t, again, "/usr/lib/b.py"); got != "pass" || from.opened.Load() != 2 {
		t.Errorf("content is %q, opened %d times", got, from.opened.Load())
	}
}

func TestSecondReadingFails(t *testing.T) {
	from := newLayer(t, regular("usr/lib/a.py", "print()"))
	s := openStore(t, Settings{})
	l := get(t, s, from)
	from.fail.Store(true)
	for range 2 {
		_, err := l.Open(0)
		checkKind(t, err, errs.Unavailable)
	}
	if n := from.opened.Load(); n != 2 {
		t.Errorf("opened %d times", n)
	}
}

func TestLimitsCountWhatIsKept(t *testing.T) {
	from := newLayer(t, regular("a", "a"), regular("b", "b"), regular("c", "c"))
	for name, tt := range map[string]struct {
		limits limits
		kind   errs.Kind
	}{
		"within":           {limits{1 << 20, 3}, ""},
		"too many entries": {limits{1 << 20, 2}, errs.TooLarge},
		"too many bytes":   {limits{1000, 100}, errs.TooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, Settings{})
			cold := tt.limits
			_, err := s.Layer(t.Context(), from.key, from.open, &cold)
			checkKind(t, err, tt.kind)
			get(t, s, from)
			_, err = s.Layer(t.Context(), from.key, from.open, &tt.limits)
			checkKind(t, err, tt.kind)
		})
	}
}

func TestRefusedContentLeavesNothing(t *testing.T) {
	from := newLayer(t, regular("a", "a"))
	other := newLayer(t, regular("b", "b"))
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, tt := range map[string]struct {
		ctx    context.Context
		source Source
		kind   errs.Kind
	}{
		"other content": {t.Context(), other.open, errs.Malformed},
		"cut": {t.Context(), func() (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(string(from.tar[:700]))), nil
		}, errs.Malformed},
		"no tar":   {t.Context(), func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(strings.Repeat("x", 2000))), nil }, errs.Malformed},
		"failing":  {t.Context(), func() (io.ReadCloser, error) { return nil, errs.New(errs.RateLimited, "slow down") }, errs.RateLimited},
		"canceled": {canceled, from.open, errs.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, Settings{})
			_, err := s.Layer(tt.ctx, from.key, tt.source, Unlimited{})
			checkKind(t, err, tt.kind)
			if left := names(t, s.dir); len(left) != 0 {
				t.Errorf("%v is left", left)
			}
			get(t, s, from)
		})
	}
}

func TestTemporaryStores(t *testing.T) {
	parent := t.TempDir()
	s, err := OpenTemporary(parent, 0)
	if err != nil {
		t.Fatal(err)
	}
	from := newLayer(t, regular("a", "a"))
	l := get(t, s, from)
	SweepTemporary(parent)
	if content(t, l, "/a") != "a" || len(names(t, parent)) != 1 {
		t.Error("a store in use was swept")
	}
	s.Close()
	if left := names(t, parent); len(left) != 0 {
		t.Errorf("%v is left", left)
	}
	if _, err := OpenTemporary(filepath.Join(parent, "none"), 0); !errs.Is(err, errs.Unavailable) || strings.Contains(err.Error(), parent) {
		t.Errorf("without a directory: %v", err)
	}
}
