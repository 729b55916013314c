package image_test

import (
	"slices"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/image"
)

const (
	ociLayer    = "application/vnd.oci.image.layer.v1.tar+gzip"
	dockerLayer = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	inToto      = "application/vnd.in-toto+json"
)

func TestClassify(t *testing.T) {
	const empty = "application/vnd.oci.empty.v1+json"
	type traits = image.Traits
	manifest := func(config string, layers ...string) traits {
		return traits{MediaType: image.MediaTypeOCIManifest, ConfigMediaType: config, LayerMediaTypes: layers}
	}
	with := func(t traits, change func(*traits)) traits {
		change(&t)
		return t
	}
	typed := func(artifactType string, t traits) traits { t.ArtifactType = artifactType; return t }
	about := func(t traits) traits { t.HasSubject = true; return t }
	bundle := func(content string) traits {
		const v3 = "application/vnd.dev.sigstore.bundle.v0.3+json"
		return with(about(typed(v3, manifest(empty, v3))), func(t *traits) { t.Annotations = map[string]string{image.BundleContentAnnotation: content} })
	}
	tests := []struct {
		name string
		in   traits
		want image.Kind
	}{
		{"OCI image", manifest(image.MediaTypeOCIConfig, ociLayer, "application/vnd.oci.image.layer.v1.tar+zstd"), image.KindImage},
		{"Docker image", traits{MediaType: image.MediaTypeDockerManifest, ConfigMediaType: image.MediaTypeDockerConfig, LayerMediaTypes: []string{dockerLayer, "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"}}, image.KindImage},
		{"image without layers", manifest(image.MediaTypeOCIConfig), image.KindImage},
		{"OCI index", traits{MediaType: image.MediaTypeOCIIndex}, image.KindIndex},
		{"Docker list", traits{MediaType: image.MediaTypeDockerList}, image.KindIndex},
		{"image with an artifact type", typed(image.MediaTypeOCIConfig, manifest(image.MediaTypeOCIConfig, ociLayer)), image.KindImage},
		{"image that says it is an SBOM", typed("application/spdx+json", manifest(image.MediaTypeOCIConfig, ociLayer)), image.KindImage},
		{"image that says it is about another", about(manifest(image.MediaTypeOCIConfig, ociLayer, "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip")), image.KindImage},
		{"image that says it is an attestation", with(manifest(image.MediaTypeOCIConfig, ociLayer), func(t *traits) {
			t.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest"}
		}), image.KindImage},
		{"image of an old client", traits{MediaType: image.MediaTypeDockerManifest, ConfigMediaType: "application/octet-stream", LayerMediaTypes: []string{dockerLayer}}, image.KindImage},
		{"layers of a format that is not known", manifest(image.MediaTypeOCIConfig, "application/vnd.oci.image.layer.nydus.blob.v1"), image.KindImage},
		{"converted copy of an image", about(manifest(image.MediaTypeOCIConfig, "application/vnd.oci.image.layer.nydus.blob.v1")), image.KindReferrer},
		{"encrypted image", manifest(image.MediaTypeOCIConfig, ociLayer, ociLayer+"+encrypted"), image.KindEncrypted},
		{"encrypted Docker image", manifest(image.MediaTypeDockerConfig, dockerLayer+"+encrypted"), image.KindEncrypted},
		{"attestation by layers", manifest(image.MediaTypeOCIConfig, inToto, inToto), image.KindAttestation},
		{"attestation by type", about(typed("application/vnd.docker.attestation.manifest.v1+json", manifest(empty, inToto))), image.KindAttestation},
		{"cosign attestation", manifest(image.MediaTypeOCIConfig, "application/vnd.dsse.envelope.v1+json"), image.KindAttestation},
		{"bundle of an attestation", bundle("dsse-envelope"), image.KindAttestation},
		{"bundle of a signature", bundle("message-signature"), image.KindSignature},
		{"bundle of something", bundle(""), image.KindSignature},
		{"cosign signature", manifest(image.MediaTypeOCIConfig, "application/vnd.dev.cosign.simplesigning.v1+json"), image.KindSignature},
		{"Notation signature", about(typed("application/vnd.cncf.notary.signature", manifest(empty, "application/jose+json"))), image.KindSignature},
		{"Notation signature by its config", about(manifest("application/vnd.cncf.notary.signature", "application/cose")), image.KindSignature},
		{"SPDX referrer", about(typed("application/spdx+json", manifest(empty, "application/spdx+json"))), image.KindSBOMFile},
		{"CycloneDX referrer", about(typed("application/vnd.cyclonedx+json", manifest(empty, "application/json"))), image.KindSBOMFile},
		{"cosign SBOM", manifest(image.MediaTypeOCIConfig, "text/spdx+json"), image.KindSBOMFile},
		{"Harbor's SBOM", about(manifest("application/vnd.goharbor.harbor.sbom.v1", "application/vnd.oci.image.layer.v1.tar")), image.KindSBOMFile},
		{"Helm chart", manifest("application/vnd.cncf.helm.config.v1+json", "application/vnd.cncf.helm.chart.content.v1.tar+gzip"), image.KindHelmChart},
		{"WASM by config", manifest("application/vnd.wasm.config.v0+json", "application/wasm"), image.KindWASM},
		{"WASM by layers", manifest(image.MediaTypeOCIConfig, "application/wasm"), image.KindWASM},
		{"old WASM", manifest("application/vnd.wasm.config.v1+json", "application/vnd.wasm.content.layer.v1+wasm"), image.KindWASM},
		{"WASM with files", manifest("application/vnd.fermyon.spin.application.v1+config", "application/vnd.wasm.content.layer.v1+wasm", "application/vnd.wasm.content.layer.v1+data"), image.KindWASM},
		{"ModelPack", typed("application/vnd.cncf.model.manifest.v1+json", manifest("application/vnd.cncf.model.config.v1+json", "application/vnd.cncf.model.weight.v1.raw")), image.KindModel},
		{"Docker model", manifest("application/vnd.docker.ai.model.config.v0.1+json", "application/vnd.docker.ai.gguf.v3", "application/vnd.docker.ai.license"), image.KindModel},
		{"Ollama model", traits{MediaType: image.MediaTypeDockerManifest, ConfigMediaType: image.MediaTypeDockerConfig, LayerMediaTypes: []string{"application/vnd.ollama.image.model", "application/vnd.ollama.image.template"}}, image.KindModel},
		{"other referrer", about(typed("application/vnd.example+json", manifest(empty, "text/plain"))), image.KindReferrer},
		{"artifact by its type", typed("text/plain", manifest(empty, "text/plain")), image.KindArtifact},
		{"artifact by its config", manifest("application/vnd.example.config+json", "text/plain"), image.KindArtifact},
		{"artifact in the layers of an image", manifest("application/vnd.example.config+json", ociLayer), image.KindArtifact},
		{"image config over other layers", manifest(image.MediaTypeOCIConfig, ociLayer, "text/plain"), image.KindArtifact},
		{"nothing but a config without a type", manifest("application/octet-stream"), image.KindArtifact},
		{"OCI artifact manifest", traits{MediaType: image.MediaTypeOCIArtifact, ArtifactType: "text/plain", LayerMediaTypes: []string{"text/plain"}}, image.KindArtifact},
		{"SBOM in an OCI artifact manifest", traits{MediaType: image.MediaTypeOCIArtifact, ArtifactType: "application/spdx+json", HasSubject: true}, image.KindSBOMFile},
		{"first schema", traits{MediaType: "application/vnd.docker.distribution.manifest.v1+json"}, image.KindSchema1},
		{"signed first schema", traits{MediaType: "application/vnd.docker.distribution.manifest.v1+prettyjws"}, image.KindSchema1},
		{"unknown type with the parts of an image", with(manifest(image.MediaTypeOCIConfig, ociLayer), func(t *traits) { t.MediaType = "application/vnd.example+json" }), image.KindUnknown},
		{"nothing", traits{}, image.KindUnknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := image.Classify(tt.in); got != tt.want {
				t.Errorf("Classify is %s, want %s", got, tt.want)
			}
			if !slices.Contains(image.Kinds(), tt.want) {
				t.Errorf("%s is not among the kinds", tt.want)
			}
		})
	}
}

