package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// TagsOf returns the tags of the job's repository that point to each of the
// manifests, or to an index that lists it.
func (s *Store) TagsOf(ctx context.Context, job scan.Job, digests []image.Digest) (map[image.Digest][]string, error) {
	const query = `
		WITH asked AS (SELECT id, digest FROM manifest WHERE digest = ANY (@digests))
		SELECT a.digest, t.name
		  FROM asked a JOIN tag t ON t.repository_id = @repository AND t.manifest_id = a.id
		UNION
		SELECT a.digest, t.name
		  FROM asked a JOIN manifest_child c ON c.child_id = a.id
		  JOIN tag t ON t.repository_id = @repository AND t.manifest_id = c.parent_id`
	out := map[image.Digest][]string{}
	found, err := s.pool.Query(ctx, query, pgx.NamedArgs{"repository": job.Repository, "digests": digestTexts(digests)})
	if err != nil {
		return nil, wrap("list tags of manifests", err)
	}
	var digest, tag string
	_, err = pgx.ForEachRow(found, []any{&digest, &tag}, func() error {
		out[image.Digest(digest)] = append(out[image.Digest(digest)], tag)
		return nil
	})
	return out, wrap("list tags of manifests", err)
}

func digestTexts(digests []image.Digest) []string {
	out := make([]string, len(digests))
	for i, d := range digests {
		out[i] = string(d)
	}
	return out
}
