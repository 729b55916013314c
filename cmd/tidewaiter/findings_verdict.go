package main

import (
	"context"
	"fmt"

	"github.com/tidewaiter/tidewaiter/internal/report"
)

// verdict turns the answer into an exit code when --fail-on asks for it.
func (c *findingsCmd) verdict(ctx context.Context, asked *client, head report.FindingPage, stderr people) error {
	if c.FailOn == "" {
		return nil
	}
	n, what, err := c.countAbove(ctx, asked, head, stderr)
	if err != nil {
		return err
	}
	switch {
	case n > 0:
		return &exitError{code: exitFindings, text: fmt.Sprintf("%s, %s, at or above %s", many(int64(n), what.noun), what.how, c.FailOn)}
	case head.Answer == report.Clean, head.Answer == report.Findings:
		return nil
	case head.Answer == report.Partial && c.AllowPartial:
		return nil
	}
	text := fmt.Sprintf("nothing is at or above %s, but the answer is %s", c.FailOn, head.Answer)
	if head.Answer == report.Partial {
		text += " (--allow-partial accepts that)"
	}
	if left := missing(head.Assessment, reasoned(head.State, "")); left != "" {
		text += ": " + left
	}
	return &exitError{code: exitUnknown, text: line(text)}
}

// counted says what a number is of.
type counted struct{ noun, how string }

// countAbove counts what is at or above the severity: in the whole image, or what
// passes the filters.
func (c *findingsCmd) countAbove(ctx context.Context, asked *client, head report.FindingPage, stderr people) (int, counted, error) {
	what := counted{"vulnerability", "counted once per package name"}
	if !c.narrowed() {
		if head.Counts == nil {
			return 0, what, nil
		}
		return c.FailOn.count(head.Counts), what, nil
	}
	narrower := *c
	if narrower.MinSeverity == "" || c.FailOn.rank() > threshold(c.MinSeverity).rank() {
		narrower.MinSeverity = string(c.FailOn)
	}
	found, err := list[report.Finding](ctx, asked, "/findings", narrower.parameters(), -1, stderr)
	return len(found.items), counted{"finding", "among those that pass the filter"}, err
}
