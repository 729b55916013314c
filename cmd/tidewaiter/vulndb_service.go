package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strings"
	"text/tabwriter"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// vulndbCheckCmd is tidewaiter vulndb check.
type vulndbCheckCmd struct {
	serverFlags
	JSON bool `name:"json" help:"Print the answer of the API as it is."`
}

// Help is shown by --help.
func (vulndbCheckCmd) Help() string {
	return `Asks a running service to look for a newer database now, waits until it has, and tells what it found. What it found is judged in the background; tidewaiter vulndb diff shows how far that is. The exit code is 1 when the look failed. Needs a token of scope admin.

    tidewaiter vulndb check --server https://tidewaiter.example`
}

// Run is called by kong.
func (c *vulndbCheckCmd) Run(ctx context.Context, out *output) error {
	asked, err := c.client()
	if err != nil {
		return err
	}
	var builds report.Builds
	if err := asked.post(ctx, "/vulndb/check", nil, &builds); err != nil {
		return err
	}
	steps := newProgress(out.Stderr, false)
	steps.start("looking for a newer database")
	err = patiently(ctx, "wait for the look, which goes on", func() bool { return builds.Check.Over() }, func() error {
		var next report.Builds
		err := asked.get(ctx, "/vulndb", nil, &next)
		if err == nil {
			builds = next
		}
		return err
	})
	steps.done()
	if err != nil {
		return err
	}
	return c.tell(out.Stdout, builds)
}

func (c *vulndbCheckCmd) tell(w io.Writer, builds report.Builds) error {
	failed := builds.Check.Outcome == "failed"
	var err error
	switch {
	case c.JSON:
		err = writeJSON(w, builds)
	case failed:
		return errs.New(errs.Unavailable, "the look failed: %s", line(builds.Check.Detail)).WithHint("the log of the service tells more; answers stay with the database in force")
	case builds.Check.Outcome == "fetched":
		_, err = fmt.Fprintf(w, "fetched %s; it is being judged\n", line(builds.Check.Detail))
	default:
		_, err = fmt.Fprintln(w, "there is nothing newer")
	}
	if err == nil && failed {
		return &exitError{code: 1}
	}
	return err
}

// buildFlags name a build of a running service.
type buildFlags struct {
	serverFlags
	Build string `arg:"" optional:"" help:"Checksum of the build, or its first eight digits or more; without it, the one that waits."`
	JSON  bool   `name:"json" help:"Print the answer of the API as it is."`
}

// find returns the checksum that was given, or that of the build in one of the
// states; the active one when none is.
func (f buildFlags) find(ctx context.Context, asked *client, states ...string) (string, error) {
	if f.Build != "" {
		return f.Build, nil
	}
	var builds report.Builds
	if err := asked.get(ctx, "/vulndb", nil, &builds); err != nil {
		return "", err
	}
	for _, state := range states {
		for _, b := range builds.Recent {
			if b.State == state {
				return b.Checksum, nil
			}
		}
	}
	return "", errs.New(errs.NotFound, "no build is %s", strings.Join(states, " or ")).WithHint("GET /api/v1/vulndb lists the builds")
}

// vulndbDiffCmd is tidewaiter vulndb diff.
type vulndbDiffCmd struct{ buildFlags }

// Help is shown by --help.
func (vulndbDiffCmd) Help() string {
	return `Shows a build of a running service: its state, how far it is, and for each distro and ecosystem how many matches of packages it closes and opens and how many records it has about it, against the build before. Without a checksum it shows the build that is held, else the candidate, else the one in force.

    tidewaiter vulndb diff

    tidewaiter vulndb diff 3f2a91c0`
}

// Run is called by kong.
func (c *vulndbDiffCmd) Run(ctx context.Context, out *output) error {
	asked, err := c.client()
	if err != nil {
		return err
	}
	name, err := c.find(ctx, asked, "held", "candidate", "active")
	if err != nil {
		return err
	}
	var b report.BuildState
	if err := asked.get(ctx, "/vulndb/"+url.PathEscape(name), nil, &b); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(out.Stdout, b)
	}
	return writeBuildState(out.Stdout, b, true)
}

