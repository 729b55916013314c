package registry

import (
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// document is a manifest or an index as it is served; which of them, the media
// type says (OCI image-spec, manifest.md and image-index.md).
type document struct {
	SchemaVersion int              `json:"schemaVersion"`
	MediaType     string           `json:"mediaType"`
	ArtifactType  string           `json:"artifactType"`
	Config        *descriptor      `json:"config"`
	Layers        []descriptor     `json:"layers"`
	Blobs         []descriptor     `json:"blobs"` // of an OCI artifact manifest
	Manifests     []descriptor     `json:"manifests"`
	Subject       *json.RawMessage `json:"subject"`
	Annotations   json.RawMessage  `json:"annotations"` // often of the wrong shape, and seldom asked for
}

type descriptor struct {
	MediaType    string            `json:"mediaType"`
	ArtifactType string            `json:"artifactType"`
	Digest       string            `json:"digest"`
	Size         int64             `json:"size"`
	Annotations  map[string]string `json:"annotations"`
	Platform     *platform         `json:"platform"`
	// URLs are where a layer is kept outside its registry.
	URLs []string `json:"urls"`
}

type platform struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant"`
	OSVersion    string `json:"os.version"`
}

func (d descriptor) platform() image.Platform {
	if d.Platform == nil {
		return image.Platform{}
	}
	return image.Platform(*d.Platform)
}

// parseManifest reads a manifest that was served with a content type. A body
// that says another media type than its header is refused, and so is one that
// reads both as a manifest and as an index: readers would disagree about what
// it is.
func parseManifest(body []byte, contentType string) (document, error) {
	var d document
	if err := json.Unmarshal(body, &d); err != nil {
		if strange(contentType) {
			return document{MediaType: contentType}, nil
		}
		return document{}, errs.New(errs.Malformed, "the manifest is not JSON")
	}
	served := isKnownType(contentType)
	switch {
	case d.MediaType == "" && served:
		d.MediaType = contentType
	case d.MediaType == "" && len(d.Manifests) > 0:
		d.MediaType = image.MediaTypeOCIIndex
	case d.MediaType == "" && d.Config != nil:
		d.MediaType = image.MediaTypeOCIManifest
	case d.MediaType == "":
		// Docker's first schema has no media type in the body.
		d.MediaType = contentType
	case served && d.MediaType != contentType:
		return document{}, errs.New(errs.Malformed, "the manifest says it is %.100q and was served as %.100q", d.MediaType, contentType)
	}
	if strange(d.MediaType) {
		// Its fields may mean anything.
		return document{MediaType: d.MediaType}, nil
	}
	if len(d.Manifests) > 0 && (d.Config != nil || len(d.Layers) > 0) {
		return document{}, errs.New(errs.Malformed, "the manifest has both layers and manifests")
	}
	return d, d.check()
}

// strange reports whether a media type is of something that is not known here,
// and not just what servers say of any content.
func strange(mediaType string) bool {
	switch mediaType, _, _ := strings.Cut(mediaType, ";"); {
	case mediaType == "", mediaType == "application/json", mediaType == "application/octet-stream", strings.HasPrefix(mediaType, "text/"):
		return false
	default:
		return !isKnownType(mediaType) && !image.IsSchema1Type(mediaType) && mediaType != image.MediaTypeOCIArtifact
	}
}

func isKnownType(mediaType string) bool {
	return image.IsIndexType(mediaType) || image.IsManifestType(mediaType)
}

// check validates the descriptors.
func (d document) check() error {
	all := slices.Concat(d.Layers, d.Manifests)
	if d.Config != nil {
		all = append(all, *d.Config)
	}
	var sum int64
	for _, e := range all {
		if _, err := image.ParseDigest(e.Digest); err != nil {
			return errs.Wrap(errs.Malformed, "manifest", err)
		}
		if sum += e.Size; e.Size < 0 || sum < 0 {
			return errs.New(errs.Malformed, "the manifest gives %s a size of %d", e.Digest, e.Size)
		}
	}
	if image.IsManifestType(d.MediaType) && d.Config == nil {
		return errs.New(errs.Malformed, "the manifest has no config")
	}
	return nil
}

