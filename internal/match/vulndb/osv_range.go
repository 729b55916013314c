package vulndb

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/anchore/grype/grype/version"
)

// span is a stretch of affected versions. An empty bound is open.
type span struct {
	from  string // first affected version
	fixed string // first version that is not affected any more
	last  string // last affected version
	exact string // the only affected version; the bounds then are empty
}

// comparators writes the span as grype's ranges take it: comparators joined by
// commas, nothing for "every version".
func (s span) comparators() string {
	var parts []string
	add := func(operator, version string) {
		if version != "" {
			parts = append(parts, operator+" "+version)
		}
	}
	add("=", s.exact)
	add(">=", s.from)
	add("<", s.fixed)
	add("<=", s.last)
	return strings.Join(parts, ", ")
}

// A version with one of these would be read as another comparator.
var plainVersion = regexp.MustCompile(`^[^\s<>=,|"'()]+$`)

// spansOf returns what an OSV entry calls affected. Ranges of commits say
// nothing about versions; listed versions count only where no range does,
// since they repeat the ranges one by one.
func spansOf(a osvAffected, format string) ([]span, error) {
	var out []span
	ranges := 0
	for _, r := range a.Ranges {
		if r.Type == "GIT" {
			continue
		}
		ranges++
		events, err := orderEvents(r.Events, version.ParseFormat(format))
		if err != nil {
			return nil, err
		}
		out = append(out, spansOfEvents(events)...)
	}
	if ranges > 0 {
		if len(out) == 0 {
			return nil, errors.New("its ranges affect no version")
		}
		return out, nil
	}
	for _, v := range a.Versions {
		if !plainVersion.MatchString(v) {
			return nil, fmt.Errorf("%q is not a version", v)
		}
		out = append(out, span{exact: v})
	}
	if len(out) == 0 {
		return nil, errors.New("gives neither versions nor ranges of versions")
	}
	return out, nil
}

// spansOfEvents walks ordered events the way the OSV specification does:
// "introduced" opens a stretch, "fixed" or "last_affected" closes it.
func spansOfEvents(events []osvEvent) []span {
	var out []span
	var open bool
	var from string
	for _, e := range events {
		switch {
		case e.Introduced != "" && !open:
			open, from = true, e.Introduced
			if from == "0" { // before the first version
				from = ""
			}
		case e.Fixed != "" && open:
			open = false
			if e.Fixed != "0" { // fixed before the first version: never affected
				out = append(out, span{from: from, fixed: e.Fixed})
			}
		case e.LastAffected != "" && open:
			open = false
			out = append(out, span{from: from, last: e.LastAffected})
		}
	}
	if open {
		out = append(out, span{from: from})
	}
	return out
}

// orderEvents sorts events by version, as the specification wants them to be
// read. Where versions cannot be compared the given order stands.
func orderEvents(events []osvEvent, format version.Format) ([]osvEvent, error) {
	for _, e := range events {
		if v := e.version(); v != "" && !plainVersion.MatchString(v) {
			return nil, fmt.Errorf("%q is not a version", v)
		}
	}
	sorted := slices.Clone(events)
	var failed error
	slices.SortStableFunc(sorted, func(a, b osvEvent) int {
		c, err := compareVersions(a.version(), b.version(), format)
		if err != nil {
			failed = err
		}
		return c
	})
	if failed == nil {
		events = sorted
	}
	return events, nil
}

func (e osvEvent) version() string { return e.Introduced + e.Fixed + e.LastAffected }

// compareVersions orders two versions; "0" comes before everything.
func compareVersions(a, b string, format version.Format) (int, error) {
	switch {
	case a == b:
		return 0, nil
	case a == "0" || a == "":
		return -1, nil
	case b == "0" || b == "":
		return 1, nil
	}
	return version.New(a, format).Compare(version.New(b, format))
}
