package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// findingsCmd is tidewaiter findings.
type findingsCmd struct {
	serverFlags
	pageFlags
	formFlags
	Image         string    `arg:"" optional:"" help:"Image: host/name:tag or host/name@digest; uploads are under sboms/."`
	Repository    string    `placeholder:"HOST/NAME" help:"In place of an image, all that stands behind the live tags of a repository."`
	Platform      string    `placeholder:"OS/ARCH" help:"Of multi-platform images, only that platform."`
	Severity      []string  `placeholder:"SEVERITY" help:"Only these severities."`
	MinSeverity   string    `placeholder:"SEVERITY" help:"Only findings at least this severe."`
	Fixable       *bool     `negatable:"" help:"Only findings with a known fix, or with --no-fixable those without."`
	KEV           *bool     `name:"kev" negatable:"" help:"Only what is known to be exploited, or with --no-kev what is not."`
	Package       string    `placeholder:"NAME" help:"Only packages of that name."`
	Vulnerability string    `placeholder:"ID" help:"Only that vulnerability, by any of its names."`
	Ignored       string    `enum:"false,true,only" default:"false" help:"What to do with findings that do not count: false leaves them out, true includes them, only has nothing else."`
	Sort          string    `enum:"severity,risk,epss" default:"severity" help:"Order, worst first: severity and within it risk; risk has what is known to be exploited first; epss."`
	AsOf          string    `name:"as-of" placeholder:"TIME" help:"What was known at a moment, such as 2026-03-01T00:00:00Z; of an image."`
	Wait          bool      `help:"Wait until the answer is final; the scan goes ahead of others."`
	FailOn        threshold `placeholder:"SEVERITY" help:"Exit with 2 when a finding is at or above: critical, high, medium, low, negligible or unknown; with 3 when there is none but something could not be judged."`
	AllowPartial  bool      `help:"With --fail-on, do not exit with 3 when only a part could be judged."`
}

// Help is shown by --help.
func (findingsCmd) Help() string {
	return `Lists what is wrong with an image, or with the images behind the live tags of a repository, as a running service knows it, the worst first. The lines below the table say what it leaves out; the filters narrow the table, not those lines. ` + jsonHelp + `

    tidewaiter findings registry.example/team/app:1.4 --min-severity high --fixable
    tidewaiter findings --repository registry.example/team/app --kev

In CI, behind the push:

    tidewaiter findings registry.example/team/app:$TAG --wait --fail-on high

--fail-on counts vulnerabilities once per package name, and with a filter the findings that pass it. A finding whose severity nobody states is below all others. An answer is partial when the database has no data for some of the packages or an image is missing; neither that nor an unknown, pending or missing answer passes for good.

Exit codes: 0 when the service knows the image, and with --fail-on nothing was found; 2 when --fail-on was given and something is at or above it; 3 when --fail-on was given, nothing is, and the answer is not whole (partial passes with --allow-partial); 1 when the service does not know the image or could not be asked; 64 when the command line cannot be understood.`
}

// Run is called by kong.
func (c *findingsCmd) Run(ctx context.Context, out *output) error {
	if (c.Image == "") == (c.Repository == "") {
		return &usageError{err: errs.New(errs.Invalid, "name an image, or a repository with --repository"), command: "tidewaiter findings"}
	}
	if c.Wait && (c.Image == "" || c.AsOf != "") {
		return &usageError{err: errs.New(errs.Invalid, "--wait is for an image as it is now"), command: "tidewaiter findings"}
	}
	asked, err := c.client()
	if err != nil {
		return err
	}
	most, err := c.most("tidewaiter findings")
	if err != nil {
		return err
	}
	if c.Wait {
		if _, _, err := askImage(ctx, asked, c.Image, true, out.Stderr); err != nil {
			return err
		}
	}
	found, err := list[report.Finding](ctx, asked, "/findings", c.parameters(), most, out.Stderr)
	if err != nil {
		return err
	}
	var head report.FindingPage
	if err := found.head(&head); err != nil {
		return err
	}
	if c.Output == "json" {
		err = writeRaw(out.Stdout, found.raw...)
	} else {
		err = c.write(out.Stdout, found, head)
	}
	if err != nil {
		return err
	}
	return c.verdict(ctx, asked, head, out.Stderr)
}