// manifest turns the document into the project's words, as far as itself tells.
func (d document) manifest(digest image.Digest, size int, in descriptor) scan.Manifest {
	m := scan.Manifest{
		Digest:       digest,
		MediaType:    d.MediaType,
		ArtifactType: d.ArtifactType,
		Kind:         image.Classify(d.traits()),
		Platform:     in.platform(),
		Size:         int64(size),
	}
	if d.Config != nil {
		m.ConfigDigest = image.Digest(d.Config.Digest)
	}
	for _, l := range d.Layers {
		m.ContentSize += l.Size
		m.Layers = append(m.Layers, scan.Layer{Digest: image.Digest(l.Digest), MediaType: l.MediaType, Size: l.Size})
	}
	return m
}

func (d document) traits() image.Traits {
	t := image.Traits{MediaType: d.MediaType, ArtifactType: d.ArtifactType, HasSubject: d.Subject != nil, Annotations: d.bundle()}
	if d.Config != nil {
		t.ConfigMediaType = d.Config.MediaType
	}
	for _, l := range slices.Concat(d.Layers, d.Blobs) {
		t.LayerMediaTypes = append(t.LayerMediaTypes, l.MediaType)
	}
	return t
}

// bundle is the one annotation that tells kinds apart; whatever else stands
// there may have any shape.
func (d document) bundle() map[string]string {
	var a struct {
		Content string `json:"dev.sigstore.bundle.content"`
	}
	if err := json.Unmarshal(d.Annotations, &a); err != nil {
		return nil
	}
	return map[string]string{image.BundleContentAnnotation: a.Content}
}

// listed is what an index alone says of a child that was not or could not be
// read, and why it was not. An entry that nothing speaks against is taken for an
// image: reading it as one will tell.
func listed(in descriptor, unread error) scan.Manifest {
	return scan.Manifest{
		Digest:       image.Digest(in.Digest),
		MediaType:    in.MediaType,
		ArtifactType: in.ArtifactType,
		Kind:         in.kind(),
		Platform:     in.platform(),
		Size:         in.Size,
		Unread:       unread,
	}
}

// kind is what an entry of an index says of what it points to.
func (d descriptor) kind() image.Kind {
	return image.ClassifyEntry(image.Traits{MediaType: d.MediaType, ArtifactType: d.ArtifactType, Annotations: d.Annotations})
}

// passedBy reports whether a child of an index is not asked for: it is of a type
// that nobody knows, or an attestation that no runtime would take for an image
// to run.
func (d descriptor) passedBy() bool {
	if !isKnownType(d.MediaType) {
		return true
	}
	unknown := image.Platform{OS: "unknown", Architecture: "unknown"}
	return d.platform() == unknown && d.kind() == image.KindAttestation
}

// maxInstruction bounds the history instruction kept per layer, in bytes.
const maxInstruction = 4096

// describe adds what the config says of the image and its layers. A history that
// does not fit the layers tells nothing about them and is left out. What only a
// WebAssembly runtime runs holds nothing that a cataloger could read.
func describe(m *scan.Manifest, content []byte) error {
	c, err := parseConfig(content)
	if err != nil {
		return err
	}
	m.Platform = completed(m.Platform, image.Platform{OS: c.OS, Architecture: c.Architecture, Variant: c.Variant, OSVersion: c.OSVersion})
	m.Created = c.Created
	if len(c.RootFS.DiffIDs) != len(m.Layers) {
		return errs.New(errs.Malformed, "the config lists %d layers, the manifest %d", len(c.RootFS.DiffIDs), len(m.Layers))
	}
	for i := range m.Layers {
		m.Layers[i].DiffID = image.Digest(c.RootFS.DiffIDs[i])
		if len(c.steps) == len(m.Layers) {
			m.Layers[i].CreatedBy = instruction(c.steps[i])
		}
	}
	if strings.HasPrefix(m.Platform.Architecture, "wasm") {
		m.Kind = image.KindWASM
	}
	return nil
}

// completed is the platform that an index names, with what only the config says.
func completed(listed, own image.Platform) image.Platform {
	if listed.OS == "" {
		return own
	}
	if listed.OS == own.OS && listed.OSVersion == "" {
		listed.OSVersion = own.OSVersion
	}
	return listed
}

func instruction(s string) string {
	if len(s) <= maxInstruction {
		return s
	}
	s = s[:maxInstruction]
	for len(s) > 0 && !utf8.ValidString(s[len(s)-1:]) {
		s = s[:len(s)-1]
	}
	return s + "…"
}
