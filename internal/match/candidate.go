package match

import (
	"context"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// OpenCandidate opens a session on a database beside the present one, which
// new sessions go on using. The database is closed with the session.
func (e *Engine) OpenCandidate(ctx context.Context, in vulndb.Installed) (scan.Session, error) {
	if err := ctx.Err(); err != nil {
		return nil, errs.Op("match: open candidate", err)
	}
	db, err := openDatabase(in)
	if err != nil {
		return nil, err
	}
	return newSession(db, e.matchers, e.parallel), nil
}
