package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// Tags lists the live tags of a repository by name, each with its answer.
func (s *Store) Tags(ctx context.Context, access report.Access, ref report.RepositoryRef, p report.Page) (report.Judged[report.Tag], error) {
	const query = `
		SELECT t.name, t.manifest_id, m.digest, m.kind, ` + shownState + `, t.moved_at, t.checked_at
		  FROM tag t JOIN manifest m ON m.id = t.manifest_id
		 WHERE t.repository_id = @repository AND (NOT @after OR t.name > @name)
		 ORDER BY t.name
		 LIMIT @limit`
	var out report.Judged[report.Tag]
	var name string
	after, err := report.DecodeCursor("tags", p.Cursor, &name)
	if err != nil {
		return out, err
	}
	err = s.read(ctx, "list tags", func(at snapshot) error {
		out.Build = at.build
		repo, err := repository(ctx, at, access, ref)
		if err != nil {
			return err
		}
		found, err := rows[tagRow](ctx, at, query, pgx.NamedArgs{"repository": repo.ID, "after": after, "name": name, "limit": p.Size() + 1})
		if err != nil {
			return err
		}
		roots := make([]int64, len(found))
		for i, t := range found {
			roots[i] = t.ManifestID
		}
		images, err := assessRoots(ctx, at, repo.ID, roots)
		if err != nil {
			return err
		}
		out.List = page(found, p.Size(),
			func(t tagRow) report.Tag { return t.report(repo, images[t.ManifestID]) },
			func(t tagRow) string { return report.EncodeCursor("tags", t.Name) })
		return nil
	})
	return out, err
}

type tagRow struct {
	Name       string
	ManifestID int64
	Digest     string
	Kind       string
	State      string
	Reason     string
	Detail     string
	MovedAt    time.Time
	CheckedAt  time.Time
}

func (t tagRow) report(repo repositoryRow, r rootRow) report.Tag {
	i := report.Image{Kind: image.Kind(t.Kind), State: report.State(t.State), Reason: t.Reason, Platforms: r.platforms()}
	i.Summarise(r.union)
	out := report.Tag{
		Name: t.Name, Reference: repo.fullName() + ":" + t.Name, Digest: image.Digest(t.Digest), Kind: i.Kind,
		MovedAt: t.MovedAt.UTC(), CheckedAt: t.CheckedAt.UTC(), State: i.State, Reason: i.Reason,
		Assessment: i.Assessment, Platforms: []string{},
	}
	for _, p := range i.Platforms {
		if p.Counted() && p.Platform != "" {
			out.Platforms = append(out.Platforms, p.Platform)
		}
	}
	return out
}
