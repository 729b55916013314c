package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/report"
)

// Registries lists the registries; for a limited reader those in which it sees
// a repository.
func (s *Store) Registries(ctx context.Context, access report.Access) ([]report.Registry, error) {
	const query = `
		SELECT g.name, g.host, g.created_at, count(r.id) FILTER (WHERE ` + visible + `) AS repositories
		  FROM registry g LEFT JOIN repository r ON r.registry_id = g.id
		 GROUP BY g.id
		HAVING cardinality(@prefixes::text[]) = 0 OR count(r.id) FILTER (WHERE ` + visible + `) > 0
		 ORDER BY g.name`
	type row struct {
		Name         string
		Host         string
		CreatedAt    time.Time
		Repositories int
	}
	out := []report.Registry{}
	err := s.read(ctx, "list registries", func(at snapshot) error {
		found, err := rows[row](ctx, at, query, pgx.NamedArgs{"prefixes": prefixes(access)})
		for _, r := range found {
			out = append(out, report.Registry{Name: r.Name, Host: r.Host, Repositories: r.Repositories, CreatedAt: r.CreatedAt.UTC()})
		}
		return err
	})
	return out, err
}
