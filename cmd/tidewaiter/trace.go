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
)

// exitNotAnswered is the exit code of trace for an image without an answer.
const exitNotAnswered = 3

// traceCmd is tidewaiter trace.
type traceCmd struct {
	serverFlags
	Image string `arg:"" help:"Image: host/name:tag or host/name@digest, as it was pushed."`
	JSON  bool   `name:"json" help:"Print the answer of the API as it is."`
}

// Help is shown by --help.
func (traceCmd) Help() string {
	return `"I pushed, where is it?" Asks a running service what it knows of an image and prints it in the order it happened: what the webhook endpoint heard and refused, the delivery or its absence, the scan with its place in the queue or its failure, the manifest, the rule that leaves it out, the tag, the answer, and when the registry was last compared; and then what that comes to and what to do.

    export TIDEWAITER_SERVER=https://tidewaiter.example TIDEWAITER_TOKEN=tw_...

    tidewaiter trace registry.example/team/app:1.4

Exit codes: 0 when there is an answer and no newer push is under way; 3 when there is none, or not yet; 1 when the service could not be asked; 64 when the command line cannot be understood.`
}

// Run is called by kong.
func (c *traceCmd) Run(ctx context.Context, out *output) error {
	asked, err := c.client()
	if err != nil {
		return err
	}
	var raw json.RawMessage
	if err := asked.get(ctx, "/trace", url.Values{"ref": {c.Image}}, &raw); err != nil {
		return err
	}
	var trace report.Trace
	if err := json.Unmarshal(raw, &trace); err != nil || trace.Outcome == "" {
		return errs.New(errs.Malformed, "the answer of %s is no trace", asked.base.Host).WithHint(otherServer)
	}
	if c.JSON {
		_, err = fmt.Fprintf(out.Stdout, "%s\n", strings.TrimSpace(string(raw)))
	} else {
		err = writeTrace(out.Stdout, trace)
	}
	if err == nil && !trace.Answered {
		return &exitError{code: exitNotAnswered} // the report has said it
	}
	return err
}

// moodMarks stand before a step, for eyes that look for what is wrong.
var moodMarks = map[report.Mood]string{report.Fine: "+", report.Waiting: "~", report.Trouble: "!", report.Note: " "}

// writeTrace prints a trace as a timeline. Its words hold names that images and
// senders choose, so nothing but what prints gets through.
func writeTrace(w io.Writer, t report.Trace) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", line(t.Reference))
	for _, s := range t.Steps {
		at := ""
		if s.At != nil {
			at = s.At.UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(&b, "%-20s  %1s %-9s  %s\n", line(at), moodMarks[s.Mood], line(string(s.What)), line(s.Text))
	}
	fmt.Fprintf(&b, "\n%s: %s\n", line(string(t.Outcome)), line(t.Conclusion))
	if t.NextStep != "" {
		fmt.Fprintf(&b, "next: %s\n", line(t.NextStep))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