func (c *findingsCmd) parameters() url.Values {
	p := given("ref", c.Image, "repository", c.Repository, "platform", c.Platform, "severity", strings.Join(c.Severity, ","),
		"min_severity", c.MinSeverity, "package", c.Package, "vulnerability", c.Vulnerability, "ignored", c.Ignored, "sort", c.Sort, "as_of", c.AsOf)
	for name, flag := range map[string]*bool{"fixable": c.Fixable, "kev": c.KEV} {
		if flag != nil {
			p.Set(name, strconv.FormatBool(*flag))
		}
	}
	if c.AsOf != "" {
		p.Del("sort") // the past has one order
	}
	return p
}

// narrowed reports whether a filter leaves findings out.
func (c *findingsCmd) narrowed() bool {
	return c.Platform != "" || len(c.Severity) > 0 || c.MinSeverity != "" || c.Fixable != nil || c.KEV != nil || c.Package != "" ||
		c.Vulnerability != "" || c.Ignored != "false"
}

func (c *findingsCmd) write(w io.Writer, found listed[report.Finding], head report.FindingPage) error {
	t := table{head: []string{"SEVERITY", "VULNERABILITY", "PACKAGE", "TYPE", "FIXED IN", "EPSS", "EXPLOITED"}, gives: []int{2, 4}}
	if c.Sort == "severity" {
		slices.SortStableFunc(found.items, func(a, b report.Finding) int { return cmp.Compare(b.Severity.Rank(), a.Severity.Rank()) })
	}
	if c.Repository != "" {
		t.head = append(t.head, "IMAGES")
	}
	if c.Ignored != "false" {
		t.head = append(t.head, "IGNORED")
	}
	for _, f := range found.items {
		cells := []string{string(f.Severity), f.Vulnerability, f.Package.Name + " " + f.Package.Version, f.Package.Type, fixText(f), epssText(f.EPSS), yesText(f.KnownExploited)}
		if c.Repository != "" {
			cells = append(cells, imagesOf(f))
		}
		if c.Ignored != "false" {
			cells = append(cells, f.Reason)
		}
		t.add(cells...)
	}
	if err := t.write(w); err != nil {
		return err
	}
	if err := endTable(w, found.more, len(found.items)); err != nil {
		return err
	}
	return c.writeSum(w, len(found.items), head)
}

// imagesOf says which tags of a repository have a finding.
func imagesOf(f report.Finding) string {
	var tags []string
	for _, i := range f.Images {
		tags = append(tags, i.Tags...)
	}
	slices.Sort(tags)
	tags = slices.Compact(tags)
	const shown = 3
	text := strings.Join(tags[:min(len(tags), shown)], ", ")
	if len(tags) > shown {
		text += fmt.Sprintf(" and %d more", len(tags)-shown)
	}
	return firstText(text, many(int64(f.ImagesTotal), "image"))
}

// writeSum says what the image comes to as a whole.
func (c *findingsCmd) writeSum(w io.Writer, shown int, head report.FindingPage) error {
	if shown == 0 && c.narrowed() && head.Counts != nil && head.Counts.Total > 0 {
		if _, err := fmt.Fprintln(w, "No finding passes the filter."); err != nil {
			return err
		}
	}
	if head.AsOf != nil {
		text := fmt.Sprintf("As of %s", head.AsOf.Time.UTC().Format("2006-01-02 15:04:05"))
		if head.AsOf.Note != "" {
			text += ": " + head.AsOf.Note
		}
		if _, err := fmt.Fprintln(w, line(text)); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintf(w, "%s: %s.\n", line(firstText(c.Image, c.Repository)), line(sentence(head.Assessment, head.State, "", ""))); err != nil {
		return err
	}
	if next := c.nextStep(head); next != "" {
		if _, err := fmt.Fprintln(w, line(next)); err != nil {
			return err
		}
	}
	return writeJudgedWith(w, head.Build)
}

// nextStep says where to look when the answer is not whole.
func (c *findingsCmd) nextStep(head report.FindingPage) string {
	switch {
	case head.Answer == report.Pending && c.Image != "":
		return "next: tidewaiter trace " + c.Image + " --wait"
	case (head.Answer == report.None || head.Answer == report.Partial) && c.Image != "":
		return "next: tidewaiter image " + c.Image + " says what is missing, and why"
	case !head.Complete && c.Repository != "":
		return "next: tidewaiter coverage " + c.Repository + " says what is missing, and why"
	}
	return ""
}
