package catalog

import (
	stereoscope "github.com/anchore/stereoscope/pkg/image"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// checkMediaType refuses layers that cannot be unpacked, such as encrypted ones,
// before anything is read.
func checkMediaType(number int, l v1.Layer) (types.MediaType, error) {
	mediaType, err := l.MediaType()
	if err != nil {
		return "", readError("read layers", err)
	}
	switch mediaType {
	case types.OCILayer, types.OCILayerZStd, types.OCIUncompressedLayer, types.OCIRestrictedLayer, types.OCIUncompressedRestrictedLayer,
		restrictedZstd, types.DockerLayer, types.DockerForeignLayer, types.DockerUncompressedLayer,
		stereoscope.BuildKitZstdCompressedLayer, stereoscope.BuildKitZstdCompressedLayerAlt:
		return mediaType, nil
	}
	return "", errs.New(errs.Unsupported, "layer %d is of type %.100q, which cannot be unpacked", number, mediaType)
}
