package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
)

// vulndbBuildCmd is tidewaiter vulndb build. It takes the library's flags like
// its siblings although it does not touch the library.
type vulndbBuildCmd struct {
	vulndbFlags
	From     string `placeholder:"DIR" xor:"source" required:"" help:"Directory of advisories: OSV records, vunnel envelopes and vunnel workspaces, however deep."`
	Sample   bool   `xor:"source" required:"" help:"Build from the few facts that come with the program, for trying out."`
	Out      string `placeholder:"PATH" required:"" help:"Archive to write (.tar.zst or .tar.gz), or the directory to write one into."`
	Provider string `placeholder:"NAME" default:"osv" help:"Publisher of advisories whose ids no known publisher uses; findings show it in their namespace."`
	Output   string `short:"o" enum:"table,json" default:"table" help:"Form of the answer: table or json."`
}

// Help is shown by --help.
func (vulndbBuildCmd) Help() string {
	return `For private advisories and for sites without internet. An advisory in the OSV format (https://ossf.github.io/osv-schema/) is enough:

    {"id": "ACME-2026-1", "modified": "2026-11-01T00:00:00Z", "summary": "widget runs code from its configuration",
     "affected": [{"package": {"ecosystem": "npm", "name": "@acme/widget"},
       "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": "1.4.2"}]}]}]}

    tidewaiter vulndb build --from advisories/ --out acme.tar.zst --provider acme

    tidewaiter vulndb import acme.tar.zst

The database holds these advisories and nothing else: to have others as well, put them into the directory too. Advisories that cannot be used are told on standard error with the reason, and left out.

A latest.json is written beside the archive. Write into a directory named v6 and serve its parent over HTTP to have a mirror for --vulndb-url.`
}

// Run is called by kong.
func (c *vulndbBuildCmd) Run(ctx context.Context, out *output) error {
	steps := newProgress(out.Stderr, false)
	report, err := vulndb.Build(ctx, vulndb.BuildOptions{From: c.From, Sample: c.Sample, Out: c.Out, Provider: c.Provider}, stages(steps))
	steps.done()
	for _, s := range report.Skipped {
		_, _ = fmt.Fprintf(out.Stderr, "left out: %s\n", line(s.String()))
	}
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return writeJSON(out.Stdout, report)
	}
	return writeReport(out.Stdout, report)
}

func writeReport(w io.Writer, r vulndb.BuildReport) error {
	total := 0
	for _, n := range r.Records {
		total += n
	}
	_, _ = fmt.Fprintf(w, "wrote %s\n  build %s, %d records", r.Archive, r.Checksum, total)
	if len(r.Skipped) > 0 {
		_, _ = fmt.Fprintf(w, ", %d left out", len(r.Skipped))
	}
	_, _ = fmt.Fprintln(w)
	for _, name := range slices.Sorted(maps.Keys(r.Records)) {
		_, _ = fmt.Fprintf(w, "  %6d  %s\n", r.Records[name], name)
	}
	_, err := fmt.Fprintf(w, "install it with: tidewaiter vulndb import %s\n", r.Archive)
	return err
}
