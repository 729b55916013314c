package catalog

import (
	"fmt"

	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// isForeign reports whether a registry need not have a layer: its owner gives it
// out himself, as Microsoft does with older bases of Windows.
func isForeign(mediaType types.MediaType) bool {
	switch mediaType {
	case types.DockerForeignLayer, types.OCIRestrictedLayer, types.OCIUncompressedRestrictedLayer, restrictedZstd:
		return true
	}
	return false
}

const restrictedZstd types.MediaType = "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"

// leaveOut finds the layers that the registry does not have and need not have.
// They count as empty: the image is catalogued as far as it can be seen.
func (g *guardedImage) leaveOut() error {
	for n, l := range g.layers {
		if !isForeign(l.mediaType) {
			continue
		}
		blob, err := l.Compressed()
		switch {
		case err == nil:
			_ = blob.Close()
		case errs.Is(err, errs.Unsupported) || errs.Is(err, errs.NotFound):
			g.missing = append(g.missing, n)
		default:
			return readError("open layer", err)
		}
	}
	return g.withhold(g.missing)
}

// withhold puts empty layers in the place of some.
func (g *guardedImage) withhold(numbers []int) error {
	nothing := static.NewLayer(make([]byte, 1024), types.OCIUncompressedLayer) // the end of a tar
	digest, err := nothing.Digest()
	if err != nil {
		return errs.Wrap(errs.Internal, "empty layer", err)
	}
	for _, n := range numbers {
		if n < 0 || n >= len(g.layers) {
			return errs.New(errs.Internal, "there is no layer %d", n)
		}
		l := g.layers[n]
		l.Layer, l.diffID, l.blob, l.compressed = nothing, digest, digest.String(), 1024
	}
	g.missing = numbers
	return nil
}

// unseen says which part of the image was not seen; empty when all of it was.
func (g *guardedImage) unseen() string {
	if len(g.missing) == 0 {
		return ""
	}
	return fmt.Sprintf("layers: %d of %d are kept outside the registry and were not read", len(g.missing), len(g.layers))
}
