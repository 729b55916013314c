package main

import (
	"context"
	"fmt"
	"io"

	"github.com/tidewaiter/tidewaiter/internal/app"
	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// exitDifferent is the exit code of verify when something is stored otherwise.
const exitDifferent = 2

// vulndbVerifyCmd is tidewaiter vulndb verify.
type vulndbVerifyCmd struct {
	databaseFlags
	Dir    string `name:"vulndb-dir" setting:"yes" placeholder:"DIR" help:"Directory of vulnerability databases."`
	Most   int    `placeholder:"N" default:"100" help:"Differences to print; all are counted."`
	Output string `short:"o" enum:"table,json" default:"table" help:"Form of the answer: table or json, a line for each difference."`
}

// Help is shown by --help.
func (vulndbVerifyCmd) Help() string {
	return `Judges every distinct package again with the database in force, and compares with what is stored: matches, what packages suppress on others, and ratings. It writes nothing and can run beside the service. The database is taken from the directory, or from Postgres when it is not there.

    tidewaiter vulndb verify --config tidewaiter.yaml

Exit codes: 0 when all is as it should be; 2 when something is not; 1 when it could not be told, as when another database comes into force meanwhile.`
}

// Run is called by kong.
func (c *vulndbVerifyCmd) Run(ctx context.Context, out *output) error {
	store, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	library, err := vulndb.Open(vulndb.Config{Dir: c.dir()})
	if err != nil {
		return err
	}
	steps := newProgress(out.Stderr, false)
	steps.start("judging packages again")
	var printed differences
	checked, err := app.Verify(ctx, store, library, func(d scan.Difference) { printed.add(d, c.Most) }, func(done, total int64) {
		steps.update(fmt.Sprintf("%d of %d, %s", done, total, many(printed.total, "difference")))
	})
	steps.done()
	if err != nil {
		return err
	}
	if err := printed.write(out.Stdout, c.Output, checked); err != nil {
		return err
	}
	if printed.total > 0 {
		return &exitError{code: exitDifferent}
	}
	return nil
}

// dir is the directory of databases: the flag's, else what variable, file and
// default say. A file that cannot be read leaves the default.
func (c *vulndbVerifyCmd) dir() string {
	if c.Dir != "" {
		return c.Dir
	}
	flags := vulndbFlags{configFile: c.configFile}
	if loaded, err := flags.config(); err == nil {
		return loaded.Dir
	}
	return config.Default().VulnDB.Dir
}

// differences are the first of them, and how many there are.
type differences struct {
	first []scan.Difference
	total int64
}

func (x *differences) add(d scan.Difference, most int) {
	x.total++
	if len(x.first) < most {
		x.first = append(x.first, d)
	}
}

// differenceAnswer is the JSON form.
type differenceAnswer struct {
	What      string `json:"what"` // missing, superfluous, other or unjudged
	Of        string `json:"of"`   // match, ignore or rating
	Record    string `json:"record,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Package   string `json:"package,omitempty"`
	Type      string `json:"type,omitempty"`
	Version   string `json:"version,omitempty"`
}

func (x *differences) write(w io.Writer, form string, checked int64) error {
	for _, d := range x.first {
		var err error
		if form == "json" {
			err = writeJSON(w, differenceAnswer{d.What, d.Of, d.Record.ID, d.Record.Namespace, d.Package.Name, d.Package.Type, d.Package.Version})
		} else {
			_, err = fmt.Fprintf(w, "%s %s: %s %s %s\n", line(d.What), line(d.Of), line(d.Record.ID), line(d.Record.Namespace),
				line(d.Package.Type+" "+d.Package.Name+" "+d.Package.Version))
		}
		if err != nil {
			return err
		}
	}
	if form == "json" {
		return nil
	}
	if more := x.total - int64(len(x.first)); more > 0 {
		_, _ = fmt.Fprintf(w, "and %d more\n", more)
	}
	_, err := fmt.Fprintf(w, "%s judged again: %s\n", many(checked, "package"), many(x.total, "difference"))
	return err
}
