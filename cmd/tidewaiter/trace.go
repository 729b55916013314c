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
	Wait  bool   `help:"Wait while it is on its way, and tell how far it is."`
	JSON  bool   `name:"json" help:"Print the answer of the API as it is."`
}

// Help is shown by --help.
func (traceCmd) Help() string {
	return `"I pushed, where is it?" Asks a running service what it knows of an image and prints it in the order it happened: what the webhook endpoint heard and refused, the delivery or its absence, the scan with its place in the queue or its failure, the manifest, the rule that leaves it out, the tag, the answer, and when the registry was last compared; and then what that comes to and what to do.

    export TIDEWAITER_SERVER=https://tidewaiter.example TIDEWAITER_TOKEN=tw_...

    tidewaiter trace registry.example/team/app:1.4 --wait

Exit codes: 0 when there is an answer and no newer push is under way; 3 when there is none, or not yet; 1 when the service could not be asked; 64 when the command line cannot be understood.`
}

// Run is called by kong.
func (c *traceCmd) Run(ctx context.Context, out *output) error {
	asked, err := c.client()
	if err != nil {
		return err
	}
	trace, err := c.ask(ctx, asked)
	if err == nil && c.Wait {
		steps := newProgress(out.Stderr, false)
		trace, err = c.await(ctx, asked, trace, steps)
		steps.done()
	}
	if err != nil {
		return err
	}
	if c.JSON {
		_, err = fmt.Fprintf(out.Stdout, "%s\n", strings.TrimSpace(string(trace.raw)))
	} else {
		err = writeTrace(out.Stdout, trace.Trace)
	}
	if err == nil && !trace.Answered {
		return &exitError{code: exitNotAnswered} // the report has said it
	}
	return err
}

// traced is an answer of the API, read and as it came.
type traced struct {
	report.Trace
	raw json.RawMessage
}

func (c *traceCmd) ask(ctx context.Context, asked *client) (traced, error) {
	var trace traced
	if err := asked.get(ctx, "/trace", url.Values{"ref": {c.Image}}, &trace.raw); err != nil {
		return traced{}, err
	}
	if err := json.Unmarshal(trace.raw, &trace.Trace); err != nil || trace.Outcome == "" {
		return traced{}, errs.New(errs.Malformed, "the answer of %s is no trace", asked.base.Host).WithHint(otherServer)
	}
	return trace, nil
}

// await looks again and again until the image is no longer on its way.
func (c *traceCmd) await(ctx context.Context, asked *client, trace traced, steps *progress) (traced, error) {
	steps.start("waiting for " + trace.Reference)
	err := patiently(ctx, "wait for the answer, which goes on", func() bool { return trace.Outcome != report.OutcomePending }, func() error {
		next, err := c.ask(ctx, asked)
		if err == nil {
			trace = next
			steps.update(underWay(trace.Trace))
		}
		return err
	})
	return trace, err
}

// underWay is what the newest scan of an image is at.
func underWay(t report.Trace) string {
	for _, s := range t.Steps {
		switch {
		case s.What != report.AboutScan:
		case s.Progress != nil:
			return s.Progress.Words()
		default:
			return s.Text
		}
	}
	return t.Conclusion
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
