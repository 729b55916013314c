package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/tidewaiter/tidewaiter/cmd/quickstart/internal/console"
	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// getDatabase brings a vulnerability database into the data directory: grype's
// official one, else the one of an earlier run, else the sample.
func (q *quickstart) getDatabase(ctx context.Context, report func(string)) (string, error) {
	if !q.Sample {
		report("looking for grype's official database")
		_, err := tool(ctx, report, q.program, "vulndb", "update", "--config", q.configFile())
		if err == nil {
			return "grype's official database, up to date", nil
		}
		if ctx.Err() != nil {
			return "", err
		}
		q.note = console.Cut("grype's official database cannot be had: "+reason(err), 160)
	}
	if _, err := os.Stat(filepath.Join(q.vulndbDir(), "current")); err == nil && !q.Sample {
		return "the database of an earlier run", nil
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", errs.Op("look for a database", err)
	}
	return q.buildSample(ctx, report)
}

// buildSample builds a database from the advisory facts of the source tree.
func (q *quickstart) buildSample(ctx context.Context, report func(string)) (string, error) {
	report("building the sample database")
	archive, err := os.MkdirTemp(q.Data, "sample-")
	if err != nil {
		return "", errs.Op("build the sample database", err)
	}
	defer func() { _ = os.RemoveAll(archive) }()
	if _, err := tool(ctx, report, q.program, "vulndb", "build", "--config", q.configFile(), "--sample", "--out", archive); err != nil {
		return "", errs.Op("build the sample database", err)
	}
	if _, err := tool(ctx, report, q.program, "vulndb", "import", "--config", q.configFile(), archive); err != nil {
		return "", errs.Op("import the sample database", err)
	}
	return "SAMPLE database: a few well-known vulnerabilities, for trying out only", nil
}

// reason is the first line of what a tool said, without its own name.
func reason(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return strings.TrimPrefix(strings.TrimPrefix(line, "tidewaiter: "), "vulndb: update from ")
}
