// Package vuln holds the words for vulnerabilities and for what a matcher says
// of a package: severity, match, ignore, fix, finding and database build.
//
// It is responsible for plain types and for the rules that need nothing else:
// how severities rank, which of several names is canonical, how the matches of
// one package become findings. It must not do I/O and must not know grype.
package vuln

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// Severity is how bad a vulnerability is, in the words grype's database uses,
// lower-cased.
type Severity string

// The severities, worst first. SeverityUnknown is what a feed without an
// opinion gives; it is not the same as negligible.
const (
	SeverityCritical   Severity = "critical"
	SeverityHigh       Severity = "high"
	SeverityMedium     Severity = "medium"
	SeverityLow        Severity = "low"
	SeverityNegligible Severity = "negligible"
	SeverityUnknown    Severity = "unknown"
)

// Severities lists all severities, worst first.
func Severities() []Severity {
	return []Severity{SeverityCritical, SeverityHigh, SeverityMedium, SeverityLow, SeverityNegligible, SeverityUnknown}
}

// ParseSeverity reads a severity in any case; ok is false for another word,
// and the result then is SeverityUnknown.
func ParseSeverity(s string) (severity Severity, ok bool) {
	v := Severity(strings.ToLower(s))
	if slices.Contains(Severities(), v) {
		return v, true
	}
	return SeverityUnknown, false
}

// Rank orders severities: 5 is critical, 1 negligible, 0 unknown.
func (s Severity) Rank() int {
	switch s {
	case SeverityCritical:
		return 5
	case SeverityHigh:
		return 4
	case SeverityMedium:
		return 3
	case SeverityLow:
		return 2
	case SeverityNegligible:
		return 1
	}
	return 0
}

// FixState says whether there is a version without the vulnerability, in
// grype's words.
type FixState string

// The fix states.
const (
	FixStateFixed    FixState = "fixed"
	FixStateNotFixed FixState = "not-fixed"
	FixStateWontFix  FixState = "wont-fix"
	FixStateUnknown  FixState = "unknown"
	// FixStateNone is what grype writes for a record that says nothing at all.
	FixStateNone FixState = ""
)

// Rank orders fix states by what they tell a reader, best first when highest.
func (s FixState) Rank() int {
	switch s {
	case FixStateFixed:
		return 3
	case FixStateNotFixed:
		return 2
	case FixStateWontFix:
		return 1
	}
	return 0
}

// Ref names a vulnerability record: an id within a namespace such as
// "debian:distro:debian:12" or "github:language:javascript".
type Ref struct {
	ID        string `json:"id"`
	Namespace string `json:"namespace"`
}

// Fix is what a record says about fixed versions.
type Fix struct {
	State     FixState       `json:"state"`
	Versions  []string       `json:"versions"`
	Available []FixAvailable `json:"available,omitempty"`
}

// FixAvailable says since when a fixed version is to be had.
type FixAvailable struct {
	Version string `json:"version"`
	Date    string `json:"date"` // YYYY-MM-DD
	Kind    string `json:"kind,omitempty"`
}

// Match is one matcher result: one record that applies to one package.
type Match struct {
	Ref
	// Aliases are the related records grype names with this one.
	Aliases []Ref `json:"aliases,omitempty"`
	Fix     Fix   `json:"fix"`
	// SuggestedVersion is the fixed version nearest above the package's own;
	// empty when there is none.
	SuggestedVersion string `json:"suggested_version,omitempty"`
	// MatchType is grype's strongest match type, such as "exact-direct-match".
	MatchType  string  `json:"match_type"`
	Matcher    string  `json:"matcher"`
	Confidence float64 `json:"confidence"`
	// Details is grype's own matchDetails array.
	Details json.RawMessage `json:"details"`
	// Advisories are links the record carries for this package.
	Advisories []Advisory `json:"advisories,omitempty"`
	// Ignored holds the reason when the package alone decides that the match
	// does not count (grype's built-in and default rules); empty otherwise.
	Ignored string `json:"ignored,omitempty"`
}

// Advisory is a vendor's notice about a vulnerability.
type Advisory struct {
	ID   string `json:"id"`
	Link string `json:"link"`
}

