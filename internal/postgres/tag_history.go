package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// TagHistory lists what a tag pointed to, newest first. The digest of the target
// does not count.
func (s *Store) TagHistory(ctx context.Context, access report.Access, target report.Target, p report.Page) (report.List[report.TagEvent], error) {
	const query = `
		SELECT e.id, e.action, COALESCE(m.digest, '') AS digest, e.occurred_at
		  FROM tag_event e LEFT JOIN manifest m ON m.id = e.manifest_id
		 WHERE e.repository_id = @repository AND e.tag = @tag AND (NOT @after OR e.id < @id)
		 ORDER BY e.id DESC
		 LIMIT @limit`
	var out report.List[report.TagEvent]
	var id int64
	after, err := report.DecodeCursor("tag_history", p.Cursor, &id)
	if err != nil {
		return out, err
	}
	err = s.read(ctx, "read tag history", func(at snapshot) error {
		repo, err := repository(ctx, at, access, target.RepositoryRef)
		if err != nil {
			return err
		}
		found, err := rows[tagEventRow](ctx, at, query, pgx.NamedArgs{
			"repository": repo.ID, "tag": target.Tag, "after": after, "id": id, "limit": p.Size() + 1,
		})
		if err == nil && len(found) == 0 && !after {
			return errs.New(errs.NotFound, "tag %.200q was never seen in %.300q", target.Tag, repo.fullName())
		}
		out = page(found, p.Size(), tagEventRow.report, func(r tagEventRow) string { return report.EncodeCursor("tag_history", r.ID) })
		return err
	})
	return out, err
}

type tagEventRow struct {
	ID         int64
	Action     string
	Digest     string
	OccurredAt time.Time
}

func (r tagEventRow) report() report.TagEvent {
	return report.TagEvent{Action: r.Action, Digest: image.Digest(r.Digest), OccurredAt: r.OccurredAt.UTC()}
}
