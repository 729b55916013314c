package image

import (
	"regexp"
	"slices"
	"strings"
)

// Kind says what sort of artifact a manifest is.
type Kind string

// The kinds of artifact. Only an image has layers to catalogue; KindSBOM is a
// document that was uploaded to Tidewaiter in place of an image. docs/api.md
// describes each.
const (
	KindImage       Kind = "image"
	KindIndex       Kind = "index"
	KindSBOM        Kind = "sbom"
	KindEncrypted   Kind = "encrypted_image"
	KindSchema1     Kind = "docker_schema1"
	KindAttestation Kind = "attestation"
	KindSignature   Kind = "signature"
	KindSBOMFile    Kind = "sbom_file"
	KindHelmChart   Kind = "helm_chart"
	KindWASM        Kind = "wasm"
	KindModel       Kind = "model"
	KindReferrer    Kind = "referrer"
	KindArtifact    Kind = "artifact"
	KindUnknown     Kind = "unknown"
)

// Kinds lists every kind, in the order of their declaration.
func Kinds() []Kind {
	return []Kind{
		KindImage, KindIndex, KindSBOM, KindEncrypted, KindSchema1, KindAttestation, KindSignature, KindSBOMFile,
		KindHelmChart, KindWASM, KindModel, KindReferrer, KindArtifact, KindUnknown,
	}
}

// Media types that decide how a manifest is read.
const (
	MediaTypeOCIIndex       = "application/vnd.oci.image.index.v1+json"
	MediaTypeOCIManifest    = "application/vnd.oci.image.manifest.v1+json"
	MediaTypeDockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	MediaTypeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	MediaTypeOCIConfig      = "application/vnd.oci.image.config.v1+json"
	MediaTypeDockerConfig   = "application/vnd.docker.container.image.v1+json"
	// MediaTypeOCIArtifact is a manifest of the release candidates of OCI
	// image-spec 1.1. It has blobs in place of layers and no config.
	MediaTypeOCIArtifact = "application/vnd.oci.artifact.manifest.v1+json"

	mediaTypeSchema1       = "application/vnd.docker.distribution.manifest.v1+json"
	mediaTypeSchema1Signed = "application/vnd.docker.distribution.manifest.v1+prettyjws"
	mediaTypeHelmPrefix    = "application/vnd.cncf.helm."
	mediaTypeACRHelmChart  = "application/vnd.acr.helm.chart"
)

// BundleContentAnnotation tells what a Sigstore bundle holds: "dsse-envelope"
// for an attestation, "message-signature" for a signature.
const BundleContentAnnotation = "dev.sigstore.bundle.content"

var signatureTag = regexp.MustCompile(`^sha256-[0-9a-f]{64}(\.(sig|att|sbom))?$`)

// IsSignatureTag reports whether a tag is one that cosign or the OCI referrers
// fallback makes up from a digest (OCI distribution-spec, "Referrers Tag
// Schema"); what it names is never a runnable image.
func IsSignatureTag(tag string) bool { return signatureTag.MatchString(tag) }

// IsIndexType reports whether a media type is an image index or manifest list.
func IsIndexType(mediaType string) bool {
	return mediaType == MediaTypeOCIIndex || mediaType == MediaTypeDockerList
}

// IsManifestType reports whether a media type is an image manifest.
func IsManifestType(mediaType string) bool {
	return mediaType == MediaTypeOCIManifest || mediaType == MediaTypeDockerManifest
}

// IsSchema1Type reports whether a media type is Docker's first manifest schema.
func IsSchema1Type(mediaType string) bool {
	return mediaType == mediaTypeSchema1 || mediaType == mediaTypeSchema1Signed
}

// IsChartType reports whether a media type belongs to a Helm chart.
func IsChartType(mediaType string) bool {
	return mediaType == mediaTypeACRHelmChart || strings.HasPrefix(mediaType, mediaTypeHelmPrefix)
}

// Traits are the parts of a manifest that tell its kind.
type Traits struct {
	MediaType       string
	ArtifactType    string
	ConfigMediaType string
	LayerMediaTypes []string
	HasSubject      bool
	Annotations     map[string]string
}

// Classify says what kind of artifact a manifest with these traits is. What can
// be run is an image whatever else it says of itself: a subject, an artifact
// type or an annotation hides nothing.
func Classify(t Traits) Kind {
	switch {
	case IsIndexType(t.MediaType):
		return KindIndex
	case IsSchema1Type(t.MediaType):
		return KindSchema1
	case !IsManifestType(t.MediaType) && t.MediaType != MediaTypeOCIArtifact:
		return KindUnknown
	case t.isImage() && slices.ContainsFunc(t.LayerMediaTypes, isEncrypted):
		return KindEncrypted
	case t.isImage():
		return KindImage
	case t.isAttestation():
		return KindAttestation
	case t.isSignature():
		return KindSignature
	case t.says(isSBOMType):
		return KindSBOMFile
	case IsChartType(t.ConfigMediaType) || IsChartType(t.ArtifactType):
		return KindHelmChart
	case t.says(isWASMType) || slices.ContainsFunc(t.LayerMediaTypes, isWASMType):
		return KindWASM
	case t.says(isModelType) || slices.ContainsFunc(t.LayerMediaTypes, isModelType):
		return KindModel
	case t.HasSubject:
		return KindReferrer
	}
	return KindArtifact
}

