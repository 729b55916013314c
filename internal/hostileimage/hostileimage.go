// Package hostileimage makes images and other artifacts that nobody would make in
// earnest: bombs, lies and things that look like images, for tests.
//
// It is responsible for content that is the same every time and for sending it to
// a registry, real or its own. It makes everything as it is read, so that no bomb
// is ever in memory, on disk or in version control. It must not import anything of
// the project.
package hostileimage

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
)

// Media types of what is made here.
const (
	ociIndex       = "application/vnd.oci.image.index.v1+json"
	ociManifest    = "application/vnd.oci.image.manifest.v1+json"
	ociConfig      = "application/vnd.oci.image.config.v1+json"
	ociEmpty       = "application/vnd.oci.empty.v1+json"
	ociTar         = "application/vnd.oci.image.layer.v1.tar"
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerConfig   = "application/vnd.docker.container.image.v1+json"
	dockerTarGzip  = "application/vnd.docker.image.rootfs.diff.tar.gzip"
)

// Artifact is a manifest and what has to be in a registry before it. The zero
// value is nothing.
type Artifact struct {
	MediaType string
	Manifest  []byte
	Blobs     []Blob
	Children  []Artifact
}

// Digest is that of the manifest, "sha256:…".
func (a Artifact) Digest() string { return digestOf(a.Manifest) }

// Blob is content that can be read any number of times, as its descriptor in a
// manifest has it. Its digest and size need not be true.
type Blob struct {
	MediaType string
	Digest    string
	Size      int64
	// DiffID is the digest of what a layer unpacks to.
	DiffID string
	// URLs are where a layer is kept outside of its registry.
	URLs []string
	// Absent keeps the blob from being sent to a registry.
	Absent bool
	// Breaks has our own registry tell the size first, so that content that is
	// shorter is a connection that broke off and not an end.
	Breaks bool
	open   func() io.ReadCloser
}

// Open reads the content anew.
func (b Blob) Open() io.ReadCloser { return b.open() }

// Bytes is a blob that is held in memory.
func Bytes(mediaType string, content []byte) Blob {
	return Blob{MediaType: mediaType, Digest: digestOf(content), Size: int64(len(content)), DiffID: digestOf(content), open: opener(func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})}
}

// object is JSON to be.
type object = map[string]any

func (b Blob) descriptor() object {
	d := object{"mediaType": b.MediaType, "digest": b.Digest, "size": b.Size}
	if len(b.URLs) > 0 {
		d["urls"] = b.URLs
	}
	return d
}

// Descriptor is the artifact's entry in an index, with further fields.
func (a Artifact) descriptor(more object) object {
	d := object{"mediaType": a.MediaType, "digest": a.Digest(), "size": len(a.Manifest)}
	for k, v := range more {
		d[k] = v
	}
	return d
}

// seal makes the artifact of a manifest.
func seal(mediaType string, manifest object, blobs ...Blob) Artifact {
	if _, ok := manifest["mediaType"]; !ok {
		manifest["mediaType"] = mediaType
	}
	manifest["schemaVersion"] = 2
	return Artifact{MediaType: mediaType, Manifest: encode(manifest), Blobs: blobs}
}

// encode writes what this package made; that cannot fail.
func encode(v any) []byte {
	content, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("hostileimage: %v", err))
	}
	return content
}

func digestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// opener makes a reader of something that writes.
func opener(write func(io.Writer) error) func() io.ReadCloser {
	return func() io.ReadCloser {
		r, w := io.Pipe()
		go func() { _ = w.CloseWithError(write(w)) }()
		return r
	}
}
