package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/match"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// threshold is the severity of --fail-on; empty when it is not given.
type threshold string

// UnmarshalText reads a severity (encoding.TextUnmarshaler).
func (t *threshold) UnmarshalText(text []byte) error {
	known := []string{"critical", "high", "medium", "low", "negligible", "unknown"}
	if !slices.Contains(known, string(text)) {
		return errs.New(errs.Invalid, "must be one of %s but is %q", strings.Join(known, ", "), text)
	}
	*t = threshold(text)
	return nil
}

// rank orders severities, the worst last.
func (t threshold) rank() int { return vuln.Severity(t).Rank() }

// count is how many findings are at or above the severity, in the measure of the
// summary.
func (t threshold) count(c *report.Counts) int {
	n := 0
	for severity, count := range map[vuln.Severity]int{
		vuln.SeverityCritical: c.Critical, vuln.SeverityHigh: c.High, vuln.SeverityMedium: c.Medium, vuln.SeverityLow: c.Low,
		vuln.SeverityNegligible: c.Negligible, vuln.SeverityUnknown: c.Unknown,
	} {
		if severity.Rank() >= vuln.Severity(t).Rank() {
			n += count
		}
	}
	return n
}

// verdict turns the answer into an exit code when --fail-on asks for it.
func (c *scanCmd) verdict(r match.Result) error {
	if c.FailOn == "" {
		return nil
	}
	a := r.Assess(r.Findings())
	n := c.FailOn.count(a.Counts)
	switch {
	case n == 1:
		return &exitError{code: exitFindings, text: fmt.Sprintf("1 vulnerability, counted once per package name, is at or above %s", c.FailOn)}
	case n > 1:
		return &exitError{code: exitFindings, text: fmt.Sprintf("%d vulnerabilities, counted once per package name, are at or above %s", n, c.FailOn)}
	case a.Answer == report.Unknown:
		return &exitError{code: exitUnknown, text: "nothing in the image could be judged, so no findings mean nothing: " + because(r, a)}
	case !a.Complete && !c.AllowPartial:
		return &exitError{code: exitUnknown, text: fmt.Sprintf("no vulnerability is at or above %s, but the answer is partial (--allow-partial accepts that): %s", c.FailOn, because(r, a))}
	}
	return nil
}

// because says what an answer leaves out.
func because(r match.Result, a report.Assessment) string {
	var parts []string
	if len(a.NoData) > 0 {
		parts = append(parts, "no data for "+strings.Join(a.NoData, ", "))
	}
	if r.Partial != "" {
		parts = append(parts, r.Partial)
	}
	return strings.Join(parts, "; ")
}
