package match

import (
	"fmt"
	"slices"
	"strings"
	"time"

	grypematch "github.com/anchore/grype/grype/match"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/text"
)

// staleAfter is the age from which the database is worth a word; grype refuses
// to work then.
const staleAfter = 5 * 24 * time.Hour

// fewRecords is how many records a database has at least that is made from
// public sources. One distribution alone has tens of thousands.
const fewRecords = 1000

// Caveats are sentences about what the answer leaves out or stands on. A report
// without findings must not be read without them.
func (s *Session) Caveats(r Result) []string {
	var out []string
	b := s.Build()
	if b.Sample {
		out = append(out, "the vulnerability database is the sample of the source tree: it knows a handful of vulnerabilities and is no ground for decisions")
	}
	if text := s.db.few; text != "" && !b.Sample {
		out = append(out, text)
	}
	if len(r.Inventory.Members) == 0 {
		out = append(out, "no packages were found in it: that nothing is vulnerable says nothing")
	}
	out = append(out, r.leftOut()...)
	if r.Partial != "" {
		out = append(out, "the catalogue is not whole: "+r.Partial)
	}
	if !r.EndOfLife.IsZero() && r.EndOfLife.Before(r.Now) {
		out = append(out, fmt.Sprintf("support for %s ended on %s: newer vulnerabilities may not be recorded for it", r.Inventory.Distro, r.EndOfLife.Format("2006-01-02")))
	}
	if age := r.Now.Sub(b.Built); age > staleAfter && !b.Sample {
		out = append(out, fmt.Sprintf("the vulnerability database is %d days old", int(age.Hours()/24)))
	}
	return out
}

// leftOut says of each class without data what can be said of its packages.
func (r Result) leftOut() []string {
	if len(r.NoData) == 0 {
		return nil
	}
	matched := map[string][]string{}
	for _, v := range r.Inventory.Apply(r.Judgements) {
		m := r.Inventory.Members[v.Member]
		name := className(r.Inventory.Packages[m.Package], m)
		matched[name] = append(matched[name], v.Match.MatchType)
	}
	var out []string
	for _, name := range r.NoData {
		out = append(out, withoutData(name, matched[name]))
	}
	return out
}

// withoutData is the sentence about one class, of which there are matches of the
// given types.
func withoutData(name string, matches []string) string {
	if t, ok := strings.CutPrefix(name, "version:"); ok {
		return fmt.Sprintf("packages of type %s have no version to compare (%s): nothing can be said of these", t, name)
	}
	other := func(t string) bool { return t != string(grypematch.CPEMatch) }
	switch {
	case len(matches) == 0:
		return fmt.Sprintf("the vulnerability database has no data for %s: nothing can be said of these packages", name)
	case slices.ContainsFunc(matches, other):
		return fmt.Sprintf("the vulnerability database has no data for %s: only matches with what is near it, or by CPE, are possible for these packages; more is unknown", name)
	}
	return fmt.Sprintf("the vulnerability database has no data for %s: only matches by CPE are possible for these packages; more is unknown", name)
}

// fewOf says so when a database has too few records to come from public
// sources; empty otherwise.
func fewOf(r *reader) (string, error) {
	var n int
	const query = `SELECT count(*) FROM (SELECT 1 FROM vulnerability_handles LIMIT ?)`
	if err := r.GetDB().Raw(query, fewRecords).Scan(&n).Error; err != nil {
		return "", errs.Wrap(errs.Malformed, "match: count the records of the vulnerability database", err)
	}
	if n >= fewRecords {
		return "", nil
	}
	providers, err := r.AllProviders()
	if err != nil {
		return "", errs.Wrap(errs.Malformed, "match: providers of the vulnerability database", err)
	}
	if n == 0 {
		return "the vulnerability database holds no records: it knows no vulnerability", nil
	}
	var names []string
	for _, p := range providers {
		names = append(names, text.Clean(p.ID, text.Line))
	}
	slices.Sort(names)
	return fmt.Sprintf("the vulnerability database holds only %s from %s: what it does not know is not found", counted(n, "record", "records"), strings.Join(names, ", ")), nil
}

// counted writes a number with its noun.
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
