package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
)

// vulndbCmd groups what concerns the vulnerability database.
type vulndbCmd struct {
	Update vulndbUpdateCmd `cmd:"" help:"Fetch the newest database, if there is a newer one."`
	Import vulndbImportCmd `cmd:"" help:"Install a database from a file, where there is no internet."`
	Status vulndbStatusCmd `cmd:"" help:"Tell which database is in use and how old it is."`
	List   vulndbListCmd   `cmd:"" help:"List the installed databases."`
	Build  vulndbBuildCmd  `cmd:"" help:"Build a database from advisory files."`
	Prune  vulndbPruneCmd  `cmd:"" help:"Delete old databases."`

	Check   vulndbCheckCmd   `cmd:"" help:"Have a running service look for a newer database now."`
	Diff    vulndbDiffCmd    `cmd:"" help:"Show what a database of a running service changes."`
	Release vulndbReleaseCmd `cmd:"" help:"Let a database that is held go into force."`
	Discard vulndbDiscardCmd `cmd:"" help:"Give up a database that is held."`
	Verify  vulndbVerifyCmd  `cmd:"" help:"Judge everything again and compare with what is stored."`
}

// vulndbFlags name the library of databases.
type vulndbFlags struct {
	configFile
	Dir    string `name:"vulndb-dir" setting:"yes" placeholder:"DIR" help:"Directory of vulnerability databases."`
	URL    string `name:"vulndb-url" placeholder:"URL" env:"TIDEWAITER_VULNDB_URL" help:"Mirror of grype's databases, or the address of its latest.json; without one, grype's own. User and password in it are sent as basic authentication."`
	CAFile string `name:"vulndb-ca-file" placeholder:"FILE" help:"PEM file of certificate authorities to trust besides the system's."`
}

// config puts flags, environment and the configuration file together. The file
// counts so that these commands work on the library the service uses; Postgres
// is not needed for it.
func (f vulndbFlags) config() (vulndb.Config, error) {
	flags := map[string]string{}
	if f.Dir != "" {
		flags["TIDEWAITER_VULNDB_DIR"] = "vulndb-dir"
	}
	if f.URL != "" && f.URL != os.Getenv("TIDEWAITER_VULNDB_URL") { // the parser reads the variable, too
		flags["TIDEWAITER_VULNDB_URL"] = "vulndb-url"
	}
	loaded, err := config.Load(f.path(), func(name string) (string, bool) {
		switch value, ok := os.LookupEnv(name); {
		case name == "TIDEWAITER_VULNDB_DIR" && f.Dir != "":
			return f.Dir, true
		case name == "TIDEWAITER_VULNDB_URL" && f.URL != "":
			return f.URL, true
		case name == "TIDEWAITER_DATABASE_URL" && value == "":
			return "postgres://unused/unused", true
		default:
			return value, ok
		}
	}, config.WithFlags(flags))
	if err != nil {
		return vulndb.Config{}, err
	}
	c := vulndb.Config{Dir: loaded.VulnDB.Dir, URL: loaded.VulnDB.URL.Reveal(), CAFile: f.CAFile}
	for _, file := range []string{loaded.VulnDB.CAFile, loaded.CAFile} {
		if c.CAFile == "" {
			c.CAFile = file
		}
	}
	return c, nil
}

// open opens the library.
func (f vulndbFlags) open() (*vulndb.Library, error) {
	c, err := f.config()
	if err != nil {
		return nil, err
	}
	return vulndb.Open(c)
}

// vulndbUpdateCmd is tidewaiter vulndb update.
type vulndbUpdateCmd struct {
	vulndbFlags
}

// Help is shown by --help.
func (vulndbUpdateCmd) Help() string {
	return `Reads latest.json of the distribution, downloads the archive it names when that is newer than what is installed, checks it and adds the indexes. The service does the same by itself unless vulndb.auto_update is false. An interrupted download is continued the next time; a failed update leaves everything as it was.

    tidewaiter vulndb update

    tidewaiter vulndb update --vulndb-url https://mirror.example/grype/databases

HTTPS_PROXY, HTTP_PROXY and NO_PROXY are honoured. Where neither the internet nor a mirror can be reached, fetch the archive elsewhere and use tidewaiter vulndb import.`
}

