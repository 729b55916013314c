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

// cancelCmd is tidewaiter cancel.
type cancelCmd struct {
	serverFlags
	Scan int64 `arg:"" help:"Number of the scan, as trace and the API tell it."`
	JSON bool  `name:"json" help:"Print the answer of the API as it is."`
}

// Help is shown by --help.
func (cancelCmd) Help() string {
	return `Asks a running service to end a scan that waits or runs. One that runs can store nothing from that moment, and stops within a second or two. Images that it was at return to the state they had before; an answer that was there stands. A later push of the same image is scanned.

    export TIDEWAITER_SERVER=https://tidewaiter.example TIDEWAITER_TOKEN=tw_...

    tidewaiter cancel 42

The token needs the scope triage; its name is written down with the scan.

Exit codes: 0 when the scan is canceled, if only before; 1 when it is over already, is not there, or the service could not be asked; 64 when the command line cannot be understood.`
}

// Run is called by kong.
func (c *cancelCmd) Run(ctx context.Context, out *output) error {
	asked, err := c.client()
	if err != nil {
		return err
	}
	var raw json.RawMessage
	if err := asked.delete(ctx, fmt.Sprintf("/scans/%d", c.Scan), &raw); err != nil {
		return err
	}
	var canceled report.Scan
	if err := json.Unmarshal(raw, &canceled); err != nil || canceled.ID != c.Scan || canceled.State != report.RunCanceled {
		return errs.New(errs.Malformed, "the answer of %s is no canceled scan", asked.base.Host).WithHint(otherServer)
	}
	if c.JSON {
		_, err = fmt.Fprintf(out.Stdout, "%s\n", strings.TrimSpace(string(raw)))
		return err
	}
	return writeCanceled(out.Stdout, canceled)
}

// writeCanceled prints what became of a scan. Its words hold names that senders
// choose, so nothing but what prints gets through.
func writeCanceled(w io.Writer, s report.Scan) error {
	target := s.Repository
	switch {
	case s.Tag != "":
		target += ":" + s.Tag
	case s.Digest != "":
		target += "@" + string(s.Digest)
	}
	text := fmt.Sprintf("scan %d of %s: %s", s.ID, target, s.State)
	if s.Detail != "" {
		text = fmt.Sprintf("scan %d of %s: %s", s.ID, target, s.Detail)
	}
	if s.FinishedAt != nil {
		text += " at " + s.FinishedAt.UTC().Format(time.RFC3339)
	}
	_, err := fmt.Fprintln(w, line(text))
	return err
}
