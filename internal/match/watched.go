package match

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strings"
	"time"

	"github.com/anchore/grype/grype/distro"
	"github.com/anchore/grype/grype/vulnerability"
	"github.com/glebarez/go-sqlite"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// watched is a provider for one call of a matcher. It remembers failures of the
// database, because matchers swallow errors and a package would look clean, and
// it refuses work once the context has ended.
type watched struct {
	vulnerability.Provider
	// ctx belongs to the call; the interface has no other place for it.
	ctx    context.Context
	failed error
}

var _ vulnerability.EOLChecker = (*watched)(nil)

// FindVulnerabilities searches the database (vulnerability.Provider).
func (w *watched) FindVulnerabilities(criteria ...vulnerability.Criteria) ([]vulnerability.Vulnerability, error) {
	if err := w.ctx.Err(); err != nil {
		w.failed = context.Cause(w.ctx)
		return nil, err
	}
	found, err := w.Provider.FindVulnerabilities(criteria...)
	if databaseFailed(err) {
		w.failed = errs.Wrap(errs.Internal, "match: search the vulnerability database", err)
	}
	return found, err
}

// GetOperatingSystemEOL forwards to the database; matchers look for it behind
// the interface.
func (w *watched) GetOperatingSystemEOL(d *distro.Distro) (eol, eoas *time.Time, err error) {
	return w.Provider.(vulnerability.EOLChecker).GetOperatingSystemEOL(d)
}

// databaseFailed tells a failure to read the database from a search that makes
// no sense for the package.
func databaseFailed(err error) bool {
	var failure *sqlite.Error
	return errors.As(err, &failure) || errors.Is(err, sql.ErrConnDone) || errors.Is(err, driver.ErrBadConn) ||
		err != nil && strings.Contains(err.Error(), "sql: database is closed")
}
