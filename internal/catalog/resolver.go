package catalog

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"
	"sync"

	stereofile "github.com/anchore/stereoscope/pkg/file"
	"github.com/anchore/syft/syft/file"
	"github.com/anchore/syft/syft/pkg"

	"github.com/tidewaiter/tidewaiter/internal/catalog/layers"
	"github.com/tidewaiter/tidewaiter/internal/catalog/overlay"
	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// resolver answers what catalogers ask of an image, as syft's own resolver of
// squashed images would, from layers that were read.
type resolver struct {
	tree   *overlay.Tree
	layers []*layers.Layer
	names  []string // the layers' diffIDs
	budget *budget
	memory *memory

	mu      sync.Mutex
	learned []*lesson
	found   []pkg.Package // that syft has stand-ins for
}

var _ file.Resolver = (*resolver)(nil)

// location is a file as catalogers know it. What they are told of it does not
// depend on the image, so that it can be said of another image again.
func (r *resolver) location(at overlay.Place, f overlay.File, access string) file.Location {
	p := r.tree.Path(at)
	l := file.NewLocationFromDirectory(p, r.names[f.Layer], stereofile.Reference{RealPath: stereofile.Path(p)})
	l.AccessPath = access
	return l
}

// isDirectory reports whether catalogers take a file for a directory.
func (r *resolver) isDirectory(f overlay.File) bool {
	const permissions = 0o7777
	e := r.layers[f.Layer].Entries[f.Content]
	return f.Type == tar.TypeDir || e.Mode&^permissions != 0 && e.FileInfo().IsDir()
}

// HasPath reports whether something is at a path.
func (r *resolver) HasPath(p string) bool { return r.tree.Has(p) }

// FilesByPath returns the files that paths lead to, each once.
func (r *resolver) FilesByPath(paths ...string) ([]file.Location, error) {
	found := collection{resolver: r, all: make([]file.Location, 0, len(paths))}
	for _, p := range paths {
		if at, ok := r.tree.Find(p); ok {
			found.addFile(at, p)
		}
	}
	return found.all, nil
}

// FilesByGlob returns the files that patterns match, each once.
func (r *resolver) FilesByGlob(patterns ...string) ([]file.Location, error) {
	found := collection{resolver: r, all: []file.Location{}}
	for _, pattern := range patterns {
		hits, err := r.tree.ByPattern(pattern)
		if err != nil {
			return nil, r.noHits(err)
		}
		for _, hit := range hits {
			found.addFile(hit.Place, hit.Request)
		}
	}
	return found.all, nil
}

// noHits has a search that was given up fail the whole image: catalogers would pass
// over it.
func (r *resolver) noHits(err error) error {
	if errs.Is(err, errs.TooLarge) {
		return r.budget.fail(err)
	}
	return err
}

// FilesByMIMEType returns the files of media types, each once.
func (r *resolver) FilesByMIMEType(types ...string) ([]file.Location, error) {
	found := collection{resolver: r, all: []file.Location{}}
	for _, hit := range r.tree.ByMIME(types...) {
		found.add(hit.Place, hit.Request)
	}
	return found.all, nil
}

// collection gathers locations without naming a place twice.
type collection struct {
	resolver *resolver
	all      []file.Location
	seen     map[overlay.Place]bool
}

// addFile adds what is not a directory.
func (c *collection) addFile(at overlay.Place, access string) {
	f, ok := c.resolver.tree.File(at)
	if ok && c.resolver.tree.Path(at) != "/" && !c.resolver.isDirectory(f) {
		c.add(at, access)
	}
}

func (c *collection) add(at overlay.Place, access string) {
	f, ok := c.resolver.tree.File(at)
	if !ok || c.seen[at] {
		return
	}
	if len(c.all) > 0 && c.seen == nil {
		c.seen = make(map[overlay.Place]bool)
		first, _ := c.resolver.tree.At(c.all[0].RealPath)
		c.seen[first] = true
		if at == first {
			return
		}
	}
	if c.seen != nil {
		c.seen[at] = true
	}
	c.all = append(c.all, c.resolver.location(at, f, access))
}

