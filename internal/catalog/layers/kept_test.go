package layers

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// pass is what another process would do.
func (l *layer) pass(everything bool) Pass {
	return func(ctx context.Context, dir string) error {
		l.opened.Add(1)
		return Read(ctx, bytes.NewReader(l.tar), l.key.DiffID, Unlimited{}, everything, dir)
	}
}

func TestKeptIsWhatIsRead(t *testing.T) {
	from := newLayer(t, regular("etc/os-release", "ID=debian"), regular("usr/lib/x.py", "print()"))
	s := openStore(t, Settings{})
	stage := t.TempDir()
	first, err := s.Keep(t.Context(), from.key, false, Unlimited{}, stage, from.pass(false))
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.Keep(t.Context(), from.key, false, Unlimited{}, stage, from.pass(false))
	if err != nil {
		t.Fatal(err)
	}
	if first.Cached || !second.Cached || from.opened.Load() != 1 || first.Dir != second.Dir || first.Bytes != second.Bytes {
		t.Errorf("kept as %+v and %+v, read %d times", first, second, from.opened.Load())
	}
	if left := names(t, stage); len(left) != 0 {
		t.Errorf("the stage still has %v", left)
	}
	l, err := Load(first.Dir, func() (*Layer, error) {
		whole, err := s.Keep(t.Context(), from.key, true, Unlimited{}, stage, from.pass(true))
		if err != nil {
			return nil, err
		}
		return Load(whole.Dir, nil)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	inProcess := get(t, s, from)
	if diff := cmp.Diff(inProcess.Entries, l.Entries, cmp.AllowUnexported(Entry{})); diff != "" || !inProcess.Cached {
		t.Errorf("cached %t (-in this process +kept):\n%s", inProcess.Cached, diff)
	}
	if a, b := content(t, l, "/etc/os-release"), content(t, l, "/usr/lib/x.py"); a != "ID=debian" || b != "print()" || !l.Missed() {
		t.Errorf("contents are %q and %q", a, b)
	}
}

func TestLimitsHoldForWhatIsKept(t *testing.T) {
	from := newLayer(t, regular("a", strings.Repeat("a", 10_000)), regular("b", ""))
	s := openStore(t, Settings{})
	for range 2 { // read, and kept
		_, err := s.Keep(t.Context(), from.key, false, &limits{bytes: 9_000, entries: 100}, "", from.pass(false))
		checkKind(t, err, errs.TooLarge)
		_, err = s.Keep(t.Context(), from.key, false, &limits{bytes: 90_000, entries: 1}, "", from.pass(false))
		checkKind(t, err, errs.TooLarge)
		if _, err = s.Keep(t.Context(), from.key, false, Unlimited{}, "", from.pass(false)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLoadOfWhatIsGone(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "evicted"), nil)
	checkKind(t, err, errs.NotFound)
}

// What another process leaves is not believed to be what it should.
func TestWhatIsNotRightIsNotKept(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("password"), 0o600); err != nil {
		t.Fatal(err)
	}
	change := func(name string, do func([]byte) []byte) func(string) error {
		return func(dir string) error {
			path := filepath.Join(dir, name)
			content, err := os.ReadFile(path)
			return errors.Join(err, os.WriteFile(path, do(content), 0o600))
		}
	}
	replace := func(name string, with func(path string) error) func(string) error {
		return func(dir string) error {
			path := filepath.Join(dir, name)
			return errors.Join(os.Remove(path), with(path))
		}
	}
	tests := map[string]func(dir string) error{
		"no index":            func(dir string) error { return os.Remove(filepath.Join(dir, indexName)) },
		"no contents":         func(dir string) error { return os.Remove(filepath.Join(dir, contentsName)) },
		"empty index":         change(indexName, func([]byte) []byte { return nil }),
		"half an index":       change(indexName, func(b []byte) []byte { return b[:len(b)/2] }),
		"changed index":       change(indexName, func(b []byte) []byte { b[len(b)/2] ^= 1; return b }),
		"garbage":             change(indexName, func(b []byte) []byte { return bytes.Repeat([]byte{0xff}, len(b)) }),
		"longer contents":     change(contentsName, func(b []byte) []byte { return append(b, 'x') }),
		"shorter contents":    change(contentsName, func(b []byte) []byte { return b[1:] }),
		"contents are a link": replace(contentsName, func(path string) error { return os.Symlink(secret, path) }),
		"contents are another's": replace(contentsName, func(path string) error {
			return os.Link(secret, path)
		}),
		"contents are a pipe":   replace(contentsName, func(path string) error { return syscall.Mkfifo(path, 0o600) }),
		"index is a link":       replace(indexName, func(path string) error { return os.Symlink(secret, path) }),
		"index is a directory":  replace(indexName, func(path string) error { return os.Mkdir(path, 0o700) }),
		"directory was deleted": os.RemoveAll,
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			// As long as the secret, so that only what it is gives it away.
			from := newLayer(t, regular("etc/os-release", "ID=debia"))
			s := openStore(t, Settings{})
			_, err := s.Keep(t.Context(), from.key, false, Unlimited{}, "", func(ctx context.Context, dir string) error {
				return errors.Join(from.pass(false)(ctx, dir), spoil(dir))
			})
			checkKind(t, err, errs.Malformed)
			if left := names(t, s.dir); len(left) != 0 {
				t.Errorf("%v is left", left)
			}
			if _, err := s.Keep(t.Context(), from.key, false, Unlimited{}, "", from.pass(false)); err != nil {
				t.Errorf("the next time: %v", err)
			}
		})
	}
}

// What else lies in the directory does not come along.
func TestOnlyTheTwoFilesAreKept(t *testing.T) {
	from := newLayer(t, regular("etc/os-release", "ID=debian"))
	s := openStore(t, Settings{})
	k, err := s.Keep(t.Context(), from.key, false, Unlimited{}, "", func(ctx context.Context, dir string) error {
		return errors.Join(from.pass(false)(ctx, dir), os.WriteFile(filepath.Join(dir, "ballast"), make([]byte, 1<<20), 0o600))
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{contentsName, indexName}, names(t, k.Dir)); diff != "" {
		t.Error(diff)
	}
}
