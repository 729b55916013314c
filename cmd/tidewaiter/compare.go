package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// compareCmd is tidewaiter compare.
type compareCmd struct {
	serverFlags
	From     string `arg:"" help:"Image: host/name:tag or host/name@digest."`
	To       string `arg:"" optional:"" help:"Image to compare it with; the same one when it is not given, at another moment."`
	FromAsOf string `name:"from-as-of" placeholder:"TIME" help:"Take the first as it was known at a moment, such as 2026-03-01T00:00:00Z."`
	ToAsOf   string `name:"to-as-of" placeholder:"TIME" help:"Take the second as it was known at a moment."`
	Platform string `placeholder:"OS/ARCH" help:"Of multi-platform images, only that platform."`
	JSON     bool   `name:"json" help:"Print the answer of the API as it is."`
}

// Help is shown by --help.
func (compareCmd) Help() string {
	return `Asks a running service what differs between two images, or between two days of one: findings that opened (+), closed (-) or are rated or fixed otherwise (~), and the packages that were added, removed or changed.

    export TIDEWAITER_SERVER=https://tidewaiter.example TIDEWAITER_TOKEN=tw_...

    tidewaiter compare registry.example/team/app:1.4 registry.example/team/app:1.5
    tidewaiter compare registry.example/team/app:1.4 --from-as-of 2026-03-01T00:00:00Z

A vulnerability in a package of some name is the same on both sides whatever the version.

Exit codes: 0 when both could be compared; 1 when one is not known or the service could not be asked; 64 when the command line cannot be understood.`
}

// Run is called by kong.
func (c *compareCmd) Run(ctx context.Context, out *output) error {
	asked, err := c.client()
	if err != nil {
		return err
	}
	parameters := url.Values{"from": {c.From}}
	for name, given := range map[string]string{"to": c.To, "from_as_of": c.FromAsOf, "to_as_of": c.ToAsOf, "platform": c.Platform} {
		if given != "" {
			parameters.Set(name, given)
		}
	}
	var raw json.RawMessage
	if err := asked.get(ctx, "/compare", parameters, &raw); err != nil {
		return err
	}
	var found report.Comparison
	if err := json.Unmarshal(raw, &found); err != nil || found.From.Reference == "" {
		return errs.New(errs.Malformed, "the answer of %s is no comparison", asked.base.Host).WithHint(otherServer)
	}
	if c.JSON {
		_, err = fmt.Fprintf(out.Stdout, "%s\n", strings.TrimSpace(string(raw)))
		return err
	}
	return writeComparison(out.Stdout, found)
}

// writeComparison prints a comparison, one difference a line.
func writeComparison(w io.Writer, c report.Comparison) error {
	var b strings.Builder
	writeSide(&b, "from", c.From)
	writeSide(&b, "to", c.To)
	fmt.Fprintf(&b, "\n%d opened, %d closed, %d changed, %d as before\n", c.Opened.Total, c.Closed.Total, c.Changed.Total, c.Unchanged)
	for _, f := range c.Opened.Items {
		writeFound(&b, "+", f)
	}
	writeRest(&b, c.Opened.Total, len(c.Opened.Items))
	for _, f := range c.Closed.Items {
		writeFound(&b, "-", f)
	}
	writeRest(&b, c.Closed.Total, len(c.Closed.Items))
	for _, f := range c.Changed.Items {
		fmt.Fprintf(&b, "~ %-10s %-20s %s: %s\n", f.To.Severity, line(f.Vulnerability), line(f.Package.Name), line(changes(f.From, f.To)))
	}
	writeRest(&b, c.Changed.Total, len(c.Changed.Items))
	writePackages(&b, c.Packages)
	if !c.Complete {
		b.WriteString("\nNot everything in both could be judged: something may have opened or closed that is not listed.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeSide(b *strings.Builder, name string, s report.ComparedSide) {
	fmt.Fprintf(b, "%-5s %s", name+":", line(s.Reference))
	if s.AsOf != nil {
		fmt.Fprintf(b, " as of %s", s.AsOf.Time.Format(time.RFC3339))
	}
	fmt.Fprintf(b, "\n      %s", line(string(s.Digest)))
	if s.Counts != nil {
		fmt.Fprintf(b, ", %s: %d findings", s.Answer, s.Counts.Total)
	} else {
		fmt.Fprintf(b, ", %s", s.Answer)
	}
	if s.Build != nil {
		fmt.Fprintf(b, ", database of %s", s.Build.Built.Format(time.DateOnly))
	}
	b.WriteString("\n")
	if s.AsOf != nil && s.AsOf.Note != "" {
		fmt.Fprintf(b, "      %s\n", line(s.AsOf.Note))
	}
}

func writeFound(b *strings.Builder, mark string, f report.ComparedFinding) {
	fmt.Fprintf(b, "%s %-10s %-20s %s %s", mark, f.Severity, line(f.Vulnerability), line(f.Package.Name), line(strings.Join(f.Versions, ", ")))
	if f.KnownExploited {
		b.WriteString(", known to be exploited")
	}
	if f.SuggestedVersion != "" {
		fmt.Fprintf(b, ", fixed in %s", line(f.SuggestedVersion))
	}
	b.WriteString("\n")
}

func writeRest(b *strings.Builder, total, shown int) {
	if total > shown {
		fmt.Fprintf(b, "  and %d more\n", total-shown)
	}
}

// changes says what is otherwise.
func changes(from, to report.FindingFacts) string {
	var said []string
	if from.Severity != to.Severity {
		said = append(said, fmt.Sprintf("was %s", from.Severity))
	}
	if from.KnownExploited != to.KnownExploited {
		said = append(said, map[bool]string{true: "now known to be exploited", false: "no longer known to be exploited"}[to.KnownExploited])
	}
	switch {
	case from.SuggestedVersion == to.SuggestedVersion && from.FixState == to.FixState:
	case to.FixState == vuln.FixStateFixed && to.SuggestedVersion != "":
		said = append(said, "fixed in "+to.SuggestedVersion)
	default:
		said = append(said, fmt.Sprintf("fix: %s", to.FixState))
	}
	return strings.Join(said, ", ")
}

func writePackages(b *strings.Builder, p report.ComparedPackages) {
	fmt.Fprintf(b, "\npackages: %d added, %d removed, %d changed\n", p.Added.Total, p.Removed.Total, p.Changed.Total)
	for _, a := range p.Added.Items {
		fmt.Fprintf(b, "+ %-12s %s %s\n", line(a.Type), line(a.Name), line(strings.Join(a.Versions, ", ")))
	}
	writeRest(b, p.Added.Total, len(p.Added.Items))
	for _, r := range p.Removed.Items {
		fmt.Fprintf(b, "- %-12s %s %s\n", line(r.Type), line(r.Name), line(strings.Join(r.Versions, ", ")))
	}
	writeRest(b, p.Removed.Total, len(p.Removed.Items))
	for _, c := range p.Changed.Items {
		fmt.Fprintf(b, "~ %-12s %s %s -> %s\n", line(c.Type), line(c.Name), line(strings.Join(c.From, ", ")), line(strings.Join(c.To, ", ")))
	}
	writeRest(b, p.Changed.Total, len(p.Changed.Items))
}
