package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
)

// vulndbStatusCmd is tidewaiter vulndb status.
type vulndbStatusCmd struct {
	vulndbFlags
	Output string `short:"o" enum:"table,json" default:"table" help:"Form of the answer: table or json."`
}

// Help is shown by --help.
func (vulndbStatusCmd) Help() string {
	return `Tells what is installed in the directory; which build a running service judges with is told by GET /api/v1/vulndb. The exit code is 1 when there is no database.

    tidewaiter vulndb status -o json`
}

// buildAnswer is the JSON form of an installed build.
type buildAnswer struct {
	vulndb.Installed
	Dir     string `json:"dir"`
	Current bool   `json:"current"`
	AgeSecs int64  `json:"age_seconds"`
}

func answerOf(in vulndb.Installed, current bool, now time.Time) buildAnswer {
	return buildAnswer{Installed: in, Dir: in.Dir, Current: current, AgeSecs: int64(now.Sub(in.Built).Seconds())}
}

// Run is called by kong.
func (c *vulndbStatusCmd) Run(out *output) error {
	library, err := c.open()
	if err != nil {
		return err
	}
	in, err := library.Current()
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return writeJSON(out.Stdout, answerOf(in, true, time.Now()))
	}
	return writeStatus(out.Stdout, library, in, time.Now())
}

func writeStatus(w io.Writer, library *vulndb.Library, in vulndb.Installed, now time.Time) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, value string) { _, _ = fmt.Fprintf(table, "%s:\t%s\n", name, value) }
	row("build", in.Checksum)
	row("built", fmt.Sprintf("%s, %s ago", timeText(in.Built), ageText(now.Sub(in.Built))))
	row("schema", in.SchemaVersion)
	row("source", in.Source)
	if in.Sample {
		row("sample", "yes: a few well-known vulnerabilities, for trying out only; run tidewaiter vulndb update")
	}
	row("installed", timeText(in.InstalledAt))
	row("directory", in.Dir)
	row("size", megabytes(in.Bytes))
	row("updates from", library.Source())
	return table.Flush()
}

// ageText tells a duration in the unit people count in.
func ageText(d time.Duration) string {
	switch {
	case d < 0:
		return "less than an hour"
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", int(d.Hours()))
	}
	return "less than two hours"
}

// vulndbListCmd is tidewaiter vulndb list.
type vulndbListCmd struct {
	vulndbFlags
	Output string `short:"o" enum:"table,json" default:"table" help:"Form of the answer: table or json."`
}

// Run is called by kong.
func (c *vulndbListCmd) Run(out *output) error {
	library, err := c.open()
	if err != nil {
		return err
	}
	builds, err := library.List()
	if err != nil {
		return err
	}
	current, err := library.Current()
	if err != nil && !errs.Is(err, errs.NotFound) {
		return err
	}
	answers := make([]buildAnswer, 0, len(builds))
	for _, in := range builds {
		answers = append(answers, answerOf(in, in.Checksum == current.Checksum, time.Now()))
	}
	if c.Output == "json" {
		return writeJSON(out.Stdout, answers)
	}
	return writeBuilds(out.Stdout, answers)
}

func writeBuilds(w io.Writer, builds []buildAnswer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "BUILD\tBUILT\tSCHEMA\tSIZE\tINSTALLED\tSTATE")
	for _, b := range builds {
		state := ""
		if b.Current {
			state = "in use"
		}
		if b.Sample {
			state += " (sample)"
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n",
			b.Checksum, timeText(b.Built), b.SchemaVersion, megabytes(b.Bytes), timeText(b.InstalledAt), state)
	}
	return table.Flush()
}

func writeJSON(w io.Writer, answer any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(answer)
}
