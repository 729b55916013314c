package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// whereCmd is tidewaiter where.
type whereCmd struct {
	serverFlags
	pageFlags
	formFlags
	What          string `arg:"" help:"Name of a package, its purl, or the name of a vulnerability."`
	Version       string `placeholder:"RANGE" help:"Only versions of the package within a range, as '<2.17' or '>=1.2, <1.4'."`
	Type          string `placeholder:"TYPE" help:"Only packages of that type, as deb, npm or java-archive."`
	Package       bool   `xor:"what" help:"Take it for a package, whatever it looks like."`
	Vulnerability bool   `xor:"what" help:"Take it for a vulnerability, whatever it looks like."`
}

// Help is shown by --help.
func (whereCmd) Help() string {
	return `"Who has it?" Lists the images behind live tags that hold a package, or that have a vulnerability. What looks like the name of a vulnerability (CVE-2021-44228, GHSA-jfh8-c2jp-5v3q) is taken for one, everything else for a package. ` + jsonHelp + `

    tidewaiter where log4j-core --version '<2.17'
    tidewaiter where CVE-2021-44228
    tidewaiter where pkg:npm/lodash

An image that is not listed is free of a vulnerability only where the last lines do not say otherwise: what could not be judged is counted there.

Exit codes: 0 when the service answered, whatever it found; 1 when it could not be asked or nothing scanned was ever matched with the vulnerability; 64 when the command line cannot be understood.`
}

// vulnerabilityName is what names of records look like, in the databases there are.
var vulnerabilityName = regexp.MustCompile(`(?i)^(` +
	`(cve|can)-\d{4}-\d{4,}|ghsa(-[0-9a-z]{4}){3}|` +
	`(go|pysec|rustsec|osv|mal|gsd|rh[sbe]a|elsa|alas[a-z0-9.]*|(open)?suse-su|bit-[a-z0-9-]+)-\d{4}[-:]\d+([-:.]\d+)*|` +
	`(usn|dsa|dla)-\d{3,}(-\d+)?|glsa-\d{6}-\d+)$`)

// takenForVulnerability decides which question is asked.
func (c *whereCmd) takenForVulnerability() bool {
	return c.Vulnerability || !c.Package && c.Version == "" && c.Type == "" && vulnerabilityName.MatchString(c.What)
}

// Run is called by kong.
func (c *whereCmd) Run(ctx context.Context, out *output) error {
	if c.Vulnerability && (c.Version != "" || c.Type != "") {
		return &usageError{err: errs.New(errs.Invalid, "--version and --type are for packages"), command: "tidewaiter where"}
	}
	asked, err := c.client()
	if err != nil {
		return err
	}
	most, err := c.most("tidewaiter where")
	if err != nil {
		return err
	}
	path, parameters := "/packages", given("version", c.Version, "type", c.Type)
	switch {
	case c.takenForVulnerability():
		path, parameters = "/vulnerabilities/"+url.PathEscape(c.What)+"/images", url.Values{}
	case strings.HasPrefix(c.What, "pkg:"):
		parameters.Set("purl", c.What)
	default:
		parameters.Set("name", c.What)
	}
	found, err := list[report.ImageHit](ctx, asked, path, parameters, most, out.Stderr)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return writeRaw(out.Stdout, found.raw...)
	}
	if c.takenForVulnerability() {
		return c.writeVulnerability(ctx, asked, out.Stdout, found)
	}
	return c.writePackage(out.Stdout, found)
}

func (c *whereCmd) writeVulnerability(ctx context.Context, asked *client, w io.Writer, found listed[report.ImageHit]) error {
	var head report.VulnerabilityImages
	if err := found.head(&head); err != nil {
		return err
	}
	var known report.Vulnerability
	if err := asked.get(ctx, "/vulnerabilities/"+url.PathEscape(c.What), nil, &known); err != nil {
		return err
	}
	title := fmt.Sprintf("%s, %s", known.ID, known.Severity)
	if known.KnownExploited {
		title += ", known to be exploited"
	}
	if len(known.Aliases) > 0 {
		title += "; also " + strings.Join(known.Aliases, ", ")
	}
	if _, err := fmt.Fprintf(w, "%s\n\n", line(title)); err != nil {
		return err
	}
	if err := writeHits(w, found, true); err != nil {
		return err
	}
	text := "Every image behind a live tag was asked: no other has it."
	switch {
	case head.UnjudgedImages > 0 && len(found.items) == 0:
		text = fmt.Sprintf("No image is known to have it, but %s could not be judged in full and may: `tidewaiter coverage` says which.", many(int64(head.UnjudgedImages), "image"))
	case head.UnjudgedImages > 0 || !head.Complete:
		text = fmt.Sprintf("%s more could not be judged in full and may have it: `tidewaiter coverage` says which.", many(int64(head.UnjudgedImages), "image"))
	case len(found.items) == 0:
		text = "No image behind a live tag has it, and every one was asked."
	}
	if found.more {
		text = "Of what is not listed: " + text
	}
	if _, err := fmt.Fprintln(w, text); err != nil {
		return err
	}
	return writeJudgedWith(w, head.Build)
}

func (c *whereCmd) writePackage(w io.Writer, found listed[report.ImageHit]) error {
	if err := writeHits(w, found, false); err != nil {
		return err
	}
	text := "Images that nobody has read yet are not listed: `tidewaiter coverage` counts them."
	if len(found.items) == 0 {
		what := c.What
		if c.Version != "" {
			what += " " + c.Version
		}
		text = fmt.Sprintf("No image behind a live tag that was read holds %s. Is that how the package is called? A purl as pkg:npm/lodash says it exactly. ", line(what)) + text
		if vulnerabilityName.MatchString(c.What) {
			text += " --vulnerability asks for a vulnerability of that name."
		}
	}
	_, err := fmt.Fprintln(w, text)
	return err
}

// writeHits prints one line for each package in an image.
func writeHits(w io.Writer, found listed[report.ImageHit], fixes bool) error {
	t := table{head: []string{"IMAGE", "PLATFORM", "PACKAGE", "VERSION", "TYPE"}, gives: []int{2, 3}}
	if fixes {
		t.head = append(t.head, "FIXED IN")
	}
	for _, h := range found.items {
		for _, p := range h.Packages {
			cells := []string{placeOf(h.Repository, h.Tags, h.TagsTotal, string(h.Digest)), h.Platform, p.Name, p.Version, p.Type}
			if fixes {
				cells = append(cells, firstText(p.SuggestedVersion, string(p.FixState)))
			}
			t.add(cells...)
		}
	}
	if err := t.write(w); err != nil {
		return err
	}
	return endTable(w, found.more, len(found.items))
}