// vulndbReleaseCmd is tidewaiter vulndb release.
type vulndbReleaseCmd struct{ buildFlags }

// Help is shown by --help.
func (vulndbReleaseCmd) Help() string {
	return `Lets a held build go on: it is counted and put in force, and not held again. Look at it with tidewaiter vulndb diff first. Needs a token of scope admin.

    tidewaiter vulndb release 3f2a91c0`
}

// Run is called by kong.
func (c *vulndbReleaseCmd) Run(ctx context.Context, out *output) error {
	return c.decide(ctx, out, "release")
}

// vulndbDiscardCmd is tidewaiter vulndb discard.
type vulndbDiscardCmd struct{ buildFlags }

// Help is shown by --help.
func (vulndbDiscardCmd) Help() string {
	return `Gives up a held build: answers stay with the one in force, and this build is not tried again. A newer one is. Needs a token of scope admin.

    tidewaiter vulndb discard 3f2a91c0`
}

// Run is called by kong.
func (c *vulndbDiscardCmd) Run(ctx context.Context, out *output) error {
	return c.decide(ctx, out, "discard")
}

// decide says a person's word about a build.
func (f buildFlags) decide(ctx context.Context, out *output, word string) error {
	asked, err := f.client()
	if err != nil {
		return err
	}
	name, err := f.find(ctx, asked, "held")
	if err != nil {
		return err
	}
	var b report.BuildState
	if err := asked.post(ctx, "/vulndb/"+url.PathEscape(name)+"/"+word, nil, &b); err != nil {
		return err
	}
	if f.JSON {
		return writeJSON(out.Stdout, b)
	}
	return writeBuildState(out.Stdout, b, false)
}

// writeBuildState shows a build, with what it changes if asked for.
func writeBuildState(w io.Writer, b report.BuildState, scopes bool) error {
	state := b.State
	if b.Reason != "" {
		state += ": " + b.Reason
	}
	_, _ = fmt.Fprintf(w, "%s, built %s\n  %s\n", line(b.Checksum), timeText(b.Built), line(state))
	if p := b.Progress; p != nil {
		_, _ = fmt.Fprintf(w, "  %s, %d of %d packages judged (%d %%)\n", line(p.Phase), p.Judged, p.Packages, p.Percent)
	}
	if b.Changes == nil {
		_, err := fmt.Fprintln(w, "  what it changes is not known")
		return err
	}
	why := fmt.Sprintf("changed advisories concern %d names of packages", b.Changes.Names)
	if b.Changes.Everything != "" {
		why = "everything was judged: " + b.Changes.Everything
	}
	m := b.Changes.Matches
	_, err := fmt.Fprintf(w, "  %s; %d packages judged\n  of %d open matches it closes %d; it opens %d\n", line(why), b.Changes.Packages, m.Before, m.Closed, m.Opened)
	if err != nil || !scopes || len(b.Changes.Scopes) == 0 {
		return err
	}
	return writeScopes(w, b.Changes.Scopes)
}

// writeScopes lists the distros and ecosystems that change.
func writeScopes(w io.Writer, scopes []report.BuildScope) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(table, "open\tcloses\topens\trecords before\tafter\t  \t")
	same := 0
	for _, s := range scopes {
		if s.Matches.Closed == 0 && s.Matches.Opened == 0 && s.Records.Before == s.Records.After {
			same++
			continue
		}
		_, _ = fmt.Fprintf(table, "%d\t%d\t%d\t%d\t%d\t  %s\t\n", s.Matches.Before, s.Matches.Closed, s.Matches.Opened, s.Records.Before, s.Records.After, line(s.Scope))
	}
	if err := table.Flush(); err != nil || same == 0 {
		return err
	}
	_, err := fmt.Fprintf(w, "%d more do not change\n", same)
	return err
}
