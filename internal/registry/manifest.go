package registry

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"

	v1 "github.com/google/go-containerregistry/pkg/v1"

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
	Manifests     []descriptor     `json:"manifests"`
	Subject       *json.RawMessage `json:"subject"`
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
	if len(d.Manifests) > 0 && (d.Config != nil || len(d.Layers) > 0) {
		return document{}, errs.New(errs.Malformed, "the manifest has both layers and manifests")
	}
	return d, d.check()
}

func isKnownType(mediaType string) bool {
	return image.IsIndexType(mediaType) || image.IsManifestType(mediaType)
}

// check validates the descriptors.
func (d document) check() error {
	all := append(append([]descriptor{}, d.Layers...), d.Manifests...)
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
		Kind:         image.Classify(d.traits(in)),
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

func (d document) traits(in descriptor) image.Traits {
	t := image.Traits{
		MediaType:    d.MediaType,
		ArtifactType: d.ArtifactType,
		HasSubject:   d.Subject != nil,
		Annotations:  in.Annotations,
		Platform:     in.platform(),
	}
	if d.Config != nil {
		t.ConfigMediaType = d.Config.MediaType
	}
	for _, l := range d.Layers {
		t.LayerMediaTypes = append(t.LayerMediaTypes, l.MediaType)
	}
	return t
}

// listed is what an index alone says of a child that was not or could not be
// read. An entry that nothing speaks against is taken for an image: reading it
// as one will tell.
func listed(in descriptor) scan.Manifest {
	t := image.Traits{MediaType: in.MediaType, ArtifactType: in.ArtifactType, Annotations: in.Annotations, Platform: in.platform()}
	if image.IsManifestType(in.MediaType) {
		// An entry may carry the config's media type as its artifact type (OCI
		// image-spec, descriptor.md).
		t.ConfigMediaType = in.ArtifactType
		if in.ArtifactType == "" {
			t.ConfigMediaType = image.MediaTypeOCIConfig
		}
	}
	return scan.Manifest{
		Digest:       image.Digest(in.Digest),
		MediaType:    in.MediaType,
		ArtifactType: in.ArtifactType,
		Kind:         image.Classify(t),
		Platform:     in.platform(),
		Size:         in.Size,
	}
}

// maxInstruction bounds the history instruction kept per layer, in bytes.
const maxInstruction = 4096

// describe adds what the config says of the layers. A history that does not fit
// the layers tells nothing about them and is left out.
func describe(m *scan.Manifest, config []byte) error {
	parsed, err := v1.ParseConfigFile(bytes.NewReader(config))
	if err != nil {
		return errs.New(errs.Malformed, "the config is not JSON")
	}
	if m.Platform.OS == "" {
		m.Platform = image.Platform{OS: parsed.OS, Architecture: parsed.Architecture, Variant: parsed.Variant, OSVersion: parsed.OSVersion}
	}
	m.Created = parsed.Created.Time
	if len(parsed.RootFS.DiffIDs) != len(m.Layers) {
		return errs.New(errs.Malformed, "the config lists %d layers, the manifest %d", len(parsed.RootFS.DiffIDs), len(m.Layers))
	}
	var steps []string
	for _, h := range parsed.History {
		if !h.EmptyLayer {
			steps = append(steps, instruction(h.CreatedBy))
		}
	}
	for i := range m.Layers {
		m.Layers[i].DiffID = image.Digest(parsed.RootFS.DiffIDs[i].String())
		if len(steps) == len(m.Layers) {
			m.Layers[i].CreatedBy = steps[i]
		}
	}
	return nil
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
