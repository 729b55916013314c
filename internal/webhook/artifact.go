package webhook

import "github.com/tidewaiter/tidewaiter/internal/image"

// kindReason says why a kind of artifact is not looked into; what is not known
// well enough is left to the scan.
func kindReason(kind image.Kind) string {
	switch kind {
	case image.KindHelmChart:
		return ReasonChart
	case image.KindSignature:
		return ReasonSignature
	case image.KindAttestation:
		return ReasonAttestation
	case image.KindReferrer, image.KindSBOMFile:
		return ReasonReferrer
	case image.KindArtifact, image.KindWASM, image.KindModel:
		return ReasonArtifact
	}
	return ""
}

// mediaTypesReason is kindReason for events that tell media types and neither the
// type of the artifact nor its subject: less can be said for certain.
func mediaTypesReason(traits image.Traits) string {
	switch reason := kindReason(image.Classify(traits)); reason {
	case ReasonChart, ReasonSignature, ReasonAttestation:
		return reason
	}
	return ""
}
