package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/report"
)

// countHead are the columns of countCells.
var countHead = []string{"CRITICAL", "HIGH", "MEDIUM", "LOW", "OTHER", "FIXABLE", "EXPLOITED"}

// countCells are counts as columns; dashes where nothing was judged, which is not
// the same as none.
func countCells(c *report.Counts) []string {
	if c == nil {
		return []string{"-", "-", "-", "-", "-", "-", "-"}
	}
	cells := make([]string, 0, len(countHead))
	for _, n := range []int{c.Critical, c.High, c.Medium, c.Low, c.Negligible + c.Unknown, c.Fixable, c.KnownExploited} {
		cells = append(cells, strconv.Itoa(n))
	}
	return cells
}

// missing says what counts leave out; empty when that is nothing.
func missing(a report.Assessment, more ...string) string {
	var parts []string
	if len(a.NoData) > 0 {
		parts = append(parts, "no data for "+strings.Join(a.NoData, ", "))
	}
	for _, m := range more {
		if m != "" {
			parts = append(parts, m)
		}
	}
	return strings.Join(parts, "; ")
}

// reasoned is why an image stands where it does; empty for one that is done.
func reasoned(state report.State, reason string) string {
	switch {
	case state == report.StateDone || state == "":
		return ""
	case reason == "" || reason == string(state):
		return string(state)
	}
	return string(state) + ": " + reason
}

// dayText is a time in a table.
func dayText(t *time.Time) string {
	if t == nil {
		return "never"
	}
	return t.UTC().Format("2006-01-02 15:04")
}

// fixText is the version to go to, or why there is none.
func fixText(f report.Finding) string {
	if f.SuggestedVersion != "" {
		return f.SuggestedVersion
	}
	if len(f.FixedVersions) > 0 {
		return f.FixedVersions[0]
	}
	return string(f.FixState)
}

func epssText(epss *float64) string {
	if epss == nil {
		return "-"
	}
	return fmt.Sprintf("%.1f%%", *epss*100)
}

func yesText(yes bool) string {
	if yes {
		return "yes"
	}
	return "-"
}

// shortDigest is a digest as people recognise it.
func shortDigest(digest string) string {
	const shown = len("sha256:") + 12
	if len(digest) <= shown {
		return digest
	}
	return digest[:shown]
}

// placeOf names an image by its tags, or its digest when it has none.
func placeOf(repository string, tags []string, total int, digest string) string {
	if len(tags) == 0 {
		return repository + "@" + shortDigest(digest)
	}
	const shown = 3
	text := repository + ":" + strings.Join(tags[:min(len(tags), shown)], ", ")
	if more := max(total, len(tags)) - min(len(tags), shown); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
