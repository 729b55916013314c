package report

import (
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// FindingScope says whose findings are asked for: those of an image, or with
// neither tag nor digest those of all live tags of a repository.
type FindingScope struct {
	Target
	// Platform keeps the images it matches; the zero value keeps all.
	Platform image.Platform
	// AsOf asks what was known at a moment of the past, of a tag or a digest; the
	// zero value asks what is known now.
	AsOf time.Time
}

// WholeRepository reports whether the scope is a repository.
func (s FindingScope) WholeRepository() bool { return s.Tag == "" && s.Digest == "" }

// FindingFilter narrows findings; zero fields match all but what is ignored.
type FindingFilter struct {
	Severities    []vuln.Severity
	MinSeverity   vuln.Severity // empty for none
	Fixable       *bool         // a fixed version is known
	KEV           *bool         // known to be exploited
	Package       string        // name
	Vulnerability string        // any of its names
	Ignored       IgnoredFilter
	Sort          Sort
}

// IgnoredFilter says what to do with findings that do not count.
type IgnoredFilter string

// The filters for ignored findings.
const (
	IgnoredLeaveOut IgnoredFilter = ""
	IgnoredInclude  IgnoredFilter = "true"
	IgnoredOnly     IgnoredFilter = "only"
)

// ParseIgnoredFilter reads "", "false", "true" or "only". The error is of kind
// Invalid.
func ParseIgnoredFilter(s string) (IgnoredFilter, error) {
	switch s {
	case "", "false":
		return IgnoredLeaveOut, nil
	case "true":
		return IgnoredInclude, nil
	case "only":
		return IgnoredOnly, nil
	}
	return "", errs.New(errs.Invalid, "ignored %.40q is not false, true or only", s).WithField("ignored")
}

// Sort is an order of findings. Ties are broken by risk, then by package and
// vulnerability.
type Sort string

// The orders, each worst first.
const (
	SortRisk     Sort = "risk" // what is known to be exploited, then by risk
	SortSeverity Sort = "severity"
	SortEPSS     Sort = "epss"
)

// ParseSort reads an order; the empty string is SortRisk. The error is of kind
// Invalid.
func ParseSort(s string) (Sort, error) {
	switch o := Sort(s); o {
	case "":
		return SortRisk, nil
	case SortRisk, SortSeverity, SortEPSS:
		return o, nil
	}
	return "", errs.New(errs.Invalid, "sort %.40q is not risk, severity or epss", s).WithField("sort")
}

// FindingPage is a page of findings with what the scope as a whole amounts to,
// so that no findings are never taken for none.
type FindingPage struct {
	Judged[Finding]
	// State is that of the image; empty for a repository.
	State State `json:"state,omitempty"`
	// AsOf is set when the past was asked for.
	AsOf *AsOf `json:"as_of,omitempty"`
	Assessment
}

// Finding is one vulnerability in one version of a package, over all images of
// the scope. It groups grype's matches by direct alias.
type Finding struct {
	Vulnerability    string        `json:"vulnerability"` // canonical name
	Aliases          []string      `json:"aliases"`       // other names of the matched records
	Package          Package       `json:"package"`
	Severity         vuln.Severity `json:"severity"`   // the worst of the records'
	CVSS             float64       `json:"cvss_score"` // the highest; 0 when there is none
	FixState         vuln.FixState `json:"fix_state"`  // the best of the matches'
	SuggestedVersion string        `json:"suggested_version,omitempty"`
	FixedVersions    []string      `json:"fixed_versions"`
	KnownExploited   bool          `json:"known_exploited"`
	EPSS             *float64      `json:"epss"` // 0..1; nil when there is no estimate
	EPSSPercentile   *float64      `json:"epss_percentile"`
	Risk             float64       `json:"risk"` // 0..100
	MatchType        string        `json:"match_type"`
	Confidence       float64       `json:"confidence"`
	Description      string        `json:"description,omitempty"`
	DataSource       string        `json:"data_source,omitempty"`
	// Ignored is true when every instance is; Reason is then one of the reasons.
	Ignored bool   `json:"ignored"`
	Reason  string `json:"ignored_reason,omitempty"`
	// Images are those of the scope that have it, at most MaxFindingImages of
	// ImagesTotal.
	Images      []FindingImage `json:"images"`
	ImagesTotal int            `json:"images_total"`
	// Locations are where the package lies, at most MaxLocations of
	// LocationsTotal. They are given for a tag or digest, not for a repository.
	Locations      []Location `json:"locations"`
	LocationsTotal int        `json:"locations_total"`
	Matches        []Match    `json:"matches"`
}

// Bounds of lists inside a finding.
const (
	MaxFindingImages = 100
	MaxLocations     = 100
)

// Package is a package as it is shown.
type Package struct {
	Type     string `json:"type"`
	Name     string `json:"name"`
	Version  string `json:"version"`
	Language string `json:"language,omitempty"`
	PURL     string `json:"purl,omitempty"`
}

// FindingImage is an image that has a finding.
type FindingImage struct {
	Digest   image.Digest `json:"digest"`
	Platform string       `json:"platform"`
	Tags     []string     `json:"tags,omitempty"` // of a repository's findings, at most MaxTags
}

// Location is a place where a package lies, and what put it there.
type Location struct {
	Path  string       `json:"path"`
	Image image.Digest `json:"image"`
	// LayerIndex counts from the base layer, 0; nil when the document does not
	// name a layer of the image.
	LayerIndex  *int         `json:"layer_index"`
	LayerDigest image.Digest `json:"layer_digest,omitempty"`
	DiffID      string       `json:"diff_id,omitempty"`
	CreatedBy   string       `json:"created_by,omitempty"` // the history instruction
}

// Match is grype's match, unchanged, with the package and the rating it is
// about. A package that stands in an image twice, once ignored and once not,
// has two.
type Match struct {
	vuln.Match
	Severity   vuln.Severity `json:"severity"`
	DataSource string        `json:"data_source,omitempty"`
	PURL       string        `json:"purl,omitempty"`
}
