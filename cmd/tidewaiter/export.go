package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// exportCmd is tidewaiter export.
type exportCmd struct {
	serverFlags
	Format        string   `enum:"ndjson,csv" default:"ndjson" help:"ndjson or csv."`
	Output        string   `short:"o" placeholder:"FILE" help:"File to write; standard output when it is not given. The file appears when it is whole."`
	Registry      string   `placeholder:"NAME" help:"Only the registry of that name in the configuration."`
	Repository    string   `placeholder:"HOST/NAME" help:"Only that repository."`
	Prefix        string   `placeholder:"HOST/NAME" help:"Only repositories that begin so."`
	Severity      []string `placeholder:"SEVERITY" help:"Only these severities."`
	MinSeverity   string   `placeholder:"SEVERITY" help:"Only findings at least this severe."`
	Fixable       *bool    `negatable:"" help:"Only findings with a known fix, or with --no-fixable those without."`
	KEV           *bool    `name:"kev" negatable:"" help:"Only what is known to be exploited, or with --no-kev what is not."`
	Package       string   `placeholder:"NAME" help:"Only packages of that name."`
	Vulnerability string   `placeholder:"ID" help:"Only that vulnerability, by any of its names."`
	Ignored       string   `enum:"false,true,only" default:"false" help:"What to do with findings that do not count: false leaves them out, true includes them, only has nothing else."`
}

// Help is shown by --help.
func (exportCmd) Help() string {
	return `Writes the findings of the images behind live tags, all of one moment and one database. docs/api.md lists the columns. NDJSON has a first line with the time and the database and a last one with the totals; in CSV, cells that a spreadsheet would run begin with an apostrophe. Images whose answer leaves something out are rows of their own ("unjudged").

    export TIDEWAITER_SERVER=https://tidewaiter.example TIDEWAITER_TOKEN=tw_...

    tidewaiter export --format csv --min-severity high -o findings.csv
    tidewaiter export --kev | jq -r 'select(.row == "finding") | .repository' | sort | uniq -c

Exit codes: 0 when everything was written; 1 when the service could not be asked or the export was cut off; 64 when the command line cannot be understood.`
}

// Run is called by kong.
func (c *exportCmd) Run(ctx context.Context, out *output) error {
	asked, err := c.client()
	if err != nil {
		return err
	}
	if c.Output == "" {
		return c.write(ctx, asked, out.Stdout)
	}
	part := c.Output + ".part"
	file, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return errs.Wrap(errs.Invalid, "--output", err)
	}
	err = c.write(ctx, asked, file)
	if closed := file.Close(); err == nil && closed != nil {
		err = errs.Wrap(errs.Unavailable, "write "+c.Output, closed)
	}
	if err != nil {
		_ = os.Remove(part) // what is not whole is of no use
		return err
	}
	return errs.Wrap(errs.Unavailable, "write "+c.Output, os.Rename(part, c.Output))
}

func (c *exportCmd) write(ctx context.Context, asked *client, into io.Writer) error {
	last := &tail{}
	if err := asked.stream(ctx, "/export/findings", c.parameters(), io.MultiWriter(into, last)); err != nil {
		return err
	}
	if c.Format == "ndjson" && !last.ends() {
		return errs.New(errs.Malformed, "the answer of %s is no whole export", asked.base.Host).WithHint(otherServer)
	}
	return nil
}

func (c *exportCmd) parameters() url.Values {
	p := url.Values{"format": {c.Format}}
	for name, given := range map[string]string{
		"registry": c.Registry, "repository": c.Repository, "prefix": c.Prefix, "severity": strings.Join(c.Severity, ","),
		"min_severity": c.MinSeverity, "package": c.Package, "vulnerability": c.Vulnerability, "ignored": c.Ignored,
	} {
		if given != "" {
			p.Set(name, given)
		}
	}
	for name, given := range map[string]*bool{"fixable": c.Fixable, "kev": c.KEV} {
		if given != nil {
			p.Set(name, strconv.FormatBool(*given))
		}
	}
	return p
}

// tail keeps the end of what is written.
type tail struct{ last []byte }

// Write never fails.
func (t *tail) Write(p []byte) (int, error) {
	const most = 1 << 10
	t.last = append(t.last, p[max(0, len(p)-most):]...)
	t.last = t.last[max(0, len(t.last)-most):]
	return len(p), nil
}

// ends reports whether the last line says that all has been said.
func (t *tail) ends() bool {
	lines := bytes.Split(bytes.TrimRight(t.last, "\n"), []byte("\n"))
	var foot struct {
		Row report.RowKind `json:"row"`
	}
	return json.Unmarshal(lines[len(lines)-1], &foot) == nil && foot.Row == report.RowEnd
}
