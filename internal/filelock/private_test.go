package filelock

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestSweep(t *testing.T) {
	parent := t.TempDir()
	inUse, err := NewPrivate(parent, "work-")
	if err != nil {
		t.Fatal(err)
	}
	defer inUse.Remove()
	left, err := NewPrivate(parent, "work-")
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

	SweepPrivate(parent, "work-", time.Now())
	if !exists(left.path) || !exists(unlocked) {
		t.Error("a new directory was swept")
	}
	SweepPrivate(parent, "work-", time.Now().Add(time.Hour))
	if exists(left.path) || exists(unlocked) {
		t.Error("a left directory was not swept")
	}
	if !exists(inUse.path) || !exists(other) {
		t.Error("a directory in use, or of somebody else, was swept")
	}
	SweepPrivate(filepath.Join(parent, "none"), "work-", time.Now())
}

func TestWhatIsInAPrivateDirectory(t *testing.T) {
	p, err := NewPrivate(t.TempDir(), "work-")
	if err != nil {
		t.Fatal(err)
	}
	inner := filepath.Join(p.Path(), "a", "b")
	if err := os.MkdirAll(inner, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(inner, "file"), make([]byte, 100<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	// A hole takes no room.
	sparse, err := os.Create(filepath.Join(inner, "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(sparse.Truncate(1<<40), sparse.Close()); err != nil {
		t.Fatal(err)
	}
	if size := p.Size(1 << 50); size < 100<<10 || size > 1<<20 {
		t.Errorf("100 KiB and a hole take %d bytes", size)
	}
	if size := p.Size(8 << 10); size <= 8<<10 || size > 200<<10 {
		t.Errorf("counted %d bytes where 8 KiB are enough", size)
	}
	if err := os.Chmod(inner, 0); err != nil {
		t.Fatal(err)
	}
	if err := p.Empty(); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(p.Path()); err != nil || len(entries) != 1 {
		t.Errorf("besides the lock there is %v, %v", entries, err)
	}
	p.Remove()
	if _, err := os.Stat(p.Path()); !os.IsNotExist(err) {
		t.Errorf("the directory is still there: %v", err)
	}
}
