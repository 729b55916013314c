package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// exitNotReconciled is the exit code of reconcile --wait for a run that did not
// end well.
const exitNotReconciled = 3

// reconcileCmd is tidewaiter reconcile.
type reconcileCmd struct {
	serverFlags
	Registry   string `arg:"" help:"Registry, by its name in the configuration."`
	Repository string `placeholder:"NAME" help:"Look at this repository only, named with or without the registry's host."`
	Wait       bool   `help:"Wait until the run is over, and tell how far it is."`
	JSON       bool   `name:"json" help:"Print the answer of the API as it is."`
}

// Help is shown by --help.
func (reconcileCmd) Help() string {
	return `Asks a running service to compare what a registry lists with what it knows, and to scan what differs: what was pushed or deleted while no webhook arrived. The service does the same on its own, every day unless reconcile.interval says otherwise.

    export TIDEWAITER_SERVER=https://tidewaiter.example TIDEWAITER_TOKEN=tw_...

    tidewaiter reconcile prod --wait

The comparison goes on when the command is interrupted. Scans that it queued may still wait when it is over.

Exit codes: 0 when it is queued, or with --wait when it ended well; 3 when it failed; 1 when the service could not be asked; 64 when the command line cannot be understood.`
}

// reconciliation is an answer of the API, read and as it came.
type reconciliation struct {
	report.ReconciliationReport
	raw json.RawMessage
}

// Run is called by kong.
func (c *reconcileCmd) Run(ctx context.Context, out *output) error {
	asked, err := c.client()
	if err != nil {
		return err
	}
	run, err := c.request(ctx, asked)
	if err != nil {
		return err
	}
	if c.Wait {
		steps := newProgress(out.Stderr, false)
		run, err = await(ctx, asked, run, steps)
		steps.done()
		if err != nil {
			return err
		}
	}
	if c.JSON {
		_, err = fmt.Fprintf(out.Stdout, "%s\n", strings.TrimSpace(string(run.raw)))
	} else {
		err = writeReconciliation(out.Stdout, run.ReconciliationReport)
	}
	if err == nil && run.State.Final() && run.State != report.RunDone {
		return &exitError{code: exitNotReconciled} // the report has said it
	}
	return err
}

// request asks for the run.
func (c *reconcileCmd) request(ctx context.Context, asked *client) (reconciliation, error) {
	body := map[string]string{"registry": c.Registry}
	if c.Repository != "" {
		body["repository"] = c.Repository
	}
	var raw json.RawMessage
	if err := asked.post(ctx, "/reconciliations", body, &raw); err != nil {
		return reconciliation{}, err
	}
	return readReconciliation(asked, raw)
}

func readReconciliation(asked *client, raw json.RawMessage) (reconciliation, error) {
	run := reconciliation{raw: raw}
	if err := json.Unmarshal(raw, &run.ReconciliationReport); err != nil || run.ID == 0 || run.State == "" {
		return reconciliation{}, errs.New(errs.Malformed, "the answer of %s is no reconciliation", asked.base.Host).WithHint(otherServer)
	}
	return run, nil
}

// await looks again and again until the run is over.
func await(ctx context.Context, asked *client, run reconciliation, steps *progress) (reconciliation, error) {
	steps.start(fmt.Sprintf("reconciling %s", run.Registry))
	waiting := fmt.Sprintf("wait for reconciliation %d, which goes on", run.ID)
	err := patiently(ctx, waiting, func() bool { return run.State.Final() }, func() error {
		steps.update(describeRun(run.Reconciliation))
		var raw json.RawMessage
		if err := asked.get(ctx, fmt.Sprintf("/reconciliations/%d", run.ID), nil, &raw); err != nil {
			return err
		}
		next, err := readReconciliation(asked, raw)
		if err == nil {
			run = next
		}
		return err
	})
	return run, err
}

// describeRun says in a few words how far a run is.
func describeRun(r report.Reconciliation) string {
	words := fmt.Sprintf("%s, %s, %s queued", many(r.Counts.Repositories, "repository"), many(r.Counts.Tags, "tag"), many(r.Counts.Queued, "scan"))
	switch {
	case r.State == report.RunQueued:
		return "waits for its turn"
	case r.Detail != "":
		return words + "; waits: " + r.Detail
	case r.LastRepository != "":
		return words + ", after " + r.LastRepository
	}
	return words
}

// writeReconciliation prints a run. Its words hold names that registries choose,
// so nothing but what prints gets through.
func writeReconciliation(w io.Writer, r report.ReconciliationReport) error {
	var b strings.Builder
	what := r.Registry
	if r.Repository != "" {
		what = r.Repository
	}
	fmt.Fprintf(&b, "reconciliation %d of %s: %s\n", r.ID, line(what), line(string(r.State)))
	if r.Detail != "" {
		fmt.Fprintf(&b, "  %s\n", line(r.Detail))
	}
	if r.State == report.RunQueued {
		fmt.Fprintf(&b, "  follow it with --wait, or in the API under reconciliations/%d\n", r.ID)
	} else {
		writeCounts(&b, r.Counts)
	}
	for _, p := range r.Problems {
		at := p.Repository
		if p.Tag != "" {
			at += ":" + p.Tag
		}
		fmt.Fprintf(&b, "  ! %s %s: %s\n", line(at), line(p.Reason), line(p.Detail))
	}
	if more := r.Counts.Errors - int64(len(r.Problems)); more > 0 {
		fmt.Fprintf(&b, "  ! and %s\n", many(more, "more problem"))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeCounts(b *strings.Builder, c report.ReconciliationCounts) {
	fmt.Fprintf(b, "  %s and %s looked at with %s\n", many(c.Repositories, "repository"), many(c.Tags, "tag"), many(c.Requests, "request"))
	fmt.Fprintf(b, "  %d new, %d moved, %d gone, %d without an answer, %d left out, %d the same\n", c.New, c.Moved, c.Gone, c.Retried, c.Excluded, c.Same)
	fmt.Fprintf(b, "  %s queued\n", many(c.Queued, "scan"))
}

// many writes a count with its noun.
func many(n int64, noun string) string {
	stem, isY := strings.CutSuffix(noun, "y")
	switch {
	case n == 1:
		return "1 " + noun
	case isY:
		return fmt.Sprintf("%d %sies", n, stem)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
