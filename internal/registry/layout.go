package registry

import (
	"os"
	"path/filepath"
	"sort"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// openLayout opens an image of an OCI layout directory (OCI image-spec,
// image-layout.md). Nothing is checked against digests here; the cataloguer
// does that.
func openLayout(path string, platform image.Platform) (v1.Image, image.Reference, error) {
	dir, name := splitPath(path, os.FileInfo.IsDir)
	if err := checkPath(dir); err != nil {
		return nil, image.Reference{}, err
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, image.Reference{}, errs.New(errs.Invalid, "%s is not an OCI layout: %s", dir, clean(err))
	}
	entry, err := pick(index, name)
	if err != nil {
		return nil, image.Reference{}, err
	}
	ref := image.Reference{Registry: ociDir, Repository: filepath.Base(dir), Tag: refName(entry)}
	img, err := imageBehind(index, entry, platform)
	if err != nil {
		return nil, image.Reference{}, err
	}
	digest, err := img.Digest()
	if err != nil {
		return nil, image.Reference{}, errs.New(errs.Malformed, "%s", clean(err))
	}
	ref.Digest = image.Digest(digest.String())
	return img, ref, nil
}

// splitPath separates a path from the name behind it. Both may hold colons; the
// path is the longest part that exists and is of the right kind.
func splitPath(source string, right func(os.FileInfo) bool) (path, name string) {
	for path = source; ; {
		if info, err := os.Stat(path); err == nil && right(info) {
			return path, strings.TrimPrefix(strings.TrimPrefix(source, path), ":")
		}
		i := strings.LastIndexAny(path, ":@")
		if i <= 0 {
			return source, ""
		}
		path = path[:i]
	}
}

// refName is the name a layout gives an entry.
func refName(d v1.Descriptor) string {
	name := d.Annotations["org.opencontainers.image.ref.name"]
	if i := strings.LastIndex(name, ":"); i >= 0 {
		name = name[i+1:]
	}
	if !image.IsTag(name) {
		return ""
	}
	return name
}

// pick finds the entry with a name or digest; without one there must be a
// single entry.
func pick(index v1.ImageIndex, name string) (v1.Descriptor, error) {
	manifest, err := index.IndexManifest()
	if err != nil {
		return v1.Descriptor{}, errs.New(errs.Malformed, "the layout's index: %s", clean(err))
	}
	name = strings.TrimPrefix(name, "@")
	var names []string
	for _, d := range manifest.Manifests {
		full := d.Annotations["org.opencontainers.image.ref.name"]
		if name != "" && (name == full || name == refName(d) || name == d.Annotations["io.containerd.image.name"] || name == d.Digest.String()) {
			return d, nil
		}
		if full == "" {
			full = d.Digest.String()
		}
		names = append(names, full)
	}
	if name == "" && len(manifest.Manifests) == 1 {
		return manifest.Manifests[0], nil
	}
	sort.Strings(names)
	hint := strings.Join(names, ", ")
	if name == "" {
		return v1.Descriptor{}, errs.New(errs.Invalid, "the layout holds %d images", len(names)).WithHint("add one of these behind a colon: %s", hint)
	}
	return v1.Descriptor{}, errs.New(errs.NotFound, "the layout has no image %q", name).WithHint("it has %s", hint)
}

// imageBehind opens an entry: an image itself, or an index of its own.
func imageBehind(index v1.ImageIndex, entry v1.Descriptor, platform image.Platform) (v1.Image, error) {
	if !entry.MediaType.IsIndex() {
		img, err := openEntry(index, entry.Digest)
		if err != nil {
			return nil, err
		}
		return img, only(img, platform)
	}
	nested, err := index.ImageIndex(entry.Digest)
	if err != nil {
		return nil, errs.New(errs.Malformed, "%s", clean(err))
	}
	manifest, err := nested.IndexManifest()
	if err != nil {
		return nil, errs.New(errs.Malformed, "%s", clean(err))
	}
	root := scan.Manifest{Kind: image.KindIndex}
	for _, d := range manifest.Manifests {
		root.Children = append(root.Children, listed(fromDescriptor(d), nil))
	}
	chosen, err := choose(root, platform)
	if err != nil {
		return nil, err
	}
	digest, err := v1.NewHash(string(chosen.Digest))
	if err != nil {
		return nil, errs.New(errs.Malformed, "%s", clean(err))
	}
	return openEntry(nested, digest)
}

func openEntry(index v1.ImageIndex, digest v1.Hash) (v1.Image, error) {
	img, err := index.Image(digest)
	if err != nil {
		return nil, errs.New(errs.Malformed, "%s", clean(err))
	}
	return img, nil
}

func fromDescriptor(d v1.Descriptor) descriptor {
	out := descriptor{MediaType: string(d.MediaType), ArtifactType: d.ArtifactType, Digest: d.Digest.String(), Size: d.Size, Annotations: d.Annotations}
	if p := d.Platform; p != nil {
		out.Platform = &platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant, OSVersion: p.OSVersion}
	}
	return out
}
