package report

import (
	"strconv"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// ExportFilter narrows an export; zero fields match all but what is ignored. Its
// order is that of the export: by repository, image and package.
type ExportFilter struct {
	FindingFilter
	Registry   string         // configured name; empty for all
	Repository *RepositoryRef // nil for all
	Prefix     string         // of "host/name"
}

// ExportStart is the first row of an export.
type ExportStart struct {
	At    time.Time
	Build *Build // nil before the first
}

// ExportRow is a finding of an image behind live tags, or says that the answer of
// an image leaves something out, so that nothing missing is taken for nothing
// found.
type ExportRow struct {
	Row        RowKind      `json:"row"`
	Registry   string       `json:"registry"`   // the configured name
	Repository string       `json:"repository"` // "host/name"
	Digest     image.Digest `json:"digest"`
	Platform   string       `json:"platform"`
	Tags       []string     `json:"tags"` // at most MaxTags of TagsTotal
	TagsTotal  int          `json:"tags_total"`
	// The following are of findings.
	Vulnerability    string        `json:"vulnerability,omitempty"`
	Aliases          []string      `json:"aliases,omitempty"`
	PackageType      string        `json:"package_type,omitempty"`
	PackageName      string        `json:"package_name,omitempty"`
	PackageVersion   string        `json:"package_version,omitempty"`
	PURL             string        `json:"purl,omitempty"`
	Severity         vuln.Severity `json:"severity,omitempty"`
	CVSS             float64       `json:"cvss_score,omitempty"`
	FixState         vuln.FixState `json:"fix_state,omitempty"`
	FixedVersions    []string      `json:"fixed_versions,omitempty"`
	SuggestedVersion string        `json:"suggested_version,omitempty"`
	KnownExploited   bool          `json:"known_exploited,omitempty"`
	EPSS             *float64      `json:"epss,omitempty"`
	EPSSPercentile   *float64      `json:"epss_percentile,omitempty"`
	Risk             float64       `json:"risk,omitempty"`
	Ignored          bool          `json:"ignored,omitempty"`
	IgnoredReason    string        `json:"ignored_reason,omitempty"`
	// The following are of images whose answer is not whole.
	State   State    `json:"state,omitempty"`
	Reason  string   `json:"reason,omitempty"`
	NoData  []string `json:"no_data,omitempty"`
	Partial string   `json:"partial,omitempty"`
}

// RowKind says what a row of an export is about.
type RowKind string

// The kinds of row.
const (
	RowExport   RowKind = "export" // the first line of NDJSON
	RowFinding  RowKind = "finding"
	RowUnjudged RowKind = "unjudged" // an image whose answer leaves something out
	RowEnd      RowKind = "end"      // the last line of NDJSON: without it the export was cut off
)

// ExportEnd is what an export came to.
type ExportEnd struct {
	Images   int // behind live tags that the filter lets through
	Findings int
	Unjudged int // images whose answer is not whole
}

// ExportColumns are the columns of an export as CSV, in their order. New ones are
// added at the end.
func ExportColumns() []string {
	return []string{
		"row", "registry", "repository", "digest", "platform", "tags", "vulnerability", "aliases", "package_type", "package_name",
		"package_version", "purl", "severity", "cvss_score", "fix_state", "fixed_versions", "suggested_version", "known_exploited",
		"epss", "epss_percentile", "risk", "ignored", "ignored_reason", "state", "reason", "no_data", "partial",
	}
}

// Record is the row as CSV: lists with spaces between, what is not known empty. A
// cell that a spreadsheet would take for a formula gets an apostrophe before it.
func (r ExportRow) Record() []string {
	cells := []string{
		string(r.Row), r.Registry, r.Repository, string(r.Digest), r.Platform, strings.Join(r.Tags, " "),
		r.Vulnerability, strings.Join(r.Aliases, " "), r.PackageType, r.PackageName, r.PackageVersion, r.PURL,
		string(r.Severity), "", string(r.FixState), strings.Join(r.FixedVersions, " "), r.SuggestedVersion, "",
		number(r.EPSS), number(r.EPSSPercentile), "", "", r.IgnoredReason, string(r.State), r.Reason, strings.Join(r.NoData, " "), r.Partial,
	}
	if r.Row == RowFinding {
		cells[13], cells[17] = number(&r.CVSS), strconv.FormatBool(r.KnownExploited)
		cells[20], cells[21] = number(&r.Risk), strconv.FormatBool(r.Ignored)
	}
	for i, cell := range cells {
		cells[i] = plain(cell)
	}
	return cells
}

func number(f *float64) string {
	if f == nil {
		return ""
	}
	return strconv.FormatFloat(*f, 'f', -1, 64)
}

// plain keeps spreadsheets from running a cell: names in images are chosen by
// whoever built them.
func plain(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r\n", rune(cell[0])) || strings.HasPrefix(cell, "＝") || strings.HasPrefix(cell, "＋") ||
		strings.HasPrefix(cell, "－") || strings.HasPrefix(cell, "＠") {
		return "'" + cell
	}
	return cell
}
