package catalog

import (
	"bytes"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// toldImage is an image of which a worker process was told manifest and config.
// Its layers have sizes and types, and no content: that comes another way.
type toldImage struct {
	manifest, config []byte
	mediaType        string
	layers           map[v1.Hash]v1.Descriptor
}

// image reads the manifest.
func (t *toldImage) image() (v1.Image, error) {
	manifest, err := v1.ParseManifest(bytes.NewReader(t.manifest))
	if err != nil {
		return nil, errs.Wrap(errs.Malformed, "parse manifest", err)
	}
	t.layers = map[v1.Hash]v1.Descriptor{}
	for _, d := range manifest.Layers {
		t.layers[d.Digest] = d
	}
	img, err := partial.CompressedToImage(t)
	return img, readError("read manifest", err)
}

// MediaType is that of the manifest.
func (t *toldImage) MediaType() (types.MediaType, error) { return types.MediaType(t.mediaType), nil }

// RawManifest returns the manifest as the registry has it.
func (t *toldImage) RawManifest() ([]byte, error) { return t.manifest, nil }

// RawConfigFile returns the config as the registry has it.
func (t *toldImage) RawConfigFile() ([]byte, error) { return t.config, nil }

// LayerByDigest describes a layer.
func (t *toldImage) LayerByDigest(digest v1.Hash) (partial.CompressedLayer, error) {
	d, ok := t.layers[digest]
	if !ok {
		return nil, errs.New(errs.Malformed, "the manifest has no layer %s", digest)
	}
	return toldLayer{d}, nil
}

type toldLayer struct{ v1.Descriptor }

// Digest is that of the blob.
func (l toldLayer) Digest() (v1.Hash, error) { return l.Descriptor.Digest, nil }

// Size is that of the blob.
func (l toldLayer) Size() (int64, error) { return l.Descriptor.Size, nil }

// MediaType is what the manifest says.
func (l toldLayer) MediaType() (types.MediaType, error) { return l.Descriptor.MediaType, nil }

// Compressed fails: a worker process cannot fetch.
func (l toldLayer) Compressed() (io.ReadCloser, error) {
	return nil, errs.New(errs.Internal, "catalog: a worker process has no layers to open")
}
