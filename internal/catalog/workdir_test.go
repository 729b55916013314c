package catalog

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestSweep(t *testing.T) {
	parent := t.TempDir()
	inUse, err := newWorkDir(parent)
	if err != nil {
		t.Fatal(err)
	}
	defer inUse.remove()
	left, err := newWorkDir(parent)
	if err != nil {
		t.Fatal(err)
	}
	// The end of a process gives up its locks and nothing else.
	if err := left.lock.Close(); err != nil {
		t.Fatal(err)
	}
	unlocked, other := filepath.Join(parent, workPrefix+"unlocked"), filepath.Join(parent, "other")
	for _, dir := range []string{unlocked, other} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(left.path, "layer"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	exists := func(path string) bool { _, err := os.Stat(path); return err == nil }

	sweep(parent, time.Now())
	if !exists(left.path) || !exists(unlocked) {
		t.Error("a new directory was swept")
	}
	sweep(parent, time.Now().Add(time.Hour))
	if exists(left.path) || exists(unlocked) {
		t.Error("a left directory was not swept")
	}
	if !exists(inUse.path) || !exists(other) {
		t.Error("a directory in use, or of somebody else, was swept")
	}
	sweep(filepath.Join(parent, "none"), time.Now())
}
