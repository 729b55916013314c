package vulndb

import (
	"bytes"
	"database/sql"
	"fmt"
	"path/filepath"
	"time"

	"github.com/anchore/grype/grype/db/data"
	"github.com/anchore/grype/grype/db/provider"
	v6 "github.com/anchore/grype/grype/db/v6"
	build "github.com/anchore/grype/grype/db/v6/build"
	"github.com/anchore/grype/grype/db/v6/build/transformers"
)

// The processors of grype's build library choose themselves by these schema
// addresses; they are never fetched.
const (
	schemaNVD    = "https://tidewaiter.invalid/nvd/schema-1.0.0.json"
	schemaOS     = "https://tidewaiter.invalid/os/schema-1.1.0.json"
	schemaOSV    = "https://tidewaiter.invalid/osv/schema-1.6.1.json"
	schemaGitHub = "https://tidewaiter.invalid/github-security-advisory/schema-1.1.0.json"
	schemaKEV    = "https://tidewaiter.invalid/known-exploited/schema-1.0.0.json"
	schemaEPSS   = "https://tidewaiter.invalid/epss/schema-1.0.0.json"
	schemaEOL    = "https://tidewaiter.invalid/eol/schema-1.0.0.json"
)

// builder writes one database with grype's build library, record by record.
// Grype's own loop stops at the first record it cannot take and says nothing of
// those it skips; this one goes on and reports both.
type builder struct {
	file       string
	writer     data.Writer
	processors []data.Processor
	records    int
}

// newBuilder starts an empty database in dir.
func newBuilder(dir string) (*builder, error) {
	const (
		batch    = 2000
		cacheKiB = 64 << 10
	)
	w, err := build.NewWriter(dir, nil, false, batch, build.WithSQLiteCacheSizeKiB(cacheKiB))
	if err != nil {
		return nil, diskError("vulndb: start a database", err)
	}
	return &builder{
		file:       filepath.Join(dir, v6.VulnerabilityDBFileName),
		writer:     w,
		processors: build.Processors(build.NewConfig()),
	}, nil
}

// add gives one item to the processor of its schema and writes what comes of
// it. A plain error says why this item cannot be used, and others can still be
// added; an *errs.Error ends the build.
func (b *builder) add(state provider.State, schema string, item []byte) error {
	entries, err := b.process(state, schema, item)
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		return fmt.Errorf("grype's build library makes nothing of it")
	}
	for _, e := range entries {
		related, ok := e.Data.(transformers.RelatedEntries)
		if !ok {
			return fmt.Errorf("unexpected entry %T", e.Data)
		}
		if err := checkEntries(&related); err != nil {
			return err
		}
	}
	if err := b.writer.Write(entries...); err != nil {
		return diskError("vulndb: write a record", err)
	}
	b.records++
	return nil
}

// process runs the processor for a schema. Some of grype's transformers index
// into what they take for granted, so a panic counts as an unusable item.
func (b *builder) process(state provider.State, schema string, item []byte) (entries []data.Entry, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("not in the shape its schema promises: %v", r)
		}
	}()
	for _, p := range b.processors {
		if p.IsSupported(schema) {
			return p.Process(bytes.NewReader(item), state)
		}
	}
	return nil, fmt.Errorf("grype v%d has no use for schema %q", v6.ModelVersion, schema)
}

// mark adds a provider without records.
func (b *builder) mark(p v6.Provider) error {
	return diskError("vulndb: write a provider", b.writer.Write(transformers.NewEntries(p)...))
}

// close finishes the database, without indexes, and dates it.
func (b *builder) close(built time.Time) error {
	if err := b.writer.Close(); err != nil {
		return diskError("vulndb: finish the database", err)
	}
	return diskError("vulndb: date the database", setBuilt(b.file, built))
}

// setBuilt dates a database; grype's library knows only the clock.
func setBuilt(file string, built time.Time) error {
	db, err := sql.Open("sqlite", "file:"+file)
	if err != nil {
		return err
	}
	defer db.Close()
	const update = `UPDATE db_metadata SET build_timestamp = ?`
	_, err = db.Exec(update, built.UTC().Truncate(time.Second).Format("2006-01-02 15:04:05-07:00"))
	return err
}
