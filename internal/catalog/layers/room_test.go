package layers

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// lots makes layers of about a hundred kilobytes.
func lots(t *testing.T, n int) (out []*layer) {
	for i := range n {
		out = append(out, newLayer(t, regular(fmt.Sprintf("opt/data-%d", i), strings.Repeat("data ", 20_000))))
	}
	return out
}

func TestBoundByLastUse(t *testing.T) {
	s := openStore(t, Settings{MaxBytes: 350_000})
	all := lots(t, 4)
	past := time.Now().Add(-time.Hour)
	for i, from := range all[:3] {
		get(t, s, from)
		// The order of use, whatever the clock's grain.
		used := past.Add(time.Duration(i) * time.Minute)
		if err := os.Chtimes(filepath.Join(s.dir, from.key.name(false)), used, used); err != nil {
			t.Fatal(err)
		}
	}
	get(t, s, all[0]) // used again
	get(t, s, all[3])
	if s.Size() > 350_000 {
		t.Errorf("%d bytes are taken", s.Size())
	}
	var cached []bool
	for _, i := range []int{0, 2, 3, 1} {
		cached = append(cached, get(t, s, all[i]).Cached)
	}
	if diff := cmp.Diff([]bool{true, true, true, false}, cached); diff != "" {
		t.Errorf("cached: %s", diff)
	}
}

func TestLayerLargerThanTheBound(t *testing.T) {
	s := openStore(t, Settings{MaxBytes: 1000})
	for _, from := range lots(t, 2) {
		if l := get(t, s, from); content(t, l, l.Entries[0].Path) == "" {
			t.Error("no content")
		}
	}
	if left := names(t, s.dir); len(left) != 1 {
		t.Errorf("%v is kept", left)
	}
}

func TestLoweredBoundHoldsAtTheStart(t *testing.T) {
	s := openStore(t, Settings{})
	for _, from := range lots(t, 3) {
		get(t, s, from)
	}
	if again := openStore(t, Settings{Dir: s.dir, MaxBytes: 150_000}); again.Size() > 150_000 {
		t.Errorf("%d bytes are taken", again.Size())
	}
}

func TestDiskIsNotFilledUp(t *testing.T) {
	all := lots(t, 3)
	disk := int64(1 << 30)
	prepare := func(t *testing.T) *Store {
		s := openStore(t, Settings{KeepFree: 1 << 20})
		s.shelf.free = func(dir string) (int64, bool) {
			_, taken := s.shelf.list()
			return disk - taken, true
		}
		get(t, s, all[0])
		get(t, s, all[1])
		return s
	}
	t.Run("kept layers make room", func(t *testing.T) {
		disk = 1 << 30
		s := prepare(t)
		disk = 1<<20 + 150_000
		get(t, s, all[2])
		if l := get(t, s, all[1]); !l.Cached {
			t.Error("more was thrown away than needed")
		}
	})
	t.Run("refused", func(t *testing.T) {
		disk = 1 << 30
		s := prepare(t)
		disk = 500_000
		_, err := s.Layer(t.Context(), all[2].key, all[2].open, Unlimited{})
		checkKind(t, err, errs.Unavailable)
		if err == nil || !strings.Contains(err.Error(), "the disk has 0 MiB left, and 1 MiB are to stay free") {
			t.Errorf("error is %v", err)
		}
		if l := get(t, s, all[0]); !l.Cached {
			t.Error("layers were thrown away in vain")
		}
	})
	t.Run("refused while it is read", func(t *testing.T) {
		disk = 1 << 30
		s := prepare(t)
		asked := 0
		s.shelf.free = func(string) (int64, bool) {
			asked++
			return max(0, int64(4-asked)) << 20, true
		}
		big := newLayer(t, regular("opt/data", strings.Repeat("0123456789abcdef", 4<<20)))
		_, err := s.Layer(t.Context(), big.key, big.open, Unlimited{})
		checkKind(t, err, errs.Unavailable)
	})
	t.Run("the real one is asked", func(t *testing.T) {
		if free, known := freeBytes(t.TempDir()); known && free <= 0 {
			t.Errorf("%d bytes are free", free)
		}
	})
}
