package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// imageCmd is tidewaiter image.
type imageCmd struct {
	serverFlags
	formFlags
	Image string `arg:"" help:"Image: host/name:tag or host/name@digest; uploads are under sboms/."`
	Wait  bool   `help:"Wait until the answer is final; the scan goes ahead of others."`
}

// Help is shown by --help.
func (imageCmd) Help() string {
	return `Tells what a running service knows of an image: where it stands, what it comes to, and that for each platform. With -o json the API's own answer is printed.

    tidewaiter image registry.example/team/app:1.4

Exit codes: 0 when the service knows the image; 1 when it does not or could not be asked; 64 when the command line cannot be understood.`
}

// Run is called by kong.
func (c *imageCmd) Run(ctx context.Context, out *output) error {
	asked, err := c.client()
	if err != nil {
		return err
	}
	found, raw, err := askImage(ctx, asked, c.Image, c.Wait, out.Stderr)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return writeRaw(out.Stdout, raw)
	}
	return writeImage(out.Stdout, found)
}

// askImage reads what is known of an image; with wait as soon as that is final.
func askImage(ctx context.Context, asked *client, ref string, wait bool, stderr people) (found report.Image, raw json.RawMessage, err error) {
	look := func(patience string) error {
		raw = nil
		if err := asked.get(ctx, "/image", given("ref", ref, "wait", patience), &raw); err != nil {
			return err
		}
		found = report.Image{}
		if err := json.Unmarshal(raw, &found); err != nil || found.Reference == "" {
			return errs.New(errs.Malformed, "the answer of %s is no image", asked.base.Host).WithHint(otherServer)
		}
		return nil
	}
	if !wait {
		err = look("")
		return found, raw, err
	}
	steps := newProgress(stderr, false)
	defer steps.soon("waiting for " + ref)()
	const patience = "20s" // of one request; less than the client's own
	if err := look(patience); err != nil {
		return found, raw, err
	}
	err = patiently(ctx, "wait for the answer, which goes on", func() bool { return raw != nil && found.Settled() }, func() error {
		if found.LastScan != nil && found.LastScan.Progress != nil {
			steps.update(found.LastScan.Progress.Words())
		}
		return look(patience)
	})
	return found, raw, err
}

func writeImage(w io.Writer, i report.Image) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", line(i.Reference))
	fmt.Fprintf(&b, "  %s\n", line(sentence(i.Assessment, i.State, i.Reason, i.Detail)))
	if i.Digest != "" {
		fmt.Fprintf(&b, "  %s %s", line(string(i.Kind)), line(string(i.Digest)))
		if len(i.Tags) > 0 {
			fmt.Fprintf(&b, ", tags %s", line(strings.Join(i.Tags, ", ")))
		}
		b.WriteString("\n")
	}
	if i.LastScan != nil && !i.LastScan.State.Final() {
		fmt.Fprintf(&b, "  scan %d is %s: the answer may be of the push before\n", i.LastScan.ID, i.LastScan.State)
	}
	b.WriteString("\n")
	if _, err := io.WriteString(w, b.String()); err != nil {
		return err
	}
	t := table{head: append(append([]string{"PLATFORM", "ANSWER"}, countHead...), "DISTRO", "PACKAGES", "NOTES"), gives: []int{11}}
	for _, p := range i.Platforms {
		cells := append([]string{firstText(p.Platform, string(p.Kind)), string(p.Answer)}, countCells(p.Counts)...)
		t.add(append(cells, p.Distro, fmt.Sprint(p.Packages), platformNotes(p))...)
	}
	if err := t.write(w); err != nil {
		return err
	}
	if err := endTable(w, false, len(i.Platforms)); err != nil {
		return err
	}
	return writeJudgedWith(w, i.Build)
}

// platformNotes says what the counts of a platform leave out, and what else there
// is to know.
func platformNotes(p report.Platform) string {
	var absent, ended string
	if p.Presence != report.Present {
		absent = string(p.Presence)
		if p.PresenceReason != "" {
			absent += ": " + p.PresenceReason
		}
	}
	if p.EndOfLifePassed && p.EndOfLife != nil {
		ended = "support of " + p.Distro + " ended " + p.EndOfLife.UTC().Format(time.DateOnly)
	}
	return missing(p.Assessment, p.Partial, reasoned(p.State, p.Reason), absent, ended)
}

// sentence says what an answer comes to. Counts never stand alone.
func sentence(a report.Assessment, state report.State, reason, detail string) string {
	var text string
	switch a.Answer {
	case report.Clean:
		return "clean: no vulnerability is known, and everything in it could be judged"
	case report.Findings:
		return fmt.Sprintf("findings: %s, and everything could be judged", countWords(a.Counts))
	case report.Pending:
		text = "pending: the answer is being made"
	case report.None:
		text = "no answer, and none is coming: " + reasoned(state, reason)
		if detail != "" {
			text += " (" + detail + ")"
		}
		return text
	case report.Unknown:
		text = "unknown: nothing in it could be judged, so no findings mean nothing"
	default:
		text = string(a.Answer) + ": not everything in it could be judged"
	}
	if a.Counts != nil && a.Answer != report.Unknown {
		text += ", so far " + countWords(a.Counts)
	}
	if left := missing(a); left != "" {
		text += "; " + left
	}
	return text
}

func countWords(c *report.Counts) string {
	text := fmt.Sprintf("%s (%d critical, %d high, %d medium, %d low", many(int64(c.Total), "vulnerability"), c.Critical, c.High, c.Medium, c.Low+c.Negligible)
	if c.Unknown > 0 {
		text += fmt.Sprintf(", %d of unknown severity", c.Unknown)
	}
	return text + fmt.Sprintf("), %d with a fix, %d known to be exploited", c.Fixable, c.KnownExploited)
}
