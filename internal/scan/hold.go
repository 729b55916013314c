package scan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Thresholds say when a build would change so much that a person has to look at
// it first. Shares are percents of what holds under the active build.
type Thresholds struct {
	// Closed is the share of all open matches that a build may close, ScopeClosed
	// that of one distro or ecosystem. Where fewer than MinMatches are open neither
	// is looked at.
	Closed, ScopeClosed, MinMatches int
	// Records is the share by which the records about a distro or ecosystem may
	// become fewer, from MinRecords on.
	Records, MinRecords int
}

// Hold says why a build has to wait, the worst first; empty when it may go on.
func (t Thresholds) Hold(r BuildReport) string {
	var reasons []excess
	all := MatchChange{}
	for _, scope := range slices.Sorted(maps.Keys(r.Matches)) {
		m := r.Matches[scope]
		all.Before += m.Before
		all.Closed += m.Closed
		if share := percent(m.Closed, m.Before); m.Before >= t.MinMatches && share > t.ScopeClosed {
			reasons = append(reasons, excess{share, fmt.Sprintf("closes %d of the %d open matches of %s (%d %%, allowed are %d %%)", m.Closed, m.Before, scope, share, t.ScopeClosed)})
		}
	}
	if share := percent(all.Closed, all.Before); all.Before >= t.MinMatches && share > t.Closed {
		reasons = append(reasons, excess{share, fmt.Sprintf("closes %d of all %d open matches (%d %%, allowed are %d %%)", all.Closed, all.Before, share, t.Closed)})
	}
	for _, scope := range slices.Sorted(maps.Keys(r.Before)) {
		before, after := r.Before[scope], r.After[scope]
		share := percent(before-after, before)
		switch {
		case before < t.MinRecords:
		case after == 0:
			reasons = append(reasons, excess{100, fmt.Sprintf("knows nothing about %s any more, and the build before had %d records", scope, before)})
		case share > t.Records:
			reasons = append(reasons, excess{share, fmt.Sprintf("has %d records about %s, the build before had %d (%d %% fewer, allowed are %d %%)", after, scope, before, share, t.Records)})
		}
	}
	return worst(reasons)
}

// excess is a threshold that is passed, and by which share.
type excess struct {
	share int
	words string
}

// worst puts the worst reasons into one line.
func worst(reasons []excess) string {
	const few = 5
	slices.SortStableFunc(reasons, func(a, b excess) int { return cmp.Compare(b.share, a.share) })
	var words []string
	for _, r := range reasons[:min(few, len(reasons))] {
		words = append(words, r.words)
	}
	if more := len(reasons) - few; more > 0 {
		words = append(words, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(words, "; ")
}

// percent rounds up: a share beyond a threshold is never rounded to it.
func percent(part, whole int) int {
	if whole <= 0 || part <= 0 {
		return 0
	}
	return (100*part + whole - 1) / whole
}
