package match

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/text"
)

// maxCell bounds a cell of the table in characters.
const maxCell = 60

// writeTable writes findings for people: one line each, worst first, then the
// counts with what they leave out.
func (s *Session) writeTable(_ context.Context, w io.Writer, r Result) error {
	findings := r.Findings()
	if err := tabulate(w, r.listed(findings), r.ShowIgnored); err != nil {
		return err
	}
	_, err := io.WriteString(w, s.summary(r, findings))
	return err
}

func tabulate(w io.Writer, shown []report.Finding, withIgnored bool) error {
	if len(shown) == 0 {
		return nil
	}
	shown = slices.Clone(shown)
	slices.SortStableFunc(shown, func(a, b report.Finding) int { return cmp.Compare(b.Severity.Rank(), a.Severity.Rank()) })
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	head := "SEVERITY\tVULNERABILITY\tPACKAGE\tVERSION\tFIXED IN\tTYPE\tEPSS\tKEV"
	if withIgnored {
		head += "\tIGNORED"
	}
	_, _ = fmt.Fprintln(t, head)
	for _, f := range shown {
		row := []string{
			string(f.Severity), cell(f.Vulnerability), cell(f.Package.Name), cell(f.Package.Version), cell(fixCell(f)), cell(f.Package.Type), epssCell(f), kevCell(f),
		}
		if withIgnored {
			row = append(row, cell(f.Reason))
		}
		_, _ = fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	_, _ = fmt.Fprintln(t)
	return t.Flush()
}

func fixCell(f report.Finding) string {
	switch {
	case f.SuggestedVersion != "":
		return f.SuggestedVersion
	case f.FixState == "wont-fix":
		return "(won't fix)"
	}
	return ""
}

func epssCell(f report.Finding) string {
	if f.EPSS == nil {
		return ""
	}
	return fmt.Sprintf("%.1f%%", *f.EPSS*100)
}

func kevCell(f report.Finding) string {
	if f.KnownExploited {
		return "yes"
	}
	return ""
}

// cell makes a string of an image safe to show on a terminal: what does not
// print, among it escape sequences and marks that turn the direction of
// writing, is shown by its number.
func cell(s string) string { return printable(s, maxCell) }

func printable(s string, limit int) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n++; n > limit {
			return b.String() + "…"
		}
		if unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRuneToASCII(r)
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}

// summary says in a few lines what the findings amount to.
func (s *Session) summary(r Result, findings []report.Finding) string {
	a := r.Assess(findings)
	c := a.Counts
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s, %s", printable(r.Reference, text.Line), cell(cmp.Or(r.Inventory.Distro.String(), "no distribution")), counted(len(r.Inventory.Occurrences), "package", "packages"))
	if p := r.Manifest.Platform.String(); p != "" {
		fmt.Fprintf(&b, ", %s", cell(p))
	}
	fmt.Fprintf(&b, "\n%s: %s, counted once per package name (%d critical, %d high, %d medium, %d low, %d negligible, %d unknown), %d with a fix, %d known to be exploited, %d ignored\n",
		a.Answer, counted(c.Total, "vulnerability", "vulnerabilities"), c.Critical, c.High, c.Medium, c.Low, c.Negligible, c.Unknown, c.Fixable, c.KnownExploited, *c.Ignored)
	for _, caveat := range s.Caveats(r) {
		fmt.Fprintf(&b, "note: %s\n", printable(caveat, text.Line))
	}
	return b.String()
}
