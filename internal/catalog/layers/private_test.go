package layers

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/filelock"
)

func TestSweep(t *testing.T) {
	parent := t.TempDir()
	inUse, err := newPrivate(parent, "work-")
	if err != nil {
		t.Fatal(err)
	}
	defer inUse.remove()
	left, err := newPrivate(parent, "work-")
	if err != nil {
		t.Fatal(err)
	}
	// The end of a process gives up its locks and nothing else.
	if err := left.lock.Close(); err != nil {
		t.Fatal(err)
	}
	unlocked, other := filepath.Join(parent, "work-unlocked"), filepath.Join(parent, "other")
	for _, dir := range []string{unlocked, other} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(left.path, "layer"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	exists := func(path string) bool { _, err := os.Stat(path); return err == nil }

	sweep(parent, "work-", time.Now())
	if !exists(left.path) || !exists(unlocked) {
		t.Error("a new directory was swept")
	}
	sweep(parent, "work-", time.Now().Add(time.Hour))
	if exists(left.path) || exists(unlocked) {
		t.Error("a left directory was not swept")
	}
	if !exists(inUse.path) || !exists(other) {
		t.Error("a directory in use, or of somebody else, was swept")
	}
	sweep(filepath.Join(parent, "none"), "work-", time.Now())
}

func TestWhatKilledProcessesLeave(t *testing.T) {
	dir := t.TempDir()
	old := time.Now().Add(-time.Hour)
	// Died while it read a layer, and while it threw one away.
	for _, path := range []string{"staging-1/contents", "staging-2/0123-selected/index"} {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"staging-1", "staging-2"} {
		if err := os.Chtimes(filepath.Join(dir, name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	// Waited for its turn; another still does.
	if err := os.WriteFile(filepath.Join(dir, "dead.lock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	living, err := os.Create(filepath.Join(dir, "living.lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = living.Close() }()
	if held, err := filelock.Try(living); err != nil || !held {
		t.Fatal(held, err)
	}
	openStore(t, Settings{Dir: dir})
	if diff := cmp.Diff([]string{"living.lock"}, names(t, dir)); diff != "" {
		t.Error(diff)
	}
}
