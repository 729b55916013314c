package postgres

import (
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// SaveFindings compares what the live tags of the job's repository have now
// with what the repository had before, and records the difference as events.
// When neither the tags' contents nor the active build changed, it writes
// nothing.
func (s *Store) SaveFindings(ctx context.Context, job scan.Job) error {
	return s.inScan(ctx, "save findings", func(tx pgx.Tx) error {
		cause := "push"
		if job.Cause == scan.CauseDelete {
			cause = "delete"
		}
		return s.compareRepository(ctx, tx, job.Repository, cause, &job.ID)
	})
}

// compareRepository is the one place where a repository's findings open, close,
// escalate, get a fix or come back. A tag whose new image has no answer yet keeps
// what it had (standing_tag), unless a rule leaves the new one out. scanID is nil when a database build is the
// cause. Of a repository that was forgotten nothing is compared.
func (s *Store) compareRepository(ctx context.Context, tx pgx.Tx, repositoryID int64, cause string, scanID *int64) error {
	const lock = `SELECT pg_advisory_xact_lock(hashtextextended('tidewaiter/repository', $1))`
	const active = `SELECT id, COALESCE(counted_since, id) FROM vuln_build WHERE state = 'active'`
	const answered = `
		UPDATE tag t SET answered_id = t.manifest_id FROM manifest m
		 WHERE t.repository_id = $1 AND m.id = t.manifest_id
		   AND (m.state IN ('done', 'unsupported')
		     OR EXISTS (SELECT 1 FROM repository_manifest rm
		                 WHERE rm.repository_id = t.repository_id AND rm.manifest_id = m.id AND rm.presence = 'excluded'))
		   AND t.answered_id IS DISTINCT FROM t.manifest_id`
	// Held shared, so that no switch passes between reading the active build and
	// remembering what was compared under it.
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock_shared(`+lockKey("build")+`)`); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, lock, repositoryID); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, answered, repositoryID); err != nil {
		return err
	}
	c := comparison{repository: repositoryID, cause: cause, scan: scanID, likely: s.likely}
	if err := tx.QueryRow(ctx, active).Scan(&c.build, &c.since); err != nil {
		if errors.Is(err, pgx.ErrNoRows) {
			return nil // nothing was ever judged
		}
		return err
	}
	return c.run(ctx, tx)
}

// run moves the findings when the inventories behind the repository's live tags,
// or the build, are others than at the last comparison. Under the same build
// only what came and went is looked at.
func (c comparison) run(ctx context.Context, tx pgx.Tx) error {
	const query = `
		SELECT r.compared, ARRAY(SELECT i FROM repository_inventories(r.id) i ORDER BY i),
		       ARRAY(SELECT k.inventory_id FROM repository_inventory k WHERE k.repository_id = r.id ORDER BY k.inventory_id)
		  FROM repository r WHERE r.id = $1`
	var before string
	var live, known []int64
	err := tx.QueryRow(ctx, query, c.repository).Scan(&before, &live, &known)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil // it was forgotten
	}
	if err != nil {
		return err
	}
	if _, inventories, ok := strings.Cut(before, "/"); ok && comparedUnder(before) >= c.since {
		before = strconv.FormatInt(c.build, 10) + "/" + inventories // builds since moved what it has with their switch
	}
	state := stateOf(c.build, live)
	came, went := difference(live, known), difference(known, live)
	if before == state {
		if len(came)+len(went) == 0 {
			return nil
		}
		// The findings are right; the version before kept no list of what they are of.
		return c.remember(ctx, tx, state, came, went)
	}
	if before == stateOf(c.build, known) || before == "" && len(known) == 0 {
		err = applyChange(ctx, tx, c, live, came, went)
	} else if _, err = tx.Exec(ctx, freePlanner); err == nil {
		err = applyAll(ctx, tx, c, live)
	}
	if err != nil {
		return err
	}
	return c.remember(ctx, tx, state, came, went)
}

// remember keeps what was compared.
func (c comparison) remember(ctx context.Context, tx pgx.Tx, state string, came, went []int64) error {
	const remember = `UPDATE repository SET compared = $2 WHERE id = $1`
	const add = `INSERT INTO repository_inventory (repository_id, inventory_id) SELECT $1, unnest($2::bigint[])`
	const drop = `DELETE FROM repository_inventory WHERE repository_id = $1 AND inventory_id = ANY ($2)`
	if _, err := tx.Exec(ctx, remember, c.repository, state); err != nil {
		return err
	}
	if len(came) > 0 {
		if _, err := tx.Exec(ctx, add, c.repository, came); err != nil {
			return err
		}
	}
	if len(went) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, drop, c.repository, went)
	return err
}

// stateOf names a build and inventories, which ascend; it is what
// repository.compared holds, which the version before writes, too.
func stateOf(build int64, inventories []int64) string {
	if len(inventories) == 0 {
		return fmt.Sprintf("%d/", build)
	}
	var list []byte
	for i, id := range inventories {
		if i > 0 {
			list = append(list, ',')
		}
		list = strconv.AppendInt(list, id, 10)
	}
	return fmt.Sprintf("%d/%x", build, md5.Sum(list)) // tells states apart, protects nothing
}

// comparedUnder is the build that was active when a repository was last compared by
// itself; zero when it never was.
func comparedUnder(compared string) int64 {
	under, _, _ := strings.Cut(compared, "/")
	build, _ := strconv.ParseInt(under, 10, 64)
	return build
}

// difference lists what is in a and not in b; both ascend.
func difference(a, b []int64) []int64 {
	out := []int64{}
	for _, id := range a {
		if _, in := slices.BinarySearch(b, id); !in {
			out = append(out, id)
		}
	}
	return out
}
