package catalog

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/anchore/syft/syft/artifact"
	"github.com/anchore/syft/syft/cataloging/pkgcataloging"
	"github.com/anchore/syft/syft/file"
	"github.com/anchore/syft/syft/pkg"

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

// full is a cataloger that unpacks archives where there is no room.
type full struct{}

func (full) Name() string { return "full" }

func (full) Catalog(context.Context, file.Resolver) ([]pkg.Package, []artifact.Relationship, error) {
	err := &fs.PathError{Op: "write", Path: "/tmp/archive", Err: syscall.ENOSPC}
	return nil, nil, errors.New("unable to process java archive: " + err.Error())
}

func TestAFullDiskFailsTheImage(t *testing.T) {
	tree, _ := overlay.New(nil)
	g := &guardedImage{budget: &budget{}}
	r := &resolver{tree: tree, budget: g.budget, memory: newMemory(1 << 20)}
	c := &rememberer{maker: maker{"full", func(pkgcataloging.Config) pkg.Cataloger { return full{} }}, memory: r.memory}
	if _, _, err := c.Catalog(t.Context(), r); err == nil {
		t.Error("the cataloger's own error is lost")
	}
	if err := g.failed(); !errs.Is(err, errs.Unavailable) || strings.Contains(err.Error(), "/tmp") {
		t.Errorf("the image failed with %v", err)
	}
}
