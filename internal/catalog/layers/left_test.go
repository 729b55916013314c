package layers

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/filelock"
)

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
