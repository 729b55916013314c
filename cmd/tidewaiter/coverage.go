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

// coverageCmd is tidewaiter coverage.
type coverageCmd struct {
	serverFlags
	pageFlags
	formFlags
	Repository   string `arg:"" optional:"" help:"Repository: host/name; without it, the registries as a whole."`
	Repositories bool   `help:"List the repositories, one by one, in which something has no last word."`
	Registry     string `placeholder:"NAME" help:"Only the registry of that name in the configuration."`
	State        string `enum:",done,unsupported,too_large,excluded,queued,running,failed,canceled,gone" default:"" placeholder:"STATE" help:"Of a repository, what is in that state; without it, what has no last word."`
}

// Help is shown by --help.
func (coverageCmd) Help() string {
	return `Is anything missing? Counts everything that is known of each registry by what became of it: what has a last word (judged, or of a kind that cannot be, or left out by a rule) and what has not. With a repository it lists what has none there, and why. ` + jsonHelp + `

    tidewaiter coverage
    tidewaiter coverage --repositories --registry prod
    tidewaiter coverage registry.example/team/app

What the registry has and nobody told of is found by tidewaiter reconcile.

Exit codes: 0 when the service answered; 1 when it could not be asked; 64 when the command line cannot be understood.`
}

// Run is called by kong.
func (c *coverageCmd) Run(ctx context.Context, out *output) error {
	if c.State != "" && c.Repository == "" || c.Repository != "" && (c.Repositories || c.Registry != "") {
		return &usageError{err: errs.New(errs.Invalid, "a repository goes with --state only, and --state with a repository"), command: "tidewaiter coverage"}
	}
	asked, err := c.client()
	if err != nil {
		return err
	}
	most, err := c.most("tidewaiter coverage")
	switch {
	case err != nil:
		return err
	case c.Repository != "":
		return c.manifests(ctx, asked, most, out)
	case c.Repositories:
		return c.repositories(ctx, asked, most, out)
	}
	return c.registries(ctx, asked, out)
}

// shareText is how much of what is known has its last word; never 100% when
// something has not.
func shareText(share *float64) string {
	switch {
	case share == nil:
		return "-"
	case *share < 1 && *share > 0.999:
		return "99.9%"
	}
	return fmt.Sprintf("%.1f%%", *share*100)
}

func (c *coverageCmd) registries(ctx context.Context, asked *client, out *output) error {
	steps := newProgress(out.Stderr, false)
	defer steps.soon("counting")()
	var raw json.RawMessage
	if err := asked.get(ctx, "/coverage", given("registry", c.Registry), &raw); err != nil {
		return err
	}
	var found report.Coverage
	if err := json.Unmarshal(raw, &found); err != nil || found.Items == nil {
		return errs.New(errs.Malformed, "the answer of %s is no coverage", asked.base.Host).WithHint(otherServer)
	}
	if c.Output == "json" {
		return writeRaw(out.Stdout, raw)
	}
	t := table{head: []string{"REGISTRY", "REPOSITORIES", "KNOWN", "LAST WORD", "SHARE", "WAITS", "FAILED", "RECONCILED", "WEBHOOK"}}
	for _, r := range found.Items {
		t.add(r.Registry, fmt.Sprint(r.Repositories), fmt.Sprint(r.Known), fmt.Sprint(r.Covered), shareText(r.Share),
			fmt.Sprint(r.States.Queued+r.States.Running), fmt.Sprint(r.States.Failed+r.States.Canceled), dayText(r.ReconciledAt), endpointText(r.Endpoint))
	}
	if err := t.write(out.Stdout); err != nil {
		return err
	}
	return writeLedger(out.Stdout, found.Total)
}

// endpointText says how a webhook is heard.
func endpointText(e *report.Endpoint) string {
	switch {
	case e == nil:
		return "-"
	case e.Silent:
		return "silent since " + dayText(e.LastDeliveryAt)
	case e.LastDeliveryAt == nil:
		return "never heard"
	}
	text := "heard " + dayText(e.LastDeliveryAt)
	if e.Rejected.Requests > 0 {
		text += fmt.Sprintf(", %d refused", e.Rejected.Requests)
	}
	return text
}

