package image_test

import (
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/image"
)

const (
	ociLayer    = "application/vnd.oci.image.layer.v1.tar+gzip"
	dockerLayer = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	inToto      = "application/vnd.in-toto+json"
)

func TestClassify(t *testing.T) {
	manifest := func(config string, layers ...string) image.Traits {
		return image.Traits{MediaType: image.MediaTypeOCIManifest, ConfigMediaType: config, LayerMediaTypes: layers}
	}
	with := func(t image.Traits, change func(*image.Traits)) image.Traits {
		change(&t)
		return t
	}
	tests := []struct {
		name string
		in   image.Traits
		want image.Kind
	}{
		{"OCI image", manifest(image.MediaTypeOCIConfig, ociLayer, "application/vnd.oci.image.layer.v1.tar+zstd"), image.KindImage},
		{"Docker image", image.Traits{MediaType: image.MediaTypeDockerManifest, ConfigMediaType: image.MediaTypeDockerConfig, LayerMediaTypes: []string{dockerLayer, "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"}}, image.KindImage},
		{"image without layers", manifest(image.MediaTypeOCIConfig), image.KindImage},
		{"OCI index", image.Traits{MediaType: image.MediaTypeOCIIndex}, image.KindIndex},
		{"Docker list", image.Traits{MediaType: image.MediaTypeDockerList}, image.KindIndex},
		{"attestation by annotation", with(manifest(image.MediaTypeOCIConfig, ociLayer), func(t *image.Traits) {
			t.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest"}
		}), image.KindAttestation},
		{"attestation by layers", manifest(image.MediaTypeOCIConfig, inToto, inToto), image.KindAttestation},
		{"cosign signature", manifest(image.MediaTypeOCIConfig, "application/vnd.dev.cosign.simplesigning.v1+json"), image.KindSignature},
		{"Helm chart", manifest("application/vnd.cncf.helm.config.v1+json", "application/vnd.cncf.helm.chart.content.v1.tar+gzip"), image.KindHelmChart},
		{"WASM by config", manifest("application/vnd.wasm.config.v0+json", "application/wasm"), image.KindWASM},
		{"WASM by layers", manifest(image.MediaTypeOCIConfig, "application/wasm"), image.KindWASM},
		{"SBOM that refers to an image", with(manifest("application/vnd.oci.empty.v1+json", "application/spdx+json"), func(t *image.Traits) {
			t.HasSubject, t.ArtifactType = true, "application/spdx+json"
		}), image.KindReferrer},
		{"artifact by its type", with(manifest("application/vnd.oci.empty.v1+json", "text/plain"), func(t *image.Traits) { t.ArtifactType = "text/plain" }), image.KindArtifact},
		{"artifact by its config", manifest("application/vnd.example.config+json", "text/plain"), image.KindArtifact},
		{"image config over other layers", manifest(image.MediaTypeOCIConfig, ociLayer, "text/plain"), image.KindArtifact},
		{"image with an artifact type", with(manifest(image.MediaTypeOCIConfig, ociLayer), func(t *image.Traits) { t.ArtifactType = image.MediaTypeOCIConfig }), image.KindImage},
		{"first schema", image.Traits{MediaType: "application/vnd.docker.distribution.manifest.v1+json"}, image.KindUnknown},
		{"nothing", image.Traits{}, image.KindUnknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := image.Classify(tt.in); got != tt.want {
				t.Errorf("Classify is %s, want %s", got, tt.want)
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
