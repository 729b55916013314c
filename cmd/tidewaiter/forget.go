package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// forgetCmd groups what deletes what is known.
type forgetCmd struct {
	Repository forgetRepositoryCmd `cmd:"" help:"Delete what is known of a repository, after asking."`
	Registry   forgetRegistryCmd   `cmd:"" help:"Delete what is known of a registry with all its repositories, after asking."`
}

// forgetFlags are those of both.
type forgetFlags struct {
	serverFlags
	formFlags
	DryRun bool `help:"Tell what would go, and delete nothing."`
	Yes    bool `help:"Do not ask."`
}

// forgetRepositoryCmd is tidewaiter forget repository.
type forgetRepositoryCmd struct {
	forgetFlags
	Repository string `arg:"" help:"Repository: host/name; uploads are under sboms/."`
}

const forgetExits = `Exit codes: 0 when all of it went, or with --dry-run was counted; 1 when nothing was confirmed, it is not known or the service could not be asked; 64 when the command line cannot be understood.`

// Help is shown by --help.
func (forgetRepositoryCmd) Help() string {
	return `Deletes what a running service knows of a repository: tags with their history, findings, events, daily counts, scans. It tells first what would go, and asks for the name. Scans that are under way end. What other repositories have too stays; what nobody has any more goes with the next collection. The registry is not touched: what it still has comes back with the next push or reconciliation, as if it were new. The token needs the scope admin; the audit log says who did it.

    tidewaiter forget repository registry.example/team/app --dry-run
    tidewaiter forget repository registry.example/team/app

A large repository goes in parts, history first; interrupted, the command goes on when it is given again. With -o json the API's own answer is printed, that to the last part.

` + forgetExits
}

// Run is called by kong.
func (c *forgetRepositoryCmd) Run(ctx context.Context, out *output) error {
	return c.forget(ctx, out, c.Repository, "/repositories", url.Values{"repository": {c.Repository}})
}

// forgetRegistryCmd is tidewaiter forget registry.
type forgetRegistryCmd struct {
	forgetFlags
	Registry string `arg:"" help:"Registry, by the name that the configuration gives or gave it."`
}

// Help is shown by --help.
func (forgetRegistryCmd) Help() string {
	return `Deletes what a running service knows of a registry: all its repositories, as forget repository does, and, once the configuration of the service does not have it any more, the registry itself with what its endpoint was told. It tells first what would go, and asks for the name. The token needs the scope admin without prefixes.

    tidewaiter forget registry old --dry-run

Take the registry out of the configuration of every process first: otherwise its repositories come back with the next reconciliation.

` + forgetExits
}

// Run is called by kong.
func (c *forgetRegistryCmd) Run(ctx context.Context, out *output) error {
	return c.forget(ctx, out, c.Registry, "/registries/"+url.PathEscape(c.Registry), url.Values{})
}

// forget tells what would go, asks, and has it go part by part.
func (f forgetFlags) forget(ctx context.Context, out *output, name, path string, parameters url.Values) error {
	asked, err := f.client()
	if err != nil {
		return err
	}
	preview := clone(parameters)
	preview.Set("dry_run", "true")
	would, raw, err := askForgotten(ctx, asked, path, preview)
	if err != nil {
		return err
	}
	if f.DryRun {
		if f.Output == "json" {
			return writeRaw(out.Stdout, raw)
		}
		return writeForgotten(out.Stdout, "Would go", would)
	}
	if !f.Yes {
		if err := confirm(out, name, would); err != nil {
			return err
		}
	}
	return f.all(ctx, asked, out, path, parameters)
}

// all asks until nothing is left.
func (f forgetFlags) all(ctx context.Context, asked *client, out *output, path string, parameters url.Values) error {
	steps := newProgress(out.Stderr, false)
	stop := steps.soon("forgetting")
	defer stop()
	var sum report.ForgottenCounts
	for {
		gone, raw, err := askForgotten(ctx, asked, path, parameters)
		if err != nil {
			return err
		}
		sum.Add(gone.Counts)
		if !gone.Done {
			steps.update(fmt.Sprintf("%d repositories, %d findings, %d events, %d scans", sum.Repositories, sum.Findings, sum.Events, sum.Scans))
			continue
		}
		stop()
		if f.Output == "json" {
			return writeRaw(out.Stdout, raw)
		}
		gone.Counts = sum
		if !f.Yes {
			gone.Note = "" // it was told before
		}
		return writeForgotten(out.Stdout, "Gone", gone)
	}
}

func askForgotten(ctx context.Context, asked *client, path string, parameters url.Values) (f report.Forgotten, raw json.RawMessage, err error) {
	if err := asked.do(ctx, "DELETE", path, parameters, nil, &raw); err != nil {
		return f, raw, err
	}
	if err := json.Unmarshal(raw, &f); err != nil || f.Registry == "" || f.DryRun != (parameters.Get("dry_run") == "true") {
		return f, raw, errs.New(errs.Malformed, "the answer of %s does not say what was forgotten", asked.base.Host).WithHint(otherServer)
	}
	return f, raw, nil
}

// confirm asks for the name on a terminal, and refuses where nobody can answer.
func confirm(out *output, name string, would report.Forgotten) error {
	if err := writeForgotten(out.Stderr, "Would go", would); err != nil {
		return err
	}
	if !isTerminal(out.Stdin) {
		return errs.New(errs.Invalid, "nothing was deleted: nobody can be asked here").WithHint("say --yes where no one types the name")
	}
	if _, err := fmt.Fprintf(out.Stderr, "Type %s to have it deleted: ", line(name)); err != nil {
		return err
	}
	typed, err := bufio.NewReader(out.Stdin).ReadString('\n')
	if err != nil && typed == "" || strings.TrimSpace(typed) != name {
		return errs.New(errs.Canceled, "nothing was deleted: that was not the name")
	}
	return nil
}

// isTerminal reports whether somebody types there.
func isTerminal(r io.Reader) bool {
	file, ok := r.(*os.File)
	if !ok {
		return r != nil // a test types
	}
	return term.IsTerminal(int(file.Fd()))
}

func writeForgotten(w io.Writer, went string, f report.Forgotten) error {
	c := f.Counts
	const repository = "repository"
	var b strings.Builder
	fmt.Fprintf(&b, "%s with %s:\n", went, line(firstText(f.Repository, "registry "+f.Registry)))
	for _, row := range []struct {
		n    int64
		what string
	}{
		{c.Repositories, repository}, {c.Tags, "tag"}, {c.Manifests, "manifest"}, {c.Findings, "finding"}, {c.Events, "event"},
		{c.Moves, "move of a tag"}, {c.Scans, "scan"},
	} {
		text := many(row.n, row.what)
		switch {
		case row.what == repository && f.Repository != "":
			continue
		case row.what == "move of a tag" && row.n != 1:
			text = fmt.Sprintf("%d moves of tags", row.n)
		case row.what == "manifest" && c.Shared > 0:
			text += fmt.Sprintf(", of which other repositories have %d too: those stay there", c.Shared)
		case row.what == "scan" && c.Canceled > 0:
			text += fmt.Sprintf(", of which %d under way", c.Canceled)
		}
		fmt.Fprintf(&b, "  %s\n", text)
	}
	if c.Deliveries > 0 && (f.Repository != "" || f.Configured) {
		fmt.Fprintf(&b, "  the names in %s\n", many(c.Deliveries, "delivery"))
	} else if c.Deliveries > 0 {
		fmt.Fprintf(&b, "  %s\n", many(c.Deliveries, "delivery"))
	}
	if f.Note != "" {
		fmt.Fprintf(&b, "note: %s\n", line(f.Note))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
