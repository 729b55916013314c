package hostileimage

// Other says what an artifact that is no image consists of: everything that its
// kind shows in. Empty fields are left out.
type Other struct {
	Type    string // artifactType
	Config  string // media type of the config; empty is OCI's empty one
	Layers  []string
	Subject *Artifact
	// Annotations of the manifest.
	Annotations map[string]string
	// Docker gives the manifest Docker's media type.
	Docker bool
}

// Artifact makes the manifest, with contents of a line each.
func (o Other) Artifact() Artifact {
	config, mediaType := o.Config, ociManifest
	if config == "" {
		config = ociEmpty
	}
	if o.Docker {
		mediaType = dockerManifest
	}
	blobs := []Blob{Bytes(config, []byte("{}"))}
	layers := []object{}
	for _, l := range o.Layers {
		b := Bytes(l, []byte("{\"content\":\""+l+"\"}\n"))
		blobs, layers = append(blobs, b), append(layers, b.descriptor())
	}
	manifest := object{"config": blobs[0].descriptor(), "layers": layers}
	if o.Type != "" {
		manifest["artifactType"] = o.Type
	}
	if o.Subject != nil {
		manifest["subject"] = o.Subject.descriptor(nil)
	}
	if o.Annotations != nil {
		manifest["annotations"] = o.Annotations
	}
	return seal(mediaType, manifest, blobs...)
}

// ArtifactManifest is a manifest of the release candidates of OCI image-spec 1.1,
// of an SBOM about a subject when there is one.
func ArtifactManifest(artifactType string, subject *Artifact) Artifact {
	const mediaType = "application/vnd.oci.artifact.manifest.v1+json"
	b := Bytes(artifactType, []byte("content\n"))
	manifest := object{"artifactType": artifactType, "blobs": []object{b.descriptor()}}
	if subject != nil {
		manifest["subject"] = subject.descriptor(nil)
	}
	return seal(mediaType, manifest, b)
}

// Schema1 is a manifest of Docker's first schema, signed or not. The signature is
// none that anybody would accept.
func Schema1(signed bool) Artifact {
	body := object{
		"schemaVersion": 1, "name": "shop/old", "tag": "1", "architecture": "amd64",
		"fsLayers": []object{{"blobSum": Honest().Digest}}, "history": []object{{"v1Compatibility": `{"id":"0"}`}},
	}
	if !signed {
		return Artifact{MediaType: "application/vnd.docker.distribution.manifest.v1+json", Manifest: encode(body)}
	}
	body["signatures"] = []object{{"protected": "e30", "signature": "AA", "header": object{}}}
	return Artifact{MediaType: "application/vnd.docker.distribution.manifest.v1+prettyjws", Manifest: encode(body)}
}

// Attestation is what BuildKit adds to an index for an image.
func Attestation(of Artifact) Entry {
	const inToto = "application/vnd.in-toto+json"
	a := Other{Config: ociConfig, Layers: []string{inToto}}.Artifact()
	return Entry{Artifact: a, More: object{
		"platform":    object{"os": "unknown", "architecture": "unknown"},
		"annotations": object{"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": of.Digest()},
	}}
}