// Run is called by kong.
func (c *vulndbUpdateCmd) Run(ctx context.Context, out *output) error {
	library, err := c.open()
	if err != nil {
		return err
	}
	steps := newProgress(out.Stderr, false)
	in, changed, err := library.Update(ctx, stages(steps))
	steps.done()
	if err != nil {
		return err
	}
	if !changed {
		return writeBuild(out.Stdout, "already up to date: ", in)
	}
	return writeBuild(out.Stdout, "installed ", in)
}

// vulndbImportCmd is tidewaiter vulndb import.
type vulndbImportCmd struct {
	vulndbFlags
	File string `arg:"" help:"Archive (.tar.zst, .tar.gz, .tar.xz), vulnerability.db, or a directory with one or with a latest.json."`
}

// Help is shown by --help.
func (vulndbImportCmd) Help() string {
	return `The file is checked and becomes the database in use, also when it is older than the one there is. A running service notices, judges again what the difference concerns, and puts it in force unless it is older; the database need only be imported where one process of the service runs, the others get it from there.

    tidewaiter vulndb import vulnerability-db_v6.1.10_1795423689.tar.zst

    tidewaiter vulndb import ~/.cache/grype/db/6       # what grype has fetched

On a machine with internet, https://grype.anchore.io/databases/v6/latest.json names the newest archive, which lies beside it.`
}

// Run is called by kong.
func (c *vulndbImportCmd) Run(ctx context.Context, out *output) error {
	library, err := c.open()
	if err != nil {
		return err
	}
	steps := newProgress(out.Stderr, false)
	in, err := library.Import(ctx, c.File, stages(steps))
	steps.done()
	if err != nil {
		return err
	}
	return writeBuild(out.Stdout, "installed ", in)
}

// vulndbPruneCmd is tidewaiter vulndb prune.
type vulndbPruneCmd struct {
	vulndbFlags
	Keep int `default:"2" help:"How many to keep, the one in use among them."`
}

// Help is shown by --help.
func (vulndbPruneCmd) Help() string {
	return `Deletes all databases but the one in use and the newest others. Keep two while a service runs on the directory: it may still judge with the one before.`
}

// Run is called by kong.
func (c *vulndbPruneCmd) Run(ctx context.Context, out *output) error {
	library, err := c.open()
	if err != nil {
		return err
	}
	gone, err := library.Prune(ctx, c.Keep)
	if err != nil {
		return err
	}
	for _, in := range gone {
		if err := writeBuild(out.Stdout, "deleted ", in); err != nil {
			return err
		}
	}
	return nil
}

// writeBuild tells in one line which database it is.
func writeBuild(w io.Writer, intro string, in vulndb.Installed) error {
	note := ""
	if in.Sample {
		note = "; a SAMPLE of a few well-known vulnerabilities, for trying out only"
	}
	_, err := fmt.Fprintf(w, "%s%s, built %s, schema %s, %s%s\n",
		intro, in.Checksum, timeText(in.Built), in.SchemaVersion, megabytes(in.Bytes), note)
	return err
}

func megabytes(bytes int64) string { return fmt.Sprintf("%.1f MB", float64(bytes)/1e6) }

// stages shows on a terminal which step of an operation runs, not oftener than
// an eye can follow.
func stages(steps *progress) vulndb.Progress {
	last, shown := "", time.Time{}
	return func(stage string, done, total int64) {
		if stage != last {
			steps.start(stage)
			last = stage
		}
		if time.Since(shown) < 100*time.Millisecond || done == 0 {
			return
		}
		shown = time.Now()
		if stage == "building" {
			steps.update(fmt.Sprintf("%d of %d files", done, total))
			return
		}
		text := megabytes(done)
		if total > 0 {
			text += " of " + megabytes(total)
		}
		steps.update(text)
	}
}
