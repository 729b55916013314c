package report

import (
	"time"

	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// MaxPackages bounds how many distinct packages one query may name.
const MaxPackages = 20_000

// PackageQuery names packages: by name, without regard to case, or by purl (see
// PURL.Names). One of the two is required.
type PackageQuery struct {
	Name string
	PURL string
	Type string // empty for any
}

// StoredPackage is a distinct package with the number it is stored under.
type StoredPackage struct {
	ID int64
	Package
}

// ImageHit is an image behind live tags that holds what was asked for.
type ImageHit struct {
	Registry   string       `json:"registry"`
	Repository string       `json:"repository"` // "host/name"
	Digest     image.Digest `json:"digest"`
	Platform   string       `json:"platform"`
	Tags       []string     `json:"tags"` // at most MaxTags of TagsTotal
	TagsTotal  int          `json:"tags_total"`
	Packages   []HitPackage `json:"packages"`
}

// HitPackage is a package of a hit. The fix is given where a vulnerability was
// asked for.
type HitPackage struct {
	Package
	FixState         vuln.FixState `json:"fix_state,omitempty"`
	SuggestedVersion string        `json:"suggested_version,omitempty"`
	// Excluded is why the package is not judged; empty for one that is.
	Excluded string `json:"excluded,omitempty"`
}

// VulnerabilityImages is a page of the images that have a vulnerability.
type VulnerabilityImages struct {
	Judged[ImageHit]
	// Complete is true when every image behind a live tag was asked.
	Complete bool `json:"complete"`
	// UnjudgedImages counts the images behind live tags, as far as the reader
	// sees, that may have it although they are not listed: their answer is
	// pending, failed or partial, or there is no data for some of their packages.
	UnjudgedImages int `json:"unjudged_images"`
}

// Vulnerability is what is known under a name.
type Vulnerability struct {
	ID             string        `json:"id"`      // in the spelling of the records
	Aliases        []string      `json:"aliases"` // other names of the records
	Severity       vuln.Severity `json:"severity"`
	KnownExploited bool          `json:"known_exploited"`
	// Repositories counts those whose live tags have it, as far as the reader
	// sees.
	Repositories int `json:"repositories"`
	// Records are those that match a stored package, one per namespace.
	Records []vuln.Vulnerability `json:"records"`
	Build   *Build               `json:"build"`
}

// SBOM is the document of one image.
type SBOM struct {
	Digest      image.Digest
	Platform    string
	Tool        string
	ToolVersion string
	CreatedAt   time.Time
	JSON        []byte // syft JSON
}
