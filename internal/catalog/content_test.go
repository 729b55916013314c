package catalog

import (
	"io"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/catalog/layers"
	"github.com/tidewaiter/tidewaiter/internal/catalog/overlay"
	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// brokenDisk is content on a disk that fails.
type brokenDisk struct{ layers.Content }

func (brokenDisk) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: "/cache/contents", Err: syscall.EIO}
}
func (brokenDisk) ReadAt([]byte, int64) (int, error) { return brokenDisk{}.Read(nil) }

func TestBrokenDiskFailsTheImage(t *testing.T) {
	for name, read := range map[string]func(c contentOf) error{
		"read":    func(c contentOf) error { _, err := io.ReadAll(c); return err },
		"read at": func(c contentOf) error { _, err := c.ReadAt(make([]byte, 1), 0); return err },
	} {
		g := &guardedImage{budget: &budget{}}
		if err := read(contentOf{brokenDisk{}, g.budget}); err == nil {
			t.Errorf("%s: no error", name)
		}
		if err := g.failed(); !errs.Is(err, errs.Unavailable) || strings.Contains(err.Error(), "/cache") {
			t.Errorf("%s: the image failed with %v", name, err)
		}
	}
}

func TestASearchThatIsGivenUpFailsTheImage(t *testing.T) {
	tree, _ := overlay.New(nil)
	g := &guardedImage{budget: &budget{}}
	r := &resolver{tree: tree, budget: g.budget}
	if _, err := r.FilesByGlob("**/[a"); !errs.Is(err, errs.Invalid) || g.failed() != nil {
		t.Errorf("a bad pattern: %v, and the image failed with %v", err, g.failed())
	}
	if err := r.noHits(errs.New(errs.TooLarge, "too much")); !errs.Is(err, errs.TooLarge) || !errs.Is(g.failed(), errs.TooLarge) {
		t.Errorf("too much: %v, and the image failed with %v", err, g.failed())
	}
}
