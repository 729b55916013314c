package hostileimage

import (
	"io"
	"slices"
	"strings"
)

// Cut is a blob of which only a part comes, while its digest and size are those
// of the whole.
func Cut(b Blob, keep float64) Blob {
	whole := b.open
	b.open = func() io.ReadCloser {
		content := whole()
		return limited{io.LimitReader(content, int64(float64(b.Size)*keep)), content}
	}
	return b
}

// Broken is a blob whose transfer breaks off.
func Broken(b Blob, keep float64) Blob {
	b = Cut(b, keep)
	b.Breaks = true
	return b
}

type limited struct {
	io.Reader
	io.Closer
}

// Short is a blob that ends early and says so: its digest and size are those of
// the part, its diffID that of the whole.
func Short(b Blob, keep float64) Blob {
	diffID := b.DiffID
	b = Cut(b, keep)
	b.Digest, b.Size = measure(b.Open())
	b.DiffID = diffID
	return b
}

// Corrupt is a blob with every byte behind at turned over. Its digest and size are
// true, its diffID is that of the content before.
func Corrupt(b Blob, at float64) Blob {
	whole, from := b.open, int64(float64(b.Size)*at)
	b.open = func() io.ReadCloser {
		content := whole()
		return limited{&turned{content, from}, content}
	}
	b.Digest, b.Size = measure(b.Open())
	return b
}

type turned struct {
	in   io.Reader
	left int64
}

// Read turns what is behind the first bytes.
func (t *turned) Read(p []byte) (int, error) {
	n, err := t.in.Read(p)
	for i := range p[:n] {
		if t.left > 0 {
			t.left--
			continue
		}
		p[i] = ^p[i]
	}
	return n, err
}

// Swapped is a blob that comes with the content of another, of the same size or
// not.
func Swapped(b, other Blob) Blob {
	b.open = other.open
	return b
}

// Behind is a blob with more behind its end. Its digest and size are true.
func Behind(b Blob, more string) Blob {
	whole := b.open
	b.open = func() io.ReadCloser {
		content := whole()
		return limited{io.MultiReader(content, strings.NewReader(more)), content}
	}
	b.Digest, b.Size = measure(b.Open())
	return b
}

// Sized is a blob whose descriptor tells another size.
func Sized(b Blob, size int64) Blob {
	b.Size = size
	return b
}

// Typed is a blob whose descriptor tells another media type.
func Typed(b Blob, mediaType string) Blob {
	b.MediaType = mediaType
	return b
}

// Unpacks is a layer whose config tells another diffID.
func Unpacks(b Blob, diffID string) Blob {
	b.DiffID = diffID
	return b
}

// Elsewhere is a layer that is not in the registry: a manifest says where it is.
func Elsewhere(b Blob, mediaType string, urls ...string) Blob {
	b.MediaType, b.URLs, b.Absent = mediaType, urls, true
	return b
}

// Missing is a layer that is not in the registry.
func Missing(b Blob) Blob {
	b.Absent = true
	return b
}

// Fewer is an image whose config knows of less layers than the manifest.
func Fewer(i Image) Artifact {
	ids := []string{}
	for _, l := range i.Layers[1:] {
		ids = append(ids, l.DiffID)
	}
	i.Config = merged(object{}, i.Config)
	i.Config["rootfs"] = object{"type": "layers", "diff_ids": ids}
	return i.Artifact()
}

// Shuffled is an image whose config knows the layers in another order.
func Shuffled(i Image) Artifact {
	ids := []string{}
	for _, l := range slices.Backward(i.Layers) {
		ids = append(ids, l.DiffID)
	}
	i.Config = merged(object{}, i.Config)
	i.Config["rootfs"] = object{"type": "layers", "diff_ids": ids}
	return i.Artifact()
}

// Served is an artifact that is served as another media type than it says.
func Served(a Artifact, mediaType string) Artifact {
	a.MediaType = mediaType
	return a
}
