package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/tidewaiter/tidewaiter/internal/app"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
)

// collectCmd is tidewaiter collect.
type collectCmd struct {
	configFile
	DatabaseURL string `name:"database-url" setting:"yes" placeholder:"URL" help:"Postgres, as postgres://user@host:5432/tidewaiter. A flag can be seen in the list of processes, so prefer the variable for one with a password."`
	DryRun      bool   `help:"Tell what would go, and delete nothing."`
	Output      string `short:"o" enum:"table,json" default:"table" help:"Form of the answer: table or json."`
}

// Help is shown by --help.
func (collectCmd) Help() string {
	return `Deletes what is over for longer than the section retention of the configuration says: images that no tag leads to with what only they had, history, events, deliveries, ended scans. The service does the same by itself every retention.interval; this does it now, beside running services, which go on. It needs the service's own configuration file: without one, the defaults hold. It works in small steps: cut off, it goes on where it was.

    tidewaiter collect --config tidewaiter.yaml --dry-run

Bytes are what the rows took in their tables. Postgres uses the room for new rows; it gives it back to the disk only with VACUUM FULL.`
}

// Run is called by kong.
func (c *collectCmd) Run(ctx context.Context, out *output) error {
	loaded, err := c.load(map[string]string{"TIDEWAITER_DATABASE_URL": c.DatabaseURL})
	if err != nil {
		return err
	}
	if _, err := os.Stat(c.path()); err != nil {
		_, _ = fmt.Fprintf(out.Stderr, "there is no %s: the defaults of retention hold; name a file with --config\n", c.path())
	}
	// One connection holds the lock, one works.
	store, err := postgres.Open(ctx, strings.TrimSpace(loaded.Database.URL.Reveal()), postgres.Options{MaxConns: 2})
	if err != nil {
		return databaseError(err)
	}
	defer store.Close()
	steps := newProgress(out.Stderr, false)
	steps.start("collecting")
	sum := postgres.Figures{}
	done, err := store.Collect(ctx, app.Retention(loaded), postgres.CollectOptions{DryRun: c.DryRun, Observe: func(gone postgres.Figures) {
		sum.Add(gone)
		steps.update(fmt.Sprintf("%d rows", sum.Sum().Rows))
	}})
	steps.done()
	if err != nil {
		return databaseError(err)
	}
	if !c.DryRun {
		change := onCommandLine()
		change.Action, change.Detail = "collection.run", map[string]any{"rows": done.Figures.Sum().Rows}
		if err := store.SaveChange(ctx, change); err != nil {
			return err
		}
	}
	if c.Output == "json" {
		return writeCollectedJSON(out.Stdout, done, c.DryRun)
	}
	return writeCollected(out.Stdout, done, c.DryRun)
}

// writeCollected prints what went, or would go, of each table.
func writeCollected(w io.Writer, done postgres.Collected, dry bool) error {
	if len(done.Figures) == 0 {
		_, err := fmt.Fprintln(w, "nothing is over for long enough")
		return err
	}
	head := "TABLE\tROWS\tSIZE"
	if dry {
		head = "TABLE\tROWS THAT WOULD GO\tSIZE"
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, head)
	for _, table := range slices.Sorted(maps.Keys(done.Figures)) {
		f := done.Figures[table]
		_, _ = fmt.Fprintf(t, "%s\t%d\t%s\n", table, f.Rows, megabytes(f.Bytes))
	}
	sum := done.Figures.Sum()
	_, _ = fmt.Fprintf(t, "all\t%d\t%s\n", sum.Rows, megabytes(sum.Bytes))
	if err := t.Flush(); err != nil {
		return err
	}
	for _, table := range done.Skipped {
		if _, err := fmt.Fprintf(w, "%s: others were at it all the time; left for the next collection\n", table); err != nil {
			return err
		}
	}
	return nil
}

// collectedAnswer is the JSON form of what went.
type collectedAnswer struct {
	DryRun  bool             `json:"dry_run"`
	Resumed bool             `json:"resumed"`
	Tables  postgres.Figures `json:"tables"`
	Total   postgres.Figure  `json:"total"`
	Skipped []string         `json:"skipped"`
}

func writeCollectedJSON(w io.Writer, done postgres.Collected, dry bool) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(collectedAnswer{DryRun: dry, Resumed: done.Resumed, Tables: done.Figures, Total: done.Figures.Sum(),
		Skipped: append([]string{}, done.Skipped...)})
}