// ClassifyEntry says what an index tells of a child that nobody read: its media
// type, its artifact type and the annotations of its entry. Somebody else may
// have written another entry for the same digest, so the child's own content has
// the last word. What nothing speaks against is taken for an image.
func ClassifyEntry(t Traits) Kind {
	if t.Annotations["vnd.docker.reference.type"] == "attestation-manifest" {
		return KindAttestation
	}
	if IsManifestType(t.MediaType) {
		// An entry may carry the config's media type as its artifact type (OCI
		// image-spec, descriptor.md).
		t.ConfigMediaType = t.ArtifactType
		if t.ArtifactType == "" {
			t.ConfigMediaType = MediaTypeOCIConfig
		}
	}
	return Classify(t)
}

// isImage reports whether a runtime would unpack and run it. An image with a
// subject is one only when all its layers are of the usual kinds: some registries
// keep a converted copy of an image beside it, in a format of their own.
func (t Traits) isImage() bool {
	known := t.ConfigMediaType == MediaTypeOCIConfig || t.ConfigMediaType == MediaTypeDockerConfig
	if !known && (len(t.LayerMediaTypes) == 0 || !isDefaultedConfig(t.ConfigMediaType)) {
		return false
	}
	if t.HasSubject || !known {
		return len(t.LayerMediaTypes) > 0 && all(t.LayerMediaTypes, isTar)
	}
	return all(t.LayerMediaTypes, isLayer)
}

// isDefaultedConfig knows what old clients and registries wrote in place of the
// config's media type; runtimes take it for an image's.
func isDefaultedConfig(mediaType string) bool {
	switch mediaType {
	case "", "application/octet-stream", "application/json", "text/html":
		return true
	}
	return false
}

// isLayer reports whether a media type is that of a file system layer, of
// whatever format.
func isLayer(mediaType string) bool {
	return strings.Contains(mediaType, ".image.layer.") || strings.Contains(mediaType, "image.rootfs.")
}

// isTar reports whether a media type is that of a layer as all runtimes know it.
func isTar(mediaType string) bool {
	rest, ok := strings.CutPrefix(mediaType, "application/vnd.oci.image.layer.")
	if !ok {
		rest, ok = strings.CutPrefix(mediaType, "application/vnd.docker.image.rootfs.")
	}
	return ok && strings.Contains(rest, "tar")
}

// isEncrypted knows the layers of ocicrypt.
func isEncrypted(mediaType string) bool { return strings.HasSuffix(mediaType, "+encrypted") }

// isAttestation knows what BuildKit, cosign and Sigstore's tools write.
func (t Traits) isAttestation() bool {
	switch {
	case t.ArtifactType == "application/vnd.docker.attestation.manifest.v1+json" || t.says(isStatement):
		return true
	case t.says(isBundle):
		return t.Annotations[BundleContentAnnotation] == "dsse-envelope"
	}
	return false
}

// isSignature knows what cosign and Notation write.
func (t Traits) isSignature() bool {
	return t.says(func(mediaType string) bool {
		switch mediaType {
		case "application/vnd.dev.cosign.simplesigning.v1+json", "application/vnd.dev.cosign.artifact.sig.v1+json", "application/vnd.cncf.notary.signature":
			return true
		}
		return isBundle(mediaType)
	})
}

func isStatement(mediaType string) bool {
	return strings.HasPrefix(mediaType, "application/vnd.in-toto") || mediaType == "application/vnd.dsse.envelope.v1+json"
}

func isBundle(mediaType string) bool {
	return strings.HasPrefix(mediaType, "application/vnd.dev.sigstore.bundle")
}

func isSBOMType(mediaType string) bool {
	switch strings.TrimSuffix(strings.TrimSuffix(mediaType, "+json"), "+xml") {
	case "text/spdx", "application/spdx", "text/vnd.cyclonedx", "application/vnd.cyclonedx", "application/vnd.syft", "application/vnd.goharbor.harbor.sbom.v1":
		return true
	}
	return false
}

// isWASMType knows the media types of the CNCF and those before them.
func isWASMType(mediaType string) bool {
	return mediaType == "application/wasm" || strings.HasSuffix(mediaType, "+wasm") || strings.HasPrefix(mediaType, "application/vnd.wasm.")
}

// isModelType knows the packages of language models: CNCF ModelPack, Docker,
// Ollama and KitOps.
func isModelType(mediaType string) bool {
	for _, prefix := range []string{"application/vnd.cncf.model.", "application/vnd.cnai.model.", "application/vnd.docker.ai.", "application/vnd.ollama.image.model", "application/vnd.kitops.modelkit."} {
		if strings.HasPrefix(mediaType, prefix) {
			return true
		}
	}
	return strings.Contains(mediaType, "gguf") || strings.Contains(mediaType, "safetensors")
}

// says reports whether the artifact type, the config or all layers are of a type.
func (t Traits) says(is func(mediaType string) bool) bool {
	return is(t.ArtifactType) || is(t.ConfigMediaType) || len(t.LayerMediaTypes) > 0 && all(t.LayerMediaTypes, is)
}

func all(mediaTypes []string, is func(string) bool) bool {
	return !slices.ContainsFunc(mediaTypes, func(m string) bool { return !is(m) })
}
