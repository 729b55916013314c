package hostileimage

import (
	"fmt"
	"slices"
)

// Image says what an image is made of. The zero value is one without layers for
// linux/amd64.
type Image struct {
	Layers []Blob
	// Docker gives manifest, config and layers Docker's media types in place of
	// OCI's.
	Docker bool
	// Config replaces fields of the config.
	Config map[string]any
	// Manifest replaces fields of the manifest.
	Manifest map[string]any
}

// Artifact is the image. Its config tells the layers' diffIDs.
func (i Image) Artifact() Artifact {
	manifestType, configType := ociManifest, ociConfig
	layers := slices.Clone(i.Layers)
	if i.Docker {
		manifestType, configType = dockerManifest, dockerConfig
		for n, l := range layers {
			if l.MediaType == ociTar+"+gzip" {
				layers[n].MediaType = dockerTarGzip
			}
		}
	}
	diffIDs, descriptors := []string{}, []object{}
	for _, l := range layers {
		diffIDs = append(diffIDs, l.DiffID)
		descriptors = append(descriptors, l.descriptor())
	}
	config := object{
		"os": "linux", "architecture": "amd64", "created": "2024-01-01T00:00:00Z",
		"rootfs": object{"type": "layers", "diff_ids": diffIDs}, "config": object{},
	}
	blob := Bytes(configType, encode(merged(config, i.Config)))
	manifest := object{"config": blob.descriptor(), "layers": descriptors}
	return seal(manifestType, merged(manifest, i.Manifest), append(layers, blob)...)
}

func merged(base, more object) object {
	for k, v := range more {
		base[k] = v
	}
	return base
}

// Entry is a child of an index and what the index says of it.
type Entry struct {
	Artifact
	// More are fields of the entry, as "platform" and "annotations".
	More map[string]any
	// Absent keeps the child from being sent to a registry.
	Absent bool
}

// On is an entry for a platform, as "windows/amd64".
func On(a Artifact, os, arch string) Entry {
	return Entry{Artifact: a, More: object{"platform": object{"os": os, "architecture": arch}}}
}

// Index is an OCI index, or with docker a manifest list.
func Index(docker bool, entries ...Entry) Artifact {
	mediaType := ociIndex
	if docker {
		mediaType = dockerList
	}
	manifests := []object{}
	var children []Artifact
	for _, e := range entries {
		manifests = append(manifests, e.descriptor(e.More))
		if !e.Absent {
			children = append(children, e.Artifact)
		}
	}
	a := seal(mediaType, object{"manifests": manifests})
	a.Children = children
	return a
}

// Nested is an index in an index and so on, with an artifact at the bottom.
func Nested(depth int, bottom Artifact) Artifact {
	for range depth {
		bottom = Index(false, Entry{Artifact: bottom})
	}
	return bottom
}

// Honest is a layer of an ordinary Debian image: what a release says of itself,
// one package of the distribution and one of npm, which has vulnerabilities.
func Honest() Blob { return Layer(honest(), Gzip) }

func honest() Tar {
	return Files(
		"etc/os-release", "ID=debian\nVERSION_ID=\"12\"\nNAME=\"Debian GNU/Linux\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n",
		"var/lib/dpkg/status", Deb("zlib1g", "1:1.2.13.dfsg-1"),
		"usr/lib/node_modules/lodash/package.json", NPM("lodash", "4.17.15"),
	)
}

// Over puts layers over the honest one.
func Over(layers ...Blob) Image { return Image{Layers: append([]Blob{Honest()}, layers...)} }

// Deb is a record of dpkg's status file.
func Deb(name, version string) string {
	return fmt.Sprintf("Package: %s\nStatus: install ok installed\nArchitecture: amd64\nVersion: %s\nMaintainer: Nobody <nobody@example.com>\nDescription: hostile\n\n", name, version)
}

// NPM is a package.json.
func NPM(name, version string) string {
	return string(encode(object{"name": name, "version": version, "license": "MIT"}))
}
