package image

import (
	"regexp"
	"strings"
)

// Kind says what sort of artifact a manifest is.
type Kind string

// The kinds of artifact. Only Image has layers to catalogue; SBOM is a document
// that was uploaded in place of an image.
const (
	KindImage       Kind = "image"
	KindIndex       Kind = "index"
	KindSBOM        Kind = "sbom"
	KindAttestation Kind = "attestation"
	KindSignature   Kind = "signature"
	KindHelmChart   Kind = "helm_chart"
	KindWASM        Kind = "wasm"
	KindReferrer    Kind = "referrer"
	KindArtifact    Kind = "artifact"
	KindUnknown     Kind = "unknown"
)

// Media types that decide how a manifest is read.
const (
	MediaTypeOCIIndex       = "application/vnd.oci.image.index.v1+json"
	MediaTypeOCIManifest    = "application/vnd.oci.image.manifest.v1+json"
	MediaTypeDockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	MediaTypeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	MediaTypeOCIConfig      = "application/vnd.oci.image.config.v1+json"
	MediaTypeDockerConfig   = "application/vnd.docker.container.image.v1+json"
	mediaTypeHelmConfig     = "application/vnd.cncf.helm.config.v1+json"
	mediaTypeHelmPrefix     = "application/vnd.cncf.helm."
	mediaTypeACRHelmChart   = "application/vnd.acr.helm.chart"
	mediaTypeCosignSigned   = "application/vnd.dev.cosign.simplesigning.v1+json"
	mediaTypeInToto         = "application/vnd.in-toto+json"
)

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
	Annotations     map[string]string // of the descriptor in the parent index
	Platform        Platform          // of the descriptor in the parent index
}

// Classify says what kind of artifact a manifest with these traits is.
func Classify(t Traits) Kind {
	switch {
	case IsIndexType(t.MediaType):
		return KindIndex
	case t.Annotations["vnd.docker.reference.type"] == "attestation-manifest":
		return KindAttestation
	case allLayers(t.LayerMediaTypes, mediaTypeInToto):
		return KindAttestation
	case allLayers(t.LayerMediaTypes, mediaTypeCosignSigned):
		return KindSignature
	case t.ConfigMediaType == mediaTypeHelmConfig || IsChartType(t.ConfigMediaType):
		return KindHelmChart
	case isWASM(t):
		return KindWASM
	case t.HasSubject:
		return KindReferrer
	case t.ArtifactType != "" && !isImageConfig(t.ConfigMediaType):
		return KindArtifact
	case isImageConfig(t.ConfigMediaType) && hasOnlyLayers(t.LayerMediaTypes):
		return KindImage
	case IsManifestType(t.MediaType):
		return KindArtifact
	}
	return KindUnknown
}

func isImageConfig(mediaType string) bool {
	return mediaType == MediaTypeOCIConfig || mediaType == MediaTypeDockerConfig
}

func isWASM(t Traits) bool {
	if strings.HasPrefix(t.ConfigMediaType, "application/vnd.wasm.") || strings.HasPrefix(t.ArtifactType, "application/vnd.wasm.") {
		return true
	}
	return allLayers(t.LayerMediaTypes, "application/wasm") ||
		allLayers(t.LayerMediaTypes, "application/vnd.wasm.content.layer.v1+wasm")
}

// allLayers reports whether there are layers and all are of one media type.
func allLayers(layers []string, mediaType string) bool {
	for _, l := range layers {
		if l != mediaType {
			return false
		}
	}
	return len(layers) > 0
}

// hasOnlyLayers reports whether every layer is a file system layer; an image
// without layers counts.
func hasOnlyLayers(layers []string) bool {
	for _, l := range layers {
		if !strings.Contains(l, ".image.layer.") && !strings.Contains(l, "image.rootfs.") {
			return false
		}
	}
	return true
}
