package catalog

import (
	"io"
	"io/fs"
	"log/slog"
	"path"

	"github.com/anchore/stereoscope/pkg/file"
	"github.com/anchore/stereoscope/pkg/filetree"
	stereoscope "github.com/anchore/stereoscope/pkg/image"

	"github.com/tidewaiter/tidewaiter/internal/catalog/layers"
	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// assemble puts layers that were read over each other, as syft's own reading of
// an image would have it: the trees, the squashed tree and the searches are
// stereoscope's, so that links, whiteouts and opaque directories mean the same.
// Only where the entries and contents come from differs.
func assemble(img *guardedImage, read []*layers.Layer) (*stereoscope.Image, error) {
	out := &stereoscope.Image{}
	if err := img.describe(out); err != nil {
		return nil, err
	}
	files := newFileIndex()
	union := filetree.NewUnionFileTree()
	for i, l := range read {
		tree := filetree.New()
		layer := &stereoscope.Layer{Tree: tree}
		layer.Metadata = stereoscope.LayerMetadata{Index: uint(i), Digest: img.layers[i].diffID.String(), MediaType: img.layers[i].mediaType}
		b := builder{builder: filetree.NewBuilder(tree, files), tree: tree, files: files, layer: layer, source: l, budget: img.budget}
		for n := range l.Entries {
			b.add(n)
		}
		if b.skipped > 0 {
			slog.Debug("entries that mean nothing left out", "layer", layer.Metadata.Digest, "entries", b.skipped)
		}
		out.Metadata.Size += layer.Metadata.Size
		out.Layers = append(out.Layers, layer)
		union.PushTree(tree)
	}
	squashed, err := union.Squash()
	if err != nil {
		return nil, errs.Wrap(errs.Malformed, "put layers over each other", err)
	}
	if n := len(out.Layers); n > 0 {
		out.Layers[n-1].SquashedTree = squashed
	}
	files.finish()
	out.FileCatalog = files
	out.SquashedSearchContext = filetree.NewSearchContext(squashed, files)
	return out, nil
}

// builder adds the entries of a layer to its tree.
type builder struct {
	builder *filetree.Builder
	tree    *filetree.FileTree
	files   *fileIndex
	layer   *stereoscope.Layer
	source  *layers.Layer
	budget  *budget
	skipped int
}

// add adds an entry. One that means nothing in an image, such as one above the
// root, is left out and costs itself only.
func (b *builder) add(n int) {
	e := b.source.Entries[n]
	b.layer.Metadata.Size += e.Size
	m := file.Metadata{
		FileInfo: e.FileInfo(), Path: e.Path, Type: file.TypeFromTarType(e.Type),
		LinkDestination: e.Link, UserID: e.UID, GroupID: e.GID, MIMEType: e.MIME,
	}
	if meaningless(m) {
		b.skipped++
		return
	}
	open := func() (io.ReadCloser, error) {
		content, err := b.source.Open(n)
		if err != nil {
			return nil, b.budget.fail(err)
		}
		return content, nil
	}
	if m.Type == file.TypeHardLink {
		if adopted, opener, ok := b.adopt(m); ok {
			if ref, err := b.builder.Add(adopted); err == nil {
				b.files.place(*ref, b.layer, opener)
				return
			}
		}
	}
	ref, err := b.builder.Add(m)
	if err != nil && m.Path != file.DirSeparator {
		// The same path twice in one layer, as different things: the later counts,
		// as it does when the tar is extracted.
		if err = b.tree.RemovePath(file.Path(m.Path)); err == nil {
			ref, err = b.builder.Add(m)
		}
	}
	if err != nil {
		b.skipped++
		return
	}
	b.files.place(*ref, b.layer, open)
}

// meaningless reports whether an entry cannot be part of an image: a whiteout of
// the root itself, or something else than a directory in its place.
func meaningless(m file.Metadata) bool {
	p := file.Path(m.Path)
	if p == file.DirSeparator {
		return m.Type != file.TypeDirectory
	}
	if p.IsWhiteout() && !p.IsDirWhiteout() {
		gone, err := p.UnWhiteoutPath()
		return err != nil || gone.Normalize() == file.DirSeparator
	}
	return false
}

// adopt describes a hard link as the file of the same layer that it is another
// name of, and returns how to open that. ok is false when there is none.
func (b *builder) adopt(m file.Metadata) (adopted file.Metadata, open file.Opener, ok bool) {
	link := file.Path(path.Clean(file.DirSeparator + m.LinkDestination))
	if m.LinkDestination == "" || link == file.DirSeparator {
		return m, nil, false
	}
	exists, found, err := b.tree.File(link)
	if err != nil || !exists || found == nil || found.Reference == nil {
		return m, nil, false
	}
	target, err := b.files.Get(*found.Reference)
	if err != nil || target.Type == file.TypeDirectory || target.Type == file.TypeHardLink {
		return m, nil, false
	}
	if open = b.files.opener(*found.Reference); open == nil {
		return m, nil, false
	}
	adopted = m
	// The permissions are the link's own; what sort of file it is, the target's.
	adopted.FileInfo = file.ManualInfo{
		NameValue: path.Base(m.Path), SizeValue: target.Size(), ModeValue: m.Mode()&^fs.ModeType | target.Mode()&fs.ModeType,
		ModTimeValue: m.ModTime(), SysValue: m.Sys(),
	}
	adopted.MIMEType, adopted.Type, adopted.LinkDestination = target.MIMEType, target.Type, target.LinkDestination
	return adopted, open, true
}
