package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/tidewaiter/tidewaiter/internal/report"
)

// reposCmd is tidewaiter repos.
type reposCmd struct {
	serverFlags
	pageFlags
	formFlags
	Prefix   string `arg:"" optional:"" help:"Only repositories that begin so, as host/team/."`
	Registry string `placeholder:"NAME" help:"Only the registry of that name in the configuration."`
	Sort     string `enum:"worst,name" default:"worst" help:"Order of the table: worst reads all repositories and shows the worst first; name is the order of the API."`
}

// Help is shown by --help.
func (reposCmd) Help() string {
	return `Lists the repositories of a running service with what their live tags have: distinct vulnerabilities by package. ANSWER is clean or findings only where everything could be judged; NOTES says what the counts leave out. ` + jsonHelp + `

    export TIDEWAITER_SERVER=https://tidewaiter.example TIDEWAITER_TOKEN=tw_...

    tidewaiter repos
    tidewaiter repos registry.example/team/ --limit 10

Exit codes: 0 when the service answered; 1 when it could not be asked; 64 when the command line cannot be understood.`
}

// Run is called by kong.
func (c *reposCmd) Run(ctx context.Context, out *output) error {
	asked, err := c.client()
	if err != nil {
		return err
	}
	most, err := c.most("tidewaiter repos")
	if err != nil {
		return err
	}
	worst := c.Output == "table" && c.Sort == "worst"
	wanted := most
	if worst {
		wanted = -1
	}
	found, err := list[report.Repository](ctx, asked, "/repositories", given("registry", c.Registry, "prefix", c.Prefix), wanted, out.Stderr)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return writeRaw(out.Stdout, found.raw...)
	}
	if worst {
		slices.SortStableFunc(found.items, worseRepository)
		if most >= 0 && len(found.items) > most {
			found.items, found.more = found.items[:most], true
		}
	}
	var build struct{ Build *report.Build }
	if err := found.head(&build); err != nil {
		return err
	}
	return c.write(out.Stdout, found, build.Build)
}

// worseRepository orders by what has to be looked at first. What was not judged
// comes before what is clean.
func worseRepository(a, b report.Repository) int {
	rank := func(r report.Repository) []int {
		c := r.Counts
		if c == nil {
			c = &report.Counts{}
		}
		unjudged := 0
		if r.Answer != report.Clean && r.Answer != report.Findings {
			unjudged = 1
		}
		return []int{c.KnownExploited, c.Critical, c.High, c.Medium, c.Total, unjudged}
	}
	return cmp.Or(slices.Compare(rank(b), rank(a)), cmp.Compare(a.Repository, b.Repository))
}

func (c *reposCmd) write(w io.Writer, found listed[report.Repository], build *report.Build) error {
	if len(found.items) == 0 {
		return c.writeNone(w)
	}
	t := table{head: append(append([]string{"REPOSITORY", "TAGS", "ANSWER"}, countHead...), "LAST PUSH", "NOTES"), gives: []int{11}}
	for _, r := range found.items {
		cells := append([]string{r.Repository, fmt.Sprint(r.Tags), string(r.Answer)}, countCells(r.Counts)...)
		t.add(append(cells, dayText(r.LastPushAt), repositoryNotes(r))...)
	}
	if err := t.write(w); err != nil {
		return err
	}
	if err := endTable(w, found.more, len(found.items)); err != nil {
		return err
	}
	return writeJudgedWith(w, build)
}

func (c *reposCmd) writeNone(w io.Writer) error {
	text := "No repository is known. One appears with its first push: point the registry's webhook at the service (docs/webhooks.md), or compare the registry with `tidewaiter reconcile NAME`."
	if c.Prefix != "" || c.Registry != "" {
		text = "No repository that the token sees is known there; `tidewaiter repos` lists all, `tidewaiter registries` the registries."
	}
	_, err := fmt.Fprintln(w, text)
	return err
}

// repositoryNotes says what the counts of a repository leave out.
func repositoryNotes(r report.Repository) string {
	var failed, pending, waits, stale string
	if r.Images.Failed > 0 {
		failed = fmt.Sprintf("%s without an answer", many(int64(r.Images.Failed), "image"))
	}
	if r.Images.Pending > 0 {
		pending = fmt.Sprintf("%s on the way", many(int64(r.Images.Pending), "image"))
	}
	if r.Scans.Failed > 0 {
		waits = fmt.Sprintf("%s failed", many(int64(r.Scans.Failed), "scan"))
	}
	if r.Stale {
		stale = "counts are of the database before"
	}
	return missing(r.Assessment, failed, pending, waits, stale)
}
