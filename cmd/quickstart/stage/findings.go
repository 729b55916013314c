package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/tidewaiter/tidewaiter/cmd/quickstart/internal/console"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// shown is how many findings the table holds.
const shown = 25

// showFindings prints the worst findings of the sample image.
func (q *quickstart) showFindings(ctx context.Context) error {
	page, err := q.api().findings(ctx, q.ref(), shown)
	if err != nil {
		return err
	}
	q.out.Say("")
	printFindings(q.out, page.Items)
	q.out.Say("")
	if page.Counts != nil {
		q.out.Say("%s", summary(*page.Counts, q.ref(), len(page.Items)))
	}
	if !page.Complete {
		q.out.Say("The answer is %s: there is no data for %s.", page.Answer, strings.Join(page.NoData, ", "))
	}
	if page.Build != nil && page.Build.Sample {
		q.out.Say("Judged with the SAMPLE database: it knows a few well-known vulnerabilities and is no good for real decisions.")
	}
	return nil
}

// summary says what the table leaves out.
func summary(c report.Counts, ref string, listed int) string {
	text := fmt.Sprintf("%d findings in %s", c.Total, ref)
	if listed < c.Total {
		text += fmt.Sprintf(", the worst %d above", listed)
	}
	text += fmt.Sprintf(": %d critical, %d high, %d medium, %d low", c.Critical, c.High, c.Medium, c.Low+c.Negligible)
	if c.Unknown > 0 {
		text += fmt.Sprintf(", %d of unknown severity", c.Unknown)
	}
	return text + fmt.Sprintf("; %d have a fix, %d are known to be exploited.", c.Fixable, c.KnownExploited)
}

// printFindings writes findings as aligned columns.
func printFindings(out io.Writer, findings []report.Finding) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SEVERITY\tVULNERABILITY\tPACKAGE\tTYPE\tFIXED IN\tEPSS\tEXPLOITED")
	for _, f := range findings {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			clean(string(f.Severity)), clean(f.Vulnerability), clean(f.Package.Name+" "+f.Package.Version),
			clean(f.Package.Type), clean(fix(f)), epss(f), mark(f.KnownExploited))
	}
	_ = w.Flush()
}

// fix is the version to go to, or why there is none.
func fix(f report.Finding) string {
	if f.SuggestedVersion != "" {
		return f.SuggestedVersion
	}
	if len(f.FixedVersions) > 0 {
		return slices.Min(f.FixedVersions)
	}
	return string(f.FixState)
}

func epss(f report.Finding) string {
	if f.EPSS == nil {
		return "-"
	}
	return fmt.Sprintf("%.1f%%", *f.EPSS*100)
}

func mark(yes bool) string {
	if yes {
		return "yes"
	}
	return "-"
}

// clean makes a text from an image harmless for a terminal.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r < ' ', r >= 0x7f && r < 0xa0, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
			return '?'
		}
		return r
	}, console.Cut(text, 60))
}
