package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// scansCmd is tidewaiter scans.
type scansCmd struct {
	serverFlags
	pageFlags
	formFlags
	Repository string `placeholder:"HOST/NAME" help:"Only that repository."`
	State      string `enum:",queued,running,done,failed,canceled" default:"" placeholder:"STATE" help:"Only that state: queued, running, done, failed or canceled."`
}

// Help is shown by --help.
func (scansCmd) Help() string {
	return `Lists the scans of a running service, newest first: how far those are that run, and why others failed. ` + jsonHelp + `

    tidewaiter scans --state running
    tidewaiter scans --state failed --repository registry.example/team/app

Exit codes: 0 when the service answered; 1 when it could not be asked; 64 when the command line cannot be understood.`
}

// Run is called by kong.
func (c *scansCmd) Run(ctx context.Context, out *output) error {
	asked, err := c.client()
	if err != nil {
		return err
	}
	most, err := c.most("tidewaiter scans")
	if err != nil {
		return err
	}
	found, err := list[report.Scan](ctx, asked, "/scans", given("repository", c.Repository, "state", c.State), most, out.Stderr)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return writeRaw(out.Stdout, found.raw...)
	}
	return c.write(out.Stdout, found)
}

func (c *scansCmd) write(w io.Writer, found listed[report.Scan]) error {
	if len(found.items) == 0 {
		text := "No scan is kept. One begins with a push, or with `tidewaiter request IMAGE`."
		if c.State != "" {
			text = "No scan is " + c.State + "."
		}
		_, err := fmt.Fprintln(w, text)
		return err
	}
	t := table{head: []string{"SCAN", "STATE", "IMAGE", "CAUSE", "ATTEMPT", "ASKED FOR", "TOOK", "DETAIL"}, gives: []int{7}}
	for _, s := range found.items {
		t.add(fmt.Sprint(s.ID), string(s.State), scanTarget(s), s.Cause, fmt.Sprint(s.Attempt), dayText(&s.CreatedAt), tookText(s), scanDetail(s))
	}
	if err := t.write(w); err != nil {
		return err
	}
	return writeMore(w, found.more, len(found.items))
}

// scanTarget names what a scan looks at.
func scanTarget(s report.Scan) string {
	switch {
	case s.Tag != "":
		return s.Repository + ":" + s.Tag
	case s.Digest != "":
		return s.Repository + "@" + shortDigest(string(s.Digest))
	}
	return s.Repository
}

func tookText(s report.Scan) string {
	if s.StartedAt == nil || s.FinishedAt == nil {
		return ""
	}
	return s.FinishedAt.Sub(*s.StartedAt).Round(100 * time.Millisecond).String()
}

// scanDetail says how far a scan is, or why it is where it is.
func scanDetail(s report.Scan) string {
	switch {
	case s.State == report.RunRunning && s.Progress != nil:
		return s.Progress.Words()
	case s.State == report.RunQueued && s.RunAfter.After(time.Now()):
		return firstText(s.Detail, "waits") + ", not before " + s.RunAfter.UTC().Format("15:04:05")
	case s.State == report.RunQueued:
		return firstText(s.Detail, "in line among "+s.Lane)
	case s.Detail != "":
		return s.Detail
	}
	return s.Reason
}

// exitNotScanned is the exit code of request --wait for a scan that did not end
// well.
const exitNotScanned = 3

// requestCmd is tidewaiter request.
type requestCmd struct {
	serverFlags
	formFlags
	Image string `arg:"" help:"Image: host/name:tag or host/name@digest."`
	Wait  bool   `help:"Wait until the scan is over, and tell how far it is."`
}

// Help is shown by --help.
func (requestCmd) Help() string {
	return `Asks a running service to scan an image, pushed or not, ahead of pushes. One that waits already is joined. With -o json the API's own answer is printed. The token needs the scope triage.

    tidewaiter request registry.example/team/app:1.4 --wait

The scan goes on when the command is interrupted.

Exit codes: 0 when it is queued, or with --wait when it ended well; 3 when it failed or was canceled; 1 when the service could not be asked; 64 when the command line cannot be understood.`
}

// Run is called by kong.
func (c *requestCmd) Run(ctx context.Context, out *output) error {
	asked, err := c.client()
	if err != nil {
		return err
	}
	var raw json.RawMessage
	if err := asked.post(ctx, "/scans", map[string]string{"image": c.Image}, &raw); err != nil {
		return err
	}
	s, err := readScan(asked, raw)
	if err != nil {
		return err
	}
	if c.Wait {
		if s, raw, err = c.await(ctx, asked, s, raw, out.Stderr); err != nil {
			return err
		}
	}
	if c.Output == "json" {
		err = writeRaw(out.Stdout, raw)
	} else {
		err = c.write(out.Stdout, s)
	}
	if err == nil && s.State.Final() && s.State != report.RunDone {
		return &exitError{code: exitNotScanned} // the answer has said it
	}
	return err
}

func readScan(asked *client, raw json.RawMessage) (s report.Scan, err error) {
	if err := json.Unmarshal(raw, &s); err != nil || s.ID == 0 || s.State == "" {
		return s, errs.New(errs.Malformed, "the answer of %s is no scan", asked.base.Host).WithHint(otherServer)
	}
	return s, nil
}

func (c *requestCmd) await(ctx context.Context, asked *client, s report.Scan, raw json.RawMessage, stderr people) (report.Scan, json.RawMessage, error) {
	steps := newProgress(stderr, false)
	defer steps.soon("waiting for " + scanTarget(s))()
	err := patiently(ctx, fmt.Sprintf("wait for scan %d, which goes on", s.ID), func() bool { return s.State.Final() }, func() error {
		steps.update(scanDetail(s))
		var next json.RawMessage
		if err := asked.get(ctx, fmt.Sprintf("/scans/%d", s.ID), nil, &next); err != nil {
			return err
		}
		read, err := readScan(asked, next)
		if err == nil {
			s, raw = read, next
		}
		return err
	})
	return s, raw, err
}

func (c *requestCmd) write(w io.Writer, s report.Scan) error {
	text := fmt.Sprintf("scan %d of %s: %s", s.ID, scanTarget(s), s.State)
	if s.State != report.RunDone && s.State != report.RunQueued {
		if detail := scanDetail(s); detail != "" {
			text += ", " + detail
		}
	}
	next := ""
	switch {
	case s.State == report.RunDone:
		next = "next: tidewaiter findings " + c.Image
	case !s.State.Final():
		next = "next: tidewaiter trace " + c.Image + " --wait"
	}
	if _, err := fmt.Fprintln(w, line(text)); err != nil || next == "" {
		return err
	}
	_, err := fmt.Fprintln(w, line(next))
	return err
}
