package match

import (
	"sync"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/anchore/grype/grype/vulnerability"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// database is an open vulnerability database, closed when nobody holds it.
type database struct {
	installed vulndb.Installed
	build     vuln.Build
	reader    v6.Reader
	provider  vulnerability.Provider
	coverage  coverage
	few       string // what to say of a database with few records

	mu      sync.Mutex
	holders int
}

func openDatabase(in vulndb.Installed) (*database, error) {
	plain, err := v6.NewReader(v6.Config{DBDirPath: in.Dir})
	if err != nil {
		return nil, (&errs.Error{Kind: errs.Malformed, Op: "match: open vulnerability database", Err: err}).
			WithHint("run `tidewaiter vulndb update`, or import the database again")
	}
	// Grype notes the date of EPSS at the first look-up, without a lock. Done
	// here, before the reader is shared, it is not done again. A database without
	// EPSS answers with an error, which means nothing here.
	_, _ = plain.GetEpss("")
	reader := &reader{Reader: plain}
	if err := rememberSmallTables(reader.GetDB()); err != nil {
		_ = plain.Close()
		return nil, errs.Wrap(errs.Internal, "match: prepare vulnerability database", err)
	}
	few, err := fewOf(reader)
	if err != nil {
		_ = plain.Close()
		return nil, err
	}
	return &database{
		installed: in,
		build:     BuildOf(in),
		reader:    reader,
		provider:  v6.NewVulnerabilityProvider(reader),
		coverage:  coverage{reader: reader},
		few:       few,
		holders:   1,
	}, nil
}

// BuildOf names an installed database as this engine judges with it.
func BuildOf(in vulndb.Installed) vuln.Build {
	return vuln.Build{
		Checksum: in.Checksum, SchemaVersion: in.SchemaVersion, Built: in.Built.UTC(),
		Source: in.Source, Sample: in.Sample,
		Engine: engineName, EngineVersion: engineVersion, Config: configName(),
	}
}

func (d *database) retain() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.holders++
}

// release gives up one hold and closes the database with the last.
func (d *database) release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.holders--
	if d.holders == 0 {
		// It is read-only: nothing can be lost by a close that fails.
		_ = d.provider.Close()
	}
}
