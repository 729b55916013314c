package scan

import (
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Follow returns the image with layers that tell t what is read of them, as they
// are stored; t is told their sizes at once. An image whose layers cannot be
// listed is returned as it is: who reads it finds out.
func Follow(t *Tracker, img v1.Image) v1.Image {
	if t == nil {
		return img
	}
	all, err := img.Layers()
	if err != nil {
		return img
	}
	f := &followedImage{Image: img, layers: make([]v1.Layer, len(all))}
	sizes := make([]int64, len(all))
	for i, l := range all {
		if sizes[i], err = l.Size(); err != nil {
			return img
		}
		f.layers[i] = &followedLayer{Layer: l, tracker: t, number: i}
	}
	t.Pull(sizes)
	return f
}

type followedImage struct {
	v1.Image
	layers []v1.Layer
}

// Layers returns the layers, base first.
func (f *followedImage) Layers() ([]v1.Layer, error) { return f.layers, nil }

// followedLayer counts what is read of it. What is read uncompressed cannot be
// compared with a size, and is not counted.
type followedLayer struct {
	v1.Layer
	tracker *Tracker
	number  int
}

// Compressed opens the layer as it is stored.
func (l *followedLayer) Compressed() (io.ReadCloser, error) {
	content, err := l.Layer.Compressed()
	if err != nil {
		return nil, err
	}
	return &followedContent{ReadCloser: content, layer: l}, nil
}

type followedContent struct {
	io.ReadCloser
	layer *followedLayer
	read  int64
}

// Read reads on.
func (c *followedContent) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if n > 0 {
		c.read += int64(n)
		c.layer.tracker.LayerRead(c.layer.number, c.read)
	}
	return n, err
}
