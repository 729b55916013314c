package report

import (
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// MaxCompared bounds each list of a comparison.
const MaxCompared = 2000

// Comparison is what differs between two images, or two days of one. A
// vulnerability in a package of some name is the same on both sides whatever the
// version, so that an upgrade which does not help opens and closes nothing.
type Comparison struct {
	From ComparedSide `json:"from"`
	To   ComparedSide `json:"to"`
	// Opened are findings that only To has, Closed those that only From has; both
	// are of today's truth about them only where both sides are complete.
	Opened  Differences[ComparedFinding] `json:"opened"`
	Closed  Differences[ComparedFinding] `json:"closed"`
	Changed Differences[ChangedFinding]  `json:"changed"`
	// Packages are told apart by type and name.
	Packages ComparedPackages `json:"packages"`
	// Unchanged counts the findings that both sides have alike.
	Unchanged int `json:"unchanged"`
	// Complete is true when both sides are: otherwise something may have opened or
	// closed that nobody sees.
	Complete bool `json:"complete"`
}

// Differences is a list with its length before it was cut at MaxCompared.
type Differences[T any] struct {
	Total int `json:"total"`
	Items []T `json:"items"`
}

// Add counts an item and keeps it while there is room.
func (d *Differences[T]) Add(item T) {
	if d.Total++; len(d.Items) < MaxCompared {
		d.Items = append(d.Items, item)
	}
}

// ComparedSide is one of the two.
type ComparedSide struct {
	Reference string `json:"reference"` // "host/name:tag" or "host/name@digest"
	// Digest is what it is of; AsOf is set when the past was asked for.
	Digest image.Digest `json:"digest,omitempty"`
	AsOf   *AsOf        `json:"as_of,omitempty"`
	Build  *Build       `json:"build"`
	Assessment
}

// ComparedFinding is a finding that one side has. Of several versions of the
// package in one image it tells the worst severity and the best fix.
type ComparedFinding struct {
	Vulnerability    string        `json:"vulnerability"`
	Package          PackageName   `json:"package"`
	Versions         []string      `json:"versions"` // that have it
	Severity         vuln.Severity `json:"severity"`
	KnownExploited   bool          `json:"known_exploited"`
	FixState         vuln.FixState `json:"fix_state"`
	SuggestedVersion string        `json:"suggested_version,omitempty"`
}

// ChangedFinding is a finding of both sides that is rated or fixed otherwise.
type ChangedFinding struct {
	Vulnerability string       `json:"vulnerability"`
	Package       PackageName  `json:"package"`
	From          FindingFacts `json:"from"`
	To            FindingFacts `json:"to"`
}

// FindingFacts are what may change of a finding.
type FindingFacts struct {
	Versions         []string      `json:"versions"`
	Severity         vuln.Severity `json:"severity"`
	KnownExploited   bool          `json:"known_exploited"`
	FixState         vuln.FixState `json:"fix_state"`
	SuggestedVersion string        `json:"suggested_version,omitempty"`
}

// ComparedPackages are the packages that differ.
type ComparedPackages struct {
	Added   Differences[ComparedPackage] `json:"added"`
	Removed Differences[ComparedPackage] `json:"removed"`
	Changed Differences[ChangedPackage]  `json:"changed"`
}

// ComparedPackage is a package that one side has, in all its versions.
type ComparedPackage struct {
	PackageName
	Versions []string `json:"versions"`
}

// ChangedPackage is a package of both sides in other versions.
type ChangedPackage struct {
	PackageName
	From []string `json:"from"` // versions
	To   []string `json:"to"`
}
