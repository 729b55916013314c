package notify

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tidewaiter/tidewaiter/internal/report"
)

// line makes one line of a text from outside: whatever does not print, turns the
// direction of writing or ends a line becomes U+FFFD.
func line(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, s)
}

// begin shortens a text to a number of bytes, and says so.
func begin(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit] + " …"
}

// count writes a number with its noun, as "3,000 images".
func count(n int, noun string) string {
	stem, isY := strings.CutSuffix(noun, "y")
	switch {
	case n == 1:
		return "1 " + noun
	case isY:
		return thousands(n) + " " + stem + "ies"
	}
	return thousands(n) + " " + noun + "s"
}

func thousands(n int) string {
	digits := strconv.Itoa(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// severities, worst first, as they are counted out.
func severities() []string {
	return []string{"critical", "high", "medium", "low", "negligible", "unknown"}
}

// breakdown writes counts as "2 critical, 5 high".
func breakdown(c report.NewsCounts) string {
	var parts []string
	for _, severity := range severities() {
		if n := c.Severities[severity]; n > 0 {
			parts = append(parts, thousands(n)+" "+severity)
		}
	}
	return strings.Join(parts, ", ")
}

// what says what happened to findings, by what happened to most of them.
func what(c report.NewsCounts) string {
	word, most := "new", 0
	for _, kind := range []struct{ name, word string }{
		{"opened", "new"}, {"reopened", "back"}, {"escalated", "worse"}, {"fix_available", "fixable now"}, {"closed", "gone"},
	} {
		if n := c.Kinds[kind.name]; n > most {
			word, most = kind.word, n
		}
	}
	return word
}

// titleOf says in one line what a message is about.
func titleOf(n report.News) string {
	if len(n.Groups) == 1 && n.GroupCount == 1 {
		return groupTitle(n.Groups[0])
	}
	return fmt.Sprintf("%s in %s (%s), in %s", count(n.Counts.Findings, "change"), count(n.GroupCount, "group"),
		breakdown(n.Counts), count(n.Counts.Repositories, "repository"))
}

// groupTitle says it of a group.
func groupTitle(g report.NewsGroup) string {
	if g.Image != nil {
		return line(fmt.Sprintf("%s: %s %s (%s)", imageName(*g.Image), count(g.Counts.Findings, "finding"), what(g.Counts), breakdown(g.Counts)))
	}
	v := g.Vulnerability
	title := fmt.Sprintf("%s (%s", v.ID, g.Severity)
	if g.KnownExploited {
		title += ", known exploited"
	}
	title += fmt.Sprintf(") %s in %s: ", what(g.Counts), v.Package)
	if g.Reach == nil || g.Reach.Images == 0 {
		return line(title + count(g.Counts.Repositories, "repository"))
	}
	return line(title + count(g.Reach.Repositories, "repository") + ", " + count(g.Reach.Images, "image"))
}

func imageName(i report.NewsImage) string {
	if i.Tag != "" {
		return i.Repository + ":" + i.Tag
	}
	return i.Repository + "@" + i.Digest
}

// causeWords says why there is news.
func causeWords(cause string) string {
	switch cause {
	case "push":
		return "because it was pushed"
	case "request":
		return "because somebody asked for a scan"
	case "upload":
		return "because an SBOM was uploaded"
	case "reconcile":
		return "because comparing the registry found it"
	case "delete":
		return "because something was deleted"
	case "build":
		return "because of a new vulnerability database"
	case "exception":
		return "because an exception changed"
	}
	return ""
}

// megabytes writes a size.
func megabytes(bytes int64) string {
	const mega = 1 << 20
	if bytes < mega {
		return "less than 1 MiB"
	}
	return strconv.FormatInt(bytes/mega, 10) + " MiB"
}
