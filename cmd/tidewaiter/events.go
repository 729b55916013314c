package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// eventsCmd is tidewaiter events.
type eventsCmd struct {
	serverFlags
	pageFlags
	formFlags
	Since         string   `placeholder:"TIME" default:"24h" help:"Since a moment, such as 2026-03-01T00:00:00Z, or for so long, as 24h or 7d."`
	Until         string   `placeholder:"TIME" help:"Before a moment."`
	Kind          []string `placeholder:"KIND" help:"Only these kinds: opened, closed, reopened, escalated, fix_available."`
	Cause         []string `placeholder:"CAUSE" help:"Only these causes: push, delete, build, exception."`
	Registry      string   `placeholder:"NAME" help:"Only the registry of that name in the configuration."`
	Repository    string   `placeholder:"HOST/NAME" help:"Only that repository."`
	Severity      []string `placeholder:"SEVERITY" help:"Only these severities."`
	MinSeverity   string   `placeholder:"SEVERITY" help:"Only findings at least this severe."`
	Package       string   `placeholder:"NAME" help:"Only packages of that name."`
	Vulnerability string   `placeholder:"ID" help:"Only that vulnerability, by any of its names."`
	Follow        bool     `short:"f" help:"Go on and print what comes, until interrupted; with -o json one event a line."`

	every time.Duration // between two looks; the default when it is zero
}

// Help is shown by --help.
func (eventsCmd) Help() string {
	return `What is new: findings of repositories that opened, closed, came back, became worse or got a fix, newest first. An event is about a vulnerability in a package of some name in the live tags of a repository; what a further image has that others have already is none. ` + jsonHelp + `

    tidewaiter events --since 7d --min-severity high
    tidewaiter events --kind opened,escalated --follow

Exit codes: 0 when the service answered; 1 when it could not be asked; 64 when the command line cannot be understood.`
}

// Run is called by kong.
func (c *eventsCmd) Run(ctx context.Context, out *output) error {
	since, err := momentOf(c.Since, time.Now())
	if err != nil {
		return errs.Op("--since", err)
	}
	if c.Follow && c.Until != "" {
		return &usageError{err: errs.New(errs.Invalid, "--follow has no end: leave out --until"), command: "tidewaiter events"}
	}
	until := ""
	if c.Until != "" {
		if until, err = momentOf(c.Until, time.Now()); err != nil {
			return errs.Op("--until", err)
		}
	}
	asked, err := c.client()
	if err != nil {
		return err
	}
	most, err := c.most("tidewaiter events")
	if err != nil {
		return err
	}
	parameters := given("since", since, "until", until, "kind", strings.Join(c.Kind, ","), "cause", strings.Join(c.Cause, ","),
		"registry", c.Registry, "repository", c.Repository, "severity", strings.Join(c.Severity, ","), "min_severity", c.MinSeverity,
		"package", c.Package, "vulnerability", c.Vulnerability)
	if c.Follow {
		return c.follow(ctx, asked, parameters, most, out)
	}
	found, err := list[report.FindingEvent](ctx, asked, "/events", parameters, most, out.Stderr)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return writeRaw(out.Stdout, found.raw...)
	}
	return c.write(out.Stdout, found)
}

// momentOf reads a time, or how long ago one was, as the API takes it.
func momentOf(given string, now time.Time) (string, error) {
	if days, ok := strings.CutSuffix(given, "d"); ok {
		const most = 100_000 // before that there was nothing to tell
		if n, err := strconv.Atoi(days); err == nil && n >= 0 && n <= most {
			return now.AddDate(0, 0, -n).UTC().Format(time.RFC3339), nil
		}
	}
	if d, err := time.ParseDuration(given); err == nil && d >= 0 {
		return now.Add(-d).UTC().Format(time.RFC3339), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, given); err == nil {
			return at.UTC().Format(time.RFC3339), nil
		}
	}
	return "", errs.New(errs.Invalid, "%.40q is no time", given).WithHint("write it as 2026-03-01T00:00:00Z, 2026-03-01, 24h or 7d")
}

func (c *eventsCmd) write(w io.Writer, found listed[report.FindingEvent]) error {
	if len(found.items) == 0 {
		_, err := fmt.Fprintln(w, "Nothing changed in that time that the filter lets through. An image that waits or failed has no events: `tidewaiter scans --state failed`, `tidewaiter coverage`.")
		return err
	}
	t := table{head: []string{"TIME", "KIND", "SEVERITY", "VULNERABILITY", "PACKAGE", "REPOSITORY", "WHY"}, gives: []int{4, 6}}
	for _, e := range found.items {
		t.add(e.OccurredAt.UTC().Format("2006-01-02 15:04"), string(e.Kind), string(e.Severity), e.Vulnerability, e.Package.Name, e.Repository, whyOf(e))
	}
	if err := t.write(w); err != nil {
		return err
	}
	return writeMore(w, found.more, len(found.items))
}

// whyOf says what brought an event about.
func whyOf(e report.FindingEvent) string {
	parts := []string{string(e.Cause)}
	if e.Tag != "" {
		parts[0] += " of " + e.Tag
	}
	if x := e.Escalation; x != nil {
		if x.SeverityFrom != "" {
			parts = append(parts, "was "+string(x.SeverityFrom))
		}
		if x.KnownExploited {
			parts = append(parts, "now known to be exploited")
		}
		if x.EPSSTo != nil {
			parts = append(parts, "EPSS "+epssText(x.EPSSTo))
		}
	}
	return strings.Join(parts, ", ")
}

// How follow looks for what is new.
const (
	followEvery = 5 * time.Second
	// followAgain is how far back it looks again: an event has the time at which its
	// transaction began, and is seen when that is over.
	followAgain = 10 * time.Minute
)

// follow prints events as they come, oldest first.
func (c *eventsCmd) follow(ctx context.Context, asked *client, parameters url.Values, most int, out *output) error {
	seen := map[int64]time.Time{}
	first := true
	err := patiently(ctx, "follow", func() bool { return false }, func() error {
		wanted := -1
		if first {
			wanted = most
		}
		found, err := list[report.FindingEvent](ctx, asked, "/events", parameters, wanted, out.Stderr)
		if err != nil {
			return err
		}
		first = false
		for _, e := range slices.Backward(found.items) {
			if _, old := seen[e.ID]; old {
				continue
			}
			seen[e.ID] = e.OccurredAt
			if err := c.tell(out.Stdout, e); err != nil {
				return err
			}
		}
		from := time.Now().Add(-followAgain).Truncate(time.Second) // as it is asked for
		if since, err := time.Parse(time.RFC3339, parameters.Get("since")); err == nil && since.After(from) {
			from = since
		}
		parameters.Set("since", from.UTC().Format(time.RFC3339))
		for id, at := range seen {
			if at.Before(from) {
				delete(seen, id)
			}
		}
		return pause(ctx, cmp.Or(c.every, followEvery))
	})
	if ctx.Err() != nil {
		err = nil // interrupting is how it ends
	}
	return err
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// tell prints one event.
func (c *eventsCmd) tell(w io.Writer, e report.FindingEvent) error {
	if c.Output == "json" {
		raw, err := json.Marshal(e)
		if err != nil {
			return err
		}
		return writeRaw(w, raw)
	}
	_, err := fmt.Fprintf(w, "%s  %-13s %-10s %-18s %-24s %s  %s\n", e.OccurredAt.UTC().Format("2006-01-02 15:04:05"), line(string(e.Kind)),
		line(string(e.Severity)), line(e.Vulnerability), line(e.Package.Name), line(e.Repository), line(whyOf(e)))
	return err
}
