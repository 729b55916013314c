package postgres

import (
	"context"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// ReleaseHeld lets the held build of a database go on, named as Build takes it,
// and returns its checksum. The error is NotFound when there is no such build,
// Conflict when it is not held.
func (s *Store) ReleaseHeld(ctx context.Context, checksum string) (string, error) {
	return s.decide(ctx, checksum, []string{stateHeld}, s.ReleaseBuild)
}

// DiscardWaiting gives up the held build or the candidate of a database, named as
// Build takes it, and returns its checksum. Errors are as those of ReleaseHeld.
func (s *Store) DiscardWaiting(ctx context.Context, checksum string) (string, error) {
	return s.decide(ctx, checksum, []string{stateHeld, stateCandidate}, s.DiscardBuild)
}

func (s *Store) decide(ctx context.Context, checksum string, states []string, act func(context.Context, int64) error) (string, error) {
	const query = `SELECT id FROM vuln_build WHERE checksum = $1 AND state = ANY ($2) ORDER BY id DESC LIMIT 1`
	name, err := s.buildName(ctx, checksum)
	if err != nil {
		return "", err
	}
	var id int64
	err = wrap("find build", s.pool.QueryRow(ctx, query, name, states).Scan(&id))
	if errs.Is(err, errs.NotFound) {
		return "", errs.New(errs.Conflict, "build %s does not wait for anybody's word", name).WithHint("GET /api/v1/vulndb shows the state of each")
	}
	if err != nil {
		return "", err
	}
	return name, act(ctx, id)
}