func TestClassifyEntry(t *testing.T) {
	tests := []struct {
		name string
		in   image.Traits
		want image.Kind
	}{
		{"manifest", image.Traits{MediaType: image.MediaTypeDockerManifest}, image.KindImage},
		{"manifest with the config's type", image.Traits{MediaType: image.MediaTypeOCIManifest, ArtifactType: image.MediaTypeOCIConfig}, image.KindImage},
		{"attestation", image.Traits{MediaType: image.MediaTypeOCIManifest, Annotations: map[string]string{"vnd.docker.reference.type": "attestation-manifest"}}, image.KindAttestation},
		{"chart", image.Traits{MediaType: image.MediaTypeOCIManifest, ArtifactType: "application/vnd.cncf.helm.config.v1+json"}, image.KindHelmChart},
		{"nested index", image.Traits{MediaType: image.MediaTypeOCIIndex}, image.KindIndex},
		{"OCI artifact manifest", image.Traits{MediaType: image.MediaTypeOCIArtifact, ArtifactType: "text/plain"}, image.KindArtifact},
		{"a layer", image.Traits{MediaType: ociLayer}, image.KindUnknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := image.ClassifyEntry(tt.in); got != tt.want {
				t.Errorf("ClassifyEntry is %s, want %s", got, tt.want)
			}
		})
	}
}

func TestIsSignatureTag(t *testing.T) {
	hex := string(digest[len("sha256:"):])
	for s, want := range map[string]bool{
		"sha256-" + hex: true, "sha256-" + hex + ".sig": true, "sha256-" + hex + ".att": true, "sha256-" + hex + ".sbom": true,
		"sha256-" + hex + ".exe": false, "sha256-" + hex[1:]: false, "x-sha256-" + hex: false, "latest": false, "": false,
	} {
		if got := image.IsSignatureTag(s); got != want {
			t.Errorf("IsSignatureTag(%q) is %v", s, got)
		}
	}
}

func TestMediaTypes(t *testing.T) {
	for s, want := range map[string][3]bool{
		image.MediaTypeOCIIndex:                              {true, false, false},
		image.MediaTypeDockerList:                            {true, false, false},
		image.MediaTypeOCIManifest:                           {false, true, false},
		image.MediaTypeDockerManifest:                        {false, true, false},
		"application/vnd.cncf.helm.config.v1+json":           {false, false, true},
		"application/vnd.acr.helm.chart":                     {false, false, true},
		"application/vnd.cncf.helm.chart.provenance.v1.prov": {false, false, true},
		"": {false, false, false},
	} {
		if got := [3]bool{image.IsIndexType(s), image.IsManifestType(s), image.IsChartType(s)}; got != want {
			t.Errorf("%q: index, manifest, chart is %v, want %v", s, got, want)
		}
	}
}
