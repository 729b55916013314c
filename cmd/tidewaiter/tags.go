package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/report"
)

// tagsCmd is tidewaiter tags.
type tagsCmd struct {
	serverFlags
	pageFlags
	formFlags
	Repository string `arg:"" help:"Repository: host/name; uploads are under sboms/."`
}

// Help is shown by --help.
func (tagsCmd) Help() string {
	return `Lists the live tags of a repository with what each has. ANSWER is clean or findings only where everything could be judged; NOTES says what the counts leave out, and why there are none. ` + jsonHelp + `

    tidewaiter tags registry.example/team/app --server https://tidewaiter.example

Exit codes: 0 when the service knows the repository; 1 when it does not or could not be asked; 64 when the command line cannot be understood.`
}

// Run is called by kong.
func (c *tagsCmd) Run(ctx context.Context, out *output) error {
	asked, err := c.client()
	if err != nil {
		return err
	}
	most, err := c.most("tidewaiter tags")
	if err != nil {
		return err
	}
	found, err := list[report.Tag](ctx, asked, "/tags", given("repository", c.Repository), most, out.Stderr)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return writeRaw(out.Stdout, found.raw...)
	}
	var build struct{ Build *report.Build }
	if err := found.head(&build); err != nil {
		return err
	}
	return c.write(out.Stdout, found, build.Build)
}

func (c *tagsCmd) write(w io.Writer, found listed[report.Tag], build *report.Build) error {
	if len(found.items) == 0 {
		_, err := fmt.Fprintf(w, "%s has no live tags: they were deleted, or none was scanned yet. `tidewaiter scans --repository %s` shows what is on the way.\n",
			line(c.Repository), line(c.Repository))
		return err
	}
	t := table{head: append(append([]string{"TAG", "ANSWER"}, countHead...), "PLATFORMS", "MOVED", "NOTES"), gives: []int{9, 11}}
	for _, tag := range found.items {
		cells := append([]string{tag.Name, string(tag.Answer)}, countCells(tag.Counts)...)
		t.add(append(cells, strings.Join(tag.Platforms, " "), dayText(&tag.MovedAt), missing(tag.Assessment, reasoned(tag.State, tag.Reason)))...)
	}
	if err := t.write(w); err != nil {
		return err
	}
	if err := endTable(w, found.more, len(found.items)); err != nil {
		return err
	}
	return writeJudgedWith(w, build)
}