// RelativeFileByPath returns the file that a path leads to; nil when there is
// none.
func (r *resolver) RelativeFileByPath(_ file.Location, p string) *file.Location {
	found, _ := r.FilesByPath(p)
	if len(found) == 0 {
		return nil
	}
	return &found[0]
}

// learn keeps a lesson until the whole image turned out well.
func (r *resolver) learn(l *lesson) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.learned = append(r.learned, l)
}

// AllLocations returns every file, directory and link.
func (r *resolver) AllLocations(ctx context.Context) <-chan file.Location {
	return r.locations(ctx, "")
}

// locations returns everything with part in its path.
func (r *resolver) locations(ctx context.Context, part string) <-chan file.Location {
	out := make(chan file.Location)
	go func() {
		defer close(out)
		for at := range r.tree.All {
			if !strings.Contains(r.tree.Path(at), part) {
				continue
			}
			f, _ := r.tree.File(at)
			select {
			case <-ctx.Done():
				return
			case out <- r.location(at, f, r.tree.Path(at)):
			}
		}
	}()
	return out
}

// at returns the file at a location.
func (r *resolver) at(l file.Location) (overlay.Place, overlay.File, error) {
	at, ok := r.tree.At(l.RealPath)
	if ok {
		if f, ok := r.tree.File(at); ok && r.names[f.Layer] == l.FileSystemID {
			return at, f, nil
		}
	}
	return 0, overlay.File{}, errs.New(errs.NotFound, "no file at %.200q", l.RealPath)
}

// FileContentsByLocation opens the content of a file. Content that was not kept
// is read again; when that fails the whole image does.
func (r *resolver) FileContentsByLocation(l file.Location) (io.ReadCloser, error) {
	_, f, err := r.at(l)
	if err != nil {
		return nil, err
	}
	switch f.Type {
	case tar.TypeSymlink, tar.TypeLink:
		target, ok := r.tree.Find(l.RealPath)
		if ok {
			f, ok = r.tree.File(target)
		}
		if !ok || r.isDirectory(f) {
			return nil, errs.New(errs.NotFound, "the link %.200q leads to no file", l.RealPath)
		}
	case tar.TypeDir:
		return nil, errs.New(errs.Invalid, "%.200q is a directory", l.RealPath)
	}
	content, err := r.layers[f.Layer].Open(f.Content)
	if err != nil {
		return nil, r.budget.fail(err)
	}
	return contentOf{content, r.budget}, nil
}

// contentOf is content whose reading does not fail silently: catalogers pass over
// files that they cannot read, and this machine's disk is no fault of theirs.
type contentOf struct {
	layers.Content
	budget *budget
}

// Read reads on.
func (c contentOf) Read(p []byte) (int, error) {
	n, err := c.Content.Read(p)
	return n, c.check(err)
}

// ReadAt reads at a place.
func (c contentOf) ReadAt(p []byte, at int64) (int, error) {
	n, err := c.Content.ReadAt(p, at)
	return n, c.check(err)
}

func (c contentOf) check(err error) error {
	var disk *fs.PathError
	if errors.As(err, &disk) {
		_ = c.budget.fail(errs.New(errs.Unavailable, "read layers: %v", disk.Err).WithHint("check the disk of the directories for temporary files and for the cache"))
	}
	return err
}

// FileMetadataByLocation tells of a file.
func (r *resolver) FileMetadataByLocation(l file.Location) (file.Metadata, error) {
	_, f, err := r.at(l)
	if err != nil {
		return file.Metadata{}, err
	}
	all := r.layers[f.Layer].Entries
	own, content := all[f.Entry], all[f.Content]
	m := file.Metadata{
		FileInfo: own.FileInfo(), Path: own.Path, Type: stereofile.TypeFromTarType(f.Type),
		LinkDestination: f.Link, UserID: own.UID, GroupID: own.GID, MIMEType: content.MIME,
	}
	if f.Entry != f.Content {
		// The permissions are the link's own; what sort of file it is, the other's.
		info := content.FileInfo()
		m.FileInfo = stereofile.ManualInfo{
			NameValue: path.Base(own.Path), SizeValue: info.Size(), ModeValue: m.Mode()&^fs.ModeType | info.Mode()&fs.ModeType, SysValue: m.Sys(),
		}
	}
	return m, nil
}
