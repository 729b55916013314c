// Package sbom holds the words for software bills of materials: formats, and
// the stored document with what is known about it.
//
// It must not decode documents; that is the work of catalog and match.
package sbom

import "github.com/tidewaiter/tidewaiter/internal/errs"

// Format names a document format.
type Format string

// The formats. SyftJSON is the master copy; the others are made on request.
const (
	SyftJSON      Format = "syft-json"
	CycloneDXJSON Format = "cyclonedx-json"
	SPDXJSON      Format = "spdx-json"
)

// ParseFormat reads a format name; the empty string is SyftJSON. The error is
// of kind Invalid.
func ParseFormat(s string) (Format, error) {
	switch f := Format(s); f {
	case "":
		return SyftJSON, nil
	case SyftJSON, CycloneDXJSON, SPDXJSON:
		return f, nil
	}
	return "", errs.New(errs.Invalid, "sbom: unknown format %.40q", s).
		WithHint("use syft-json, cyclonedx-json or spdx-json")
}

// MediaType returns the media type to serve a format with.
func (f Format) MediaType() string {
	switch f {
	case CycloneDXJSON:
		return "application/vnd.cyclonedx+json"
	case SPDXJSON:
		return "application/spdx+json"
	}
	return "application/vnd.syft+json"
}

// Document is an SBOM as it is stored.
type Document struct {
	// JSON is the syft JSON document, without the per-file section.
	JSON []byte
	// Value is the same as whoever made the document has it in memory, so that who
	// comes next need not decode it. It is nil for a document that was stored, and
	// what type it has is between catalog and match.
	Value any
	// Tool and ToolVersion name what made it, as "syft" and "1.55.0".
	Tool        string
	ToolVersion string
	// Packages counts the packages in the document.
	Packages int
	// OS is the operating system the document names, as "linux" or "windows";
	// empty when it names none.
	OS string
	// Unseen says which part of an image nobody could look into; empty when there is
	// none.
	Unseen string
	// Distro is the distribution as os-release names it, "debian 12"; empty
	// when there is none.
	Distro string
}
