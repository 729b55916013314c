package sampleimage

import (
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Index returns an OCI index over the images, each under the platform of its
// own config. With attestation every image is followed by the manifest that
// BuildKit adds to say how it was built.
func Index(attestation bool, images ...v1.Image) (v1.ImageIndex, error) {
	var entries []mutate.IndexAddendum
	for _, img := range images {
		config, err := img.ConfigFile()
		if err != nil {
			return nil, fmt.Errorf("sampleimage: index: %w", err)
		}
		entries = append(entries, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: config.Platform()}})
		if !attestation {
			continue
		}
		entry, err := attestationOf(img)
		if err != nil {
			return nil, err
		}
		entries = append(entries, entry)
	}
	return mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), entries...), nil
}

// attestationOf is an index entry as BuildKit writes it for provenance.
func attestationOf(img v1.Image) (mutate.IndexAddendum, error) {
	digest, err := img.Digest()
	if err != nil {
		return mutate.IndexAddendum{}, fmt.Errorf("sampleimage: attestation: %w", err)
	}
	statement := fmt.Sprintf(`{"_type":"https://in-toto.io/Statement/v0.1","predicateType":"https://slsa.dev/provenance/v0.2","subject":[{"name":"_","digest":{"%s":"%s"}}],"predicate":{}}`, digest.Algorithm, digest.Hex)
	unknown := v1.Platform{OS: "unknown", Architecture: "unknown"}
	doc, err := artifact(types.OCIConfigJSON, statement, "application/vnd.in-toto+json", unknown)
	if err != nil {
		return mutate.IndexAddendum{}, err
	}
	return mutate.IndexAddendum{Add: doc, Descriptor: v1.Descriptor{
		Platform: &unknown,
		Annotations: map[string]string{
			"vnd.docker.reference.type":   "attestation-manifest",
			"vnd.docker.reference.digest": digest.String(),
		},
	}}, nil
}

// HelmChart returns a chart as Helm pushes it: an artifact in the form of an
// image manifest.
func HelmChart() (v1.Image, error) {
	chart := tree{}
	chart.add("/shop/Chart.yaml", "apiVersion: v2\nname: shop\nversion: 1.0.0\n")
	content, err := chart.tar()
	if err != nil {
		return nil, fmt.Errorf("sampleimage: chart: %w", err)
	}
	return artifact("application/vnd.cncf.helm.config.v1+json", string(content), "application/vnd.cncf.helm.chart.content.v1.tar+gzip", v1.Platform{})
}

// artifact wraps one blob in an image manifest.
func artifact(config types.MediaType, content string, layer types.MediaType, p v1.Platform) (v1.Image, error) {
	img, err := base(p)
	if err != nil {
		return nil, err
	}
	img = mutate.ConfigMediaType(img, config)
	img, err = mutate.Append(img, mutate.Addendum{Layer: static.NewLayer([]byte(content), layer), MediaType: layer})
	if err != nil {
		return nil, fmt.Errorf("sampleimage: artifact: %w", err)
	}
	return img, nil
}

// WithSubject returns img as a referrer of subject (OCI image-spec,
// manifest.md, "subject").
func WithSubject(img, subject v1.Image) (v1.Image, error) {
	d, err := partial.Descriptor(subject)
	if err != nil {
		return nil, fmt.Errorf("sampleimage: subject: %w", err)
	}
	out, ok := mutate.Subject(img, *d).(v1.Image)
	if !ok {
		return nil, fmt.Errorf("sampleimage: subject: not an image")
	}
	return out, nil
}