// writeLedger says what is left over all registries, and why.
func writeLedger(w io.Writer, l report.Ledger) error {
	if l.Known == 0 {
		_, err := fmt.Fprintln(w, "\nNothing is known yet: point the registry's webhook at the service (docs/webhooks.md), or compare it with `tidewaiter reconcile NAME`.")
		return err
	}
	left := l.Known - l.Covered
	text := fmt.Sprintf("\nEverything that is known has its last word: %d of %d.", l.Covered, l.Known)
	if left > 0 {
		text = fmt.Sprintf("\n%d of %d have no last word: `tidewaiter coverage --repositories` says where.", left, l.Known)
	}
	if l.Unread > 0 {
		text += fmt.Sprintf(" The last reconciliation could not look at %s.", many(int64(l.Unread), "repository or tag"))
	}
	if _, err := fmt.Fprintln(w, text); err != nil {
		return err
	}
	for _, r := range l.Reasons {
		if !r.State.Covered() && r.State != report.LedgerGone {
			if _, err := fmt.Fprintf(w, "  %d %s: %s\n", r.Count, line(string(r.State)), line(r.Reason)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *coverageCmd) repositories(ctx context.Context, asked *client, most int, out *output) error {
	found, err := list[report.RepositoryCoverage](ctx, asked, "/coverage/repositories", given("registry", c.Registry, "uncovered", "true"), most, out.Stderr)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return writeRaw(out.Stdout, found.raw...)
	}
	if len(found.items) == 0 {
		_, err := fmt.Fprintln(out.Stdout, "In every repository that is known, everything has its last word.")
		return err
	}
	t := table{head: []string{"REPOSITORY", "KNOWN", "LAST WORD", "SHARE", "WAITS", "FAILED", "CANCELED", "WHY"}, gives: []int{7}}
	for _, r := range found.items {
		why := ""
		for _, reason := range r.Reasons {
			if !reason.State.Covered() && reason.State != report.LedgerGone {
				why = firstText(why, fmt.Sprintf("%d %s: %s", reason.Count, reason.State, reason.Reason))
			}
		}
		t.add(r.Repository, fmt.Sprint(r.Known), fmt.Sprint(r.Covered), shareText(r.Share), fmt.Sprint(r.States.Queued+r.States.Running),
			fmt.Sprint(r.States.Failed), fmt.Sprint(r.States.Canceled), why)
	}
	if err := t.write(out.Stdout); err != nil {
		return err
	}
	return writeMore(out.Stdout, found.more, len(found.items))
}

func (c *coverageCmd) manifests(ctx context.Context, asked *client, most int, out *output) error {
	parameters := given("repository", c.Repository, "state", c.State)
	if c.State == "" {
		parameters.Set("uncovered", "true")
	}
	found, err := list[report.LedgerItem](ctx, asked, "/coverage/manifests", parameters, most, out.Stderr)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return writeRaw(out.Stdout, found.raw...)
	}
	if len(found.items) == 0 {
		text := "Everything that is known of " + c.Repository + " has its last word."
		if c.State != "" {
			text = "Nothing in " + c.Repository + " is " + c.State + "."
		}
		_, err := fmt.Fprintln(out.Stdout, line(text))
		return err
	}
	t := table{head: []string{"IMAGE", "PLATFORM", "STATE", "REASON", "SINCE", "DETAIL"}, gives: []int{5}}
	for _, i := range found.items {
		what := firstText(i.Tag, shortDigest(string(i.Digest)))
		if len(i.Tags) > 0 {
			what = placeOf("", i.Tags, len(i.Tags), "")[1:]
		}
		t.add(what, i.Platform, string(i.State), i.Reason, i.Since.UTC().Format(time.DateOnly), i.Detail)
	}
	if err := t.write(out.Stdout); err != nil {
		return err
	}
	return writeMore(out.Stdout, found.more, len(found.items))
}

// registriesCmd is tidewaiter registries.
type registriesCmd struct {
	serverFlags
	formFlags
}

// Help is shown by --help.
func (registriesCmd) Help() string {
	return `Lists the registries that a running service knows, with the names that the configuration gives them. With -o json the API's own answer is printed.

    tidewaiter registries`
}

// Run is called by kong.
func (c *registriesCmd) Run(ctx context.Context, out *output) error {
	asked, err := c.client()
	if err != nil {
		return err
	}
	var raw json.RawMessage
	if err := asked.get(ctx, "/registries", nil, &raw); err != nil {
		return err
	}
	var found report.List[report.Registry]
	if err := json.Unmarshal(raw, &found); err != nil || found.Items == nil {
		return errs.New(errs.Malformed, "the answer of %s is no list", asked.base.Host).WithHint(otherServer)
	}
	if c.Output == "json" {
		return writeRaw(out.Stdout, raw)
	}
	if len(found.Items) == 0 {
		_, err := fmt.Fprintln(out.Stdout, "The token sees no repository of any registry yet.")
		return err
	}
	t := table{head: []string{"NAME", "HOST", "REPOSITORIES", "KNOWN SINCE"}}
	for _, r := range found.Items {
		t.add(r.Name, r.Host, fmt.Sprint(r.Repositories), r.CreatedAt.UTC().Format(time.DateOnly))
	}
	return t.write(out.Stdout)
}