// Canonical returns the name under which the match is grouped with others of
// the same package: the CVE when the record is or directly names one, else the
// GHSA, else its own id. Aliases of aliases are never followed.
func (m Match) Canonical() string {
	names := make([]string, 0, 1+len(m.Aliases))
	names = append(names, m.ID)
	for _, a := range m.Aliases {
		names = append(names, a.ID)
	}
	for _, prefix := range []string{"CVE-", "GHSA-"} {
		if strings.HasPrefix(m.ID, prefix) {
			return m.ID
		}
		var found []string
		for _, n := range names {
			if strings.HasPrefix(n, prefix) {
				found = append(found, n)
			}
		}
		if len(found) > 0 {
			return slices.Min(found)
		}
	}
	return m.ID
}

// IDs returns the id of the match and of its aliases, without repetition.
func (m Match) IDs() []string {
	ids := []string{m.ID}
	for _, a := range m.Aliases {
		if !slices.Contains(ids, a.ID) {
			ids = append(ids, a.ID)
		}
	}
	return ids
}

// IgnoreKind says on which matches an Ignore acts.
type IgnoreKind string

// The kinds of ignore.
const (
	// IgnoreOwned acts on packages whose files the ignoring package owns.
	IgnoreOwned IgnoreKind = "owned"
	// IgnoreSame acts on every package of the same type, name and version.
	IgnoreSame IgnoreKind = "same"
)

// Ignore is what the records of one package suppress on other packages of the
// same image, with grype's reason.
type Ignore struct {
	Vulnerability string     `json:"vulnerability"`
	Kind          IgnoreKind `json:"kind"`
	Reason        string     `json:"reason"`
}

// CVSS is one score of a vulnerability.
type CVSS struct {
	Source  string  `json:"source,omitempty"`
	Type    string  `json:"type,omitempty"`
	Version string  `json:"version"`
	Vector  string  `json:"vector"`
	Score   float64 `json:"score"`
}

// KnownExploited is an entry of CISA's catalogue.
type KnownExploited struct {
	CVE            string `json:"cve"`
	DateAdded      string `json:"date_added,omitempty"` // YYYY-MM-DD
	DueDate        string `json:"due_date,omitempty"`   // YYYY-MM-DD
	RequiredAction string `json:"required_action,omitempty"`
	Ransomware     bool   `json:"ransomware"`
}

// EPSS is FIRST's estimate that a vulnerability is exploited within 30 days.
type EPSS struct {
	Score      float64 `json:"score"`      // 0..1
	Percentile float64 `json:"percentile"` // 0..1
	Date       string  `json:"date"`       // YYYY-MM-DD
}

// Vulnerability is what a database build says of one record.
type Vulnerability struct {
	Ref
	Severity    Severity         `json:"severity"`
	Description string           `json:"description,omitempty"`
	DataSource  string           `json:"data_source,omitempty"`
	URLs        []string         `json:"urls"`
	CVSS        []CVSS           `json:"cvss"`
	KEV         []KnownExploited `json:"known_exploited"`
	EPSS        *EPSS            `json:"epss"` // nil when FIRST has no estimate
	CWEs        []string         `json:"cwes"`
	Aliases     []Ref            `json:"aliases"`
	// Risk is grype's score of 0..100 from EPSS, severity, CVSS and KEV.
	Risk float64 `json:"risk"`
}

// MaxCVSS returns the highest score, zero when there is none.
func (v Vulnerability) MaxCVSS() float64 {
	best := 0.0
	for _, c := range v.CVSS {
		best = max(best, c.Score)
	}
	return best
}

// Build names a vulnerability database as a judge: which database, by which
// engine, in which version and configuration.
type Build struct {
	// Checksum names the database by content.
	Checksum      string    `json:"checksum"`
	SchemaVersion string    `json:"schema_version"`
	Built         time.Time `json:"built"`
	Source        string    `json:"source"` // where the archive came from
	Engine        string    `json:"engine"` // "grype"
	EngineVersion string    `json:"engine_version"`
	// Config names the matcher configuration; a change makes a new build.
	Config string `json:"config"`
	// Sample marks the database made from the advisory facts of the source
	// tree; it is never good for real decisions.
	Sample bool `json:"sample"`
}

// Same reports whether two builds judge alike: the same database by the same
// engine, version and configuration.
func (b Build) Same(other Build) bool {
	return b.Checksum == other.Checksum && b.Engine == other.Engine &&
		b.EngineVersion == other.EngineVersion && b.Config == other.Config
}
