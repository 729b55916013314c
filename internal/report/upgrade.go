package report

import (
	"cmp"
	"slices"
	"strings"
	"unicode"

	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// Fix is a finding that counts, with what would close it.
type Fix struct {
	Package        Package
	Vulnerability  string // canonical name
	Severity       vuln.Severity
	KnownExploited bool
	Risk           float64
	// Records are the fixed versions of each record of the finding that has any.
	Records []FixVersions
}

// FixVersions are where one record is fixed.
type FixVersions struct {
	Versions  []string
	Suggested string // the closest above the package's version, as the matcher says
}

// Fixes are the findings of an image with what they amount to.
type Fixes struct {
	State State
	AsOf  *AsOf
	Build *Build
	Assessment
	Items []Fix
}

// Bounds of lists in UpgradePlan.
const (
	MaxUpgrades        = 500
	MaxUpgradeSteps    = 10
	MaxUpgradeFindings = 100
)

// UpgradePlan is what to do about an image: its findings by the upgrade that
// closes them, the one with the greatest effect first.
//
// A version closes a finding when every record of it that is fixed anywhere is
// fixed there: at or above a fixed version, and on its release line where the
// record is fixed on several. That the version exists, and suits the rest of the
// image, nobody knows here; what it brings of its own shows when it is pushed.
type UpgradePlan struct {
	State State `json:"state,omitempty"`
	AsOf  *AsOf `json:"as_of,omitempty"`
	Assessment
	Build *Build    `json:"build"`
	Items []Upgrade `json:"items"` // at most MaxUpgrades of UpgradesTotal
	// UpgradesTotal counts the upgrades, Closes what they close together.
	UpgradesTotal int        `json:"upgrades_total"`
	Closes        FindingSum `json:"closes"`
	// WithoutFix are the findings that no known version closes.
	WithoutFix FindingSum `json:"without_fix"`
}

// FindingSum counts findings: a vulnerability in one version of a package.
type FindingSum struct {
	Total          int `json:"total"`
	Critical       int `json:"critical"`
	High           int `json:"high"`
	Medium         int `json:"medium"`
	Low            int `json:"low"`
	Negligible     int `json:"negligible"`
	Unknown        int `json:"unknown"`
	KnownExploited int `json:"known_exploited"`
}

func (s *FindingSum) add(f Fix) {
	s.Total++
	if f.KnownExploited {
		s.KnownExploited++
	}
	switch f.Severity {
	case vuln.SeverityCritical:
		s.Critical++
	case vuln.SeverityHigh:
		s.High++
	case vuln.SeverityMedium:
		s.Medium++
	case vuln.SeverityLow:
		s.Low++
	case vuln.SeverityNegligible:
		s.Negligible++
	default:
		s.Unknown++
	}
}

func (s *FindingSum) plus(o FindingSum) {
	s.Total += o.Total
	s.Critical += o.Critical
	s.High += o.High
	s.Medium += o.Medium
	s.Low += o.Low
	s.Negligible += o.Negligible
	s.Unknown += o.Unknown
	s.KnownExploited += o.KnownExploited
}

// Upgrade is one package to be brought to another version.
type Upgrade struct {
	Package Package `json:"package"` // as it is
	// To is the least known version that closes as many findings as any.
	To     string     `json:"to"`
	Closes FindingSum `json:"closes"`
	// Remaining counts the findings of the package that To does not close: for
	// those no fix is known, or none together with the others.
	Remaining int `json:"remaining"`
	// Steps are lesser versions and how many findings each closes, least first; at
	// most MaxUpgradeSteps, those that close most.
	Steps []UpgradeStep `json:"steps"`
	// Vulnerabilities are what To closes, worst first, at most MaxUpgradeFindings of
	// Closes.Total.
	Vulnerabilities []string `json:"vulnerabilities"`
	risk            float64
}

// UpgradeStep is a version on the way.
type UpgradeStep struct {
	Version string `json:"version"`
	Closes  int    `json:"closes"`
}

// CompareVersions orders two versions as the type of package does. It fails when
// one cannot be read.
type CompareVersions func(packageType, a, b string) (int, error)

// Plan groups findings by the upgrade that closes them.
func (f Fixes) Plan(compare CompareVersions) UpgradePlan {
	plan := UpgradePlan{State: f.State, AsOf: f.AsOf, Assessment: f.Assessment, Build: f.Build, Items: []Upgrade{}}
	type key struct{ typ, name, version string }
	groups := map[key][]Fix{}
	for _, fix := range f.Items {
		k := key{fix.Package.Type, fix.Package.Name, fix.Package.Version}
		groups[k] = append(groups[k], fix)
	}
	for k, group := range groups {
		line := newLadder(k.typ, k.version, group, compare)
		upgrade, ok := line.best()
		left := len(group) - upgrade.Closes.Total
		if ok {
			upgrade.Remaining = left
			plan.Items = append(plan.Items, upgrade)
			plan.Closes.plus(upgrade.Closes)
		}
		for _, fix := range group {
			if !ok || !slices.ContainsFunc(line.rungs, func(v string) bool { return line.closes(v, fix) }) {
				plan.WithoutFix.add(fix)
			}
		}
	}
	slices.SortFunc(plan.Items, byEffect)
	plan.UpgradesTotal = len(plan.Items)
	plan.Items = plan.Items[:min(len(plan.Items), MaxUpgrades)]
	return plan
}

// byEffect orders upgrades by what they close: what is known to be exploited, then
// by severity, number and risk.
func byEffect(a, b Upgrade) int {
	return cmp.Or(
		cmp.Compare(b.Closes.KnownExploited, a.Closes.KnownExploited), cmp.Compare(b.Closes.Critical, a.Closes.Critical),
		cmp.Compare(b.Closes.High, a.Closes.High), cmp.Compare(b.Closes.Total, a.Closes.Total), cmp.Compare(b.risk, a.risk),
		cmp.Compare(a.Package.Type, b.Package.Type), cmp.Compare(a.Package.Name, b.Package.Name), cmp.Compare(a.Package.Version, b.Package.Version))
}

// ladder are the versions that a package may be brought to, in order.
type ladder struct {
	group []Fix
	rungs []string
	rank  map[string]int // of every version that can be compared; equal ones have the same
}

// newLadder takes the fixed versions above the present one. Those that cannot be
// compared with it are left out, but for what a matcher suggests. Versions are
// compared once: a kernel has thousands of findings.
func newLadder(typ, version string, group []Fix, compare CompareVersions) ladder {
	l := ladder{group: group, rank: map[string]int{}}
	known, odd := []string{version}, []string{}
	seen := map[string]bool{version: true}
	for _, fix := range group {
		for _, r := range fix.Records {
			for _, v := range r.all() {
				_, err := compare(typ, v, version)
				switch {
				case seen[v]:
				case err == nil:
					known = append(known, v)
				case v == r.Suggested:
					odd = append(odd, v)
				default:
					continue // another record may suggest it
				}
				seen[v] = true
			}
		}
	}
	order := func(a, b string) int {
		n, err := compare(typ, a, b)
		if err != nil {
			return strings.Compare(a, b)
		}
		return n
	}
	slices.SortStableFunc(known, order)
	for n, v := range known {
		l.rank[v] = n
		if n > 0 && order(known[n-1], v) == 0 {
			l.rank[v] = l.rank[known[n-1]]
		}
	}
	for _, v := range known {
		if l.rank[v] > l.rank[version] {
			l.rungs = append(l.rungs, v)
		}
	}
	l.rungs = append(l.rungs, odd...)
	return l
}

// all lists the versions with the suggested one, which is among them but for
// advisories of an odd kind.
func (r FixVersions) all() []string {
	if r.Suggested == "" || slices.Contains(r.Versions, r.Suggested) {
		return r.Versions
	}
	return append(slices.Clone(r.Versions), r.Suggested)
}

// closes reports whether a version closes a finding; a finding without any fix is
// closed by none.
func (l ladder) closes(version string, fix Fix) bool {
	for _, r := range fix.Records {
		if !l.fixes(version, r) {
			return false
		}
	}
	return len(fix.Records) > 0
}

// fixes reports whether a record is fixed in a version: at or above a fixed one
// and, where a greater one is fixed too, on the same release line.
func (l ladder) fixes(version string, r FixVersions) bool {
	at, ranked := l.rank[version]
	below, above := "", ""
	for _, v := range r.all() {
		rank, known := l.rank[v]
		switch {
		case v == version, ranked && known && rank == at:
			return true
		case !ranked, !known:
		case rank < at && (below == "" || l.rank[below] < rank):
			below = v
		case rank > at && (above == "" || rank < l.rank[above]):
			above = v
		}
	}
	return below != "" && (above == "" || sameLine(version, below, above))
}

// sameLine reports whether a version is on the release line of a fixed version
// below it, and not on that of the next one: it shares the parts up to the first
// in which the two differ.
func sameLine(version, below, above string) bool {
	v, b, a := parts(version), parts(below), parts(above)
	for i := range b {
		if i >= len(v) || v[i] != b[i] {
			return false
		}
		if i >= len(a) || a[i] != b[i] {
			return true
		}
	}
	return false
}

func parts(version string) []string {
	return strings.FieldsFunc(strings.TrimPrefix(version, "v"), func(r rune) bool { return !unicode.IsDigit(r) && !unicode.IsLetter(r) })
}

// best is the least version that closes as many findings as any, with the lesser
// ones on the way; ok is false when none closes one.
func (l ladder) best() (u Upgrade, ok bool) {
	most := 0
	for _, v := range l.rungs {
		n := l.count(v)
		if n <= most {
			continue
		}
		if u.To != "" {
			u.Steps = append(u.Steps, UpgradeStep{Version: u.To, Closes: most})
		}
		u.To, most = v, n
	}
	if most == 0 {
		return u, false
	}
	u.Steps = append([]UpgradeStep{}, u.Steps[max(0, len(u.Steps)-MaxUpgradeSteps):]...)
	u.Package, u.Vulnerabilities = l.group[0].Package, []string{}
	closed := slices.DeleteFunc(slices.Clone(l.group), func(f Fix) bool { return !l.closes(u.To, f) })
	slices.SortFunc(closed, func(a, b Fix) int {
		return cmp.Or(cmp.Compare(b.Severity.Rank(), a.Severity.Rank()), cmp.Compare(b.Risk, a.Risk), cmp.Compare(a.Vulnerability, b.Vulnerability))
	})
	for _, f := range closed {
		u.Closes.add(f)
		u.risk += f.Risk
		if len(u.Vulnerabilities) < MaxUpgradeFindings {
			u.Vulnerabilities = append(u.Vulnerabilities, f.Vulnerability)
		}
	}
	return u, true
}

func (l ladder) count(version string) int {
	n := 0
	for _, f := range l.group {
		if l.closes(version, f) {
			n++
		}
	}
	return n
}
