package vulndb

import (
	"database/sql"
	"encoding/binary"
	"io"
	"os"
	"slices"
	"time"

	v6 "github.com/anchore/grype/grype/db/v6"
	_ "github.com/glebarez/go-sqlite" // the driver grype registers as "sqlite"; never add a second one
	"github.com/spf13/afero"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// SampleProvider is the provider that marks a database as a sample. It is a
// row of the database itself, so no way of copying a database loses it.
const SampleProvider = "tidewaiter-sample"

// description is what a database says about itself.
type description struct {
	schema string
	built  time.Time
	sample bool
}

// describe opens the database in dir as grype does and reads its metadata. It
// fails with errs.Malformed for what is no whole SQLite file and with
// errs.Unsupported for a schema grype v6 cannot read.
func describe(dir, file string) (description, error) {
	if err := checkWhole(file); err != nil {
		return description{}, err
	}
	r, err := v6.NewReader(v6.Config{DBDirPath: dir})
	if err != nil {
		return description{}, (&errs.Error{Kind: errs.Unsupported, Op: "vulndb: open the database", Err: err}).
			WithHint("only databases of grype's schema v%d can be used", v6.ModelVersion)
	}
	defer r.Close()
	meta, err := r.GetDBMetadata()
	if err != nil || meta.BuildTimestamp == nil || meta.BuildTimestamp.IsZero() {
		return description{}, errs.New(errs.Malformed, "vulndb: the database does not say when it was built")
	}
	providers, err := r.AllProviders()
	if err != nil {
		return description{}, errs.Wrap(errs.Malformed, "vulndb: read the providers", err)
	}
	return description{
		schema: v6.DescriptionFromMetadata(meta).SchemaVersion.String(),
		built:  meta.BuildTimestamp.UTC(),
		sample: slices.ContainsFunc(providers, func(p v6.Provider) bool { return p.ID == SampleProvider }),
	}, nil
}

// checkWhole reads the header of an SQLite file: its magic, and whether as many
// pages follow as it says. SQLite itself notices a cut only when it reads there.
func checkWhole(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return errs.Wrap(errs.Internal, "vulndb: open the database", err)
	}
	defer f.Close()
	var header [100]byte
	if _, err := io.ReadFull(f, header[:]); err != nil || string(header[:16]) != string(sqliteMagic) {
		return errs.New(errs.Malformed, "vulndb: not an SQLite database")
	}
	info, err := f.Stat()
	if err != nil {
		return errs.Wrap(errs.Internal, "vulndb: open the database", err)
	}
	page := int64(binary.BigEndian.Uint16(header[16:]))
	if page == 1 {
		page = 65536
	}
	if want := page * int64(binary.BigEndian.Uint32(header[28:])); info.Size() < want {
		return errs.New(errs.Malformed, "vulndb: the database file is cut off: %d of %d bytes", info.Size(), want)
	}
	return nil
}

// checkSchema refuses a database with triggers or views. Grype's have none;
// they would run when indexes are added to a file somebody else made.
func checkSchema(file string) error {
	db, err := sql.Open("sqlite", "file:"+file+"?mode=ro&immutable=1")
	if err != nil {
		return errs.Wrap(errs.Malformed, "vulndb: open the database", err)
	}
	defer db.Close()
	var n int
	row := db.QueryRow(`SELECT count(*) FROM sqlite_master WHERE type IN ('trigger', 'view')`)
	if err := row.Scan(&n); err != nil {
		return errs.Wrap(errs.Malformed, "vulndb: read the schema", err)
	}
	if n > 0 {
		return errs.New(errs.Malformed, "vulndb: the database holds %d triggers or views, which no vulnerability database has", n)
	}
	return nil
}

// hydrate adds the indexes grype leaves out of its archives and writes the
// note by which grype's own tools recognise a directory. It cannot be
// interrupted; a large database takes some seconds.
func hydrate(dir, source string) error {
	if err := v6.Hydrater()(dir); err != nil {
		return errs.Wrap(errs.Malformed, "vulndb: add indexes", err)
	}
	if _, err := v6.WriteImportMetadata(afero.NewOsFs(), dir, source); err != nil {
		return diskError("vulndb: write import metadata", err)
	}
	return nil
}
