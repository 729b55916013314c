package main

import (
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// manifestOf describes an opened image: its layers with the instructions that
// made them, and its platform. Content that contradicts itself is told when the
// layers are read.
func manifestOf(img v1.Image) (scan.Manifest, error) {
	digest, err := img.Digest()
	if err != nil {
		return scan.Manifest{}, errs.Wrap(errs.Malformed, "manifest", err)
	}
	manifest, err := img.Manifest()
	if err != nil {
		return scan.Manifest{}, errs.Wrap(errs.Malformed, "manifest", err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		return scan.Manifest{}, errs.Wrap(errs.Malformed, "config", err)
	}
	m := scan.Manifest{
		Digest: image.Digest(digest.String()), MediaType: string(manifest.MediaType), Kind: image.KindImage,
		ConfigDigest: image.Digest(manifest.Config.Digest.String()),
		Platform:     image.Platform{OS: config.OS, Architecture: config.Architecture, Variant: config.Variant, OSVersion: config.OSVersion},
	}
	steps := instructions(config)
	for i, l := range manifest.Layers {
		layer := scan.Layer{Digest: image.Digest(l.Digest.String()), MediaType: string(l.MediaType), Size: l.Size}
		if i < len(config.RootFS.DiffIDs) {
			layer.DiffID = image.Digest(config.RootFS.DiffIDs[i].String())
		}
		if len(steps) == len(manifest.Layers) {
			layer.CreatedBy = steps[i]
		}
		m.Layers = append(m.Layers, layer)
		m.ContentSize += l.Size
	}
	return m, nil
}

// soFar says in a few words how far reading an image is.
func soFar(p scan.Progress) string {
	switch {
	case p.Phase == scan.PhaseCatalogue:
		return "all layers are there, looking for packages"
	case p.Bytes == 0:
		return "reading"
	}
	return fmt.Sprintf("%.1f MB, %d of the layers done", float64(p.Bytes)/1e6, p.Layers)
}

// instructions are those of the history that made a layer.
func instructions(config *v1.ConfigFile) []string {
	var out []string
	for _, h := range config.History {
		if !h.EmptyLayer {
			out = append(out, h.CreatedBy)
		}
	}
	return out
}
