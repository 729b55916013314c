package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/reconcile"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// reconciliationColumns selects a reconciliationRow. A run belongs to the
// repository it looks at, one over all to whoever sees the whole registry.
const reconciliationColumns = `
	SELECT c.id, g.name AS registry, g.host, c.repository, c.cause, c.state, c.reason, c.detail, c.position, c.counts, c.takeovers,
	       c.created_at, c.started_at, c.heartbeat_at, c.finished_at
	  FROM reconciliation c
	  JOIN registry g ON g.id = c.registry_id
	  CROSS JOIN LATERAL (SELECT c.repository AS name) r
	 WHERE ` + visible

// Reconciliations lists runs, newest first.
func (s *Store) Reconciliations(ctx context.Context, access report.Access, filter report.ReconciliationFilter, p report.Page) (report.List[report.Reconciliation], error) {
	const query = reconciliationColumns + `
		   AND (@registry = '' OR g.name = @registry) AND (@state = '' OR c.state = @state) AND (NOT @after OR c.id < @id)
		 ORDER BY c.id DESC LIMIT @limit`
	var out report.List[report.Reconciliation]
	var id int64
	after, err := report.DecodeCursor("reconciliations", p.Cursor, &id)
	if err != nil {
		return out, err
	}
	err = s.read(ctx, "list reconciliations", func(at snapshot) error {
		found, err := rows[reconciliationRow](ctx, at, query, pgx.NamedArgs{
			"prefixes": prefixes(access), "registry": filter.Registry, "state": string(filter.State), "after": after, "id": id, "limit": p.Size() + 1,
		})
		out = page(found, p.Size(), reconciliationRow.report,
			func(r reconciliationRow) string { return report.EncodeCursor("reconciliations", r.ID) })
		return err
	})
	return out, err
}

// Reconciliation returns one run with its problems.
func (s *Store) Reconciliation(ctx context.Context, access report.Access, id int64) (report.ReconciliationReport, error) {
	const query = reconciliationColumns + ` AND c.id = @id`
	const problems = `
		SELECT occurred_at, repository, tag, reason, detail FROM reconciliation_problem
		 WHERE reconciliation_id = @id ORDER BY id LIMIT @limit`
	type problemRow struct {
		OccurredAt time.Time
		Repository string
		Tag        string
		Reason     string
		Detail     string
	}
	out := report.ReconciliationReport{Problems: []report.ReconciliationProblem{}}
	err := s.read(ctx, "read reconciliation", func(at snapshot) error {
		found, err := rows[reconciliationRow](ctx, at, query, pgx.NamedArgs{"prefixes": prefixes(access), "id": id})
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return report.NoReconciliation(id)
		}
		out.Reconciliation = found[0].report()
		all, err := rows[problemRow](ctx, at, problems, pgx.NamedArgs{"id": id, "limit": maxProblems})
		for _, p := range all {
			out.Problems = append(out.Problems, report.ReconciliationProblem{
				OccurredAt: p.OccurredAt.UTC(), Repository: found[0].under(p.Repository), Tag: p.Tag, Reason: p.Reason, Detail: p.Detail,
			})
		}
		return err
	})
	return out, err
}

type reconciliationRow struct {
	ID          int64
	Registry    string
	Host        string
	Repository  string
	Cause       string
	State       string
	Reason      string
	Detail      string
	Position    reconcile.Position
	Counts      reconcile.Counts
	Takeovers   int
	CreatedAt   time.Time
	StartedAt   *time.Time
	HeartbeatAt *time.Time
	FinishedAt  *time.Time
}

// under names a repository with the registry's host; none stays none.
func (r reconciliationRow) under(repository string) string {
	if repository == "" {
		return ""
	}
	return r.Host + "/" + repository
}

func (r reconciliationRow) report() report.Reconciliation {
	return report.Reconciliation{
		ID: r.ID, Registry: r.Registry, Repository: r.under(r.Repository), Cause: r.Cause, State: report.RunState(r.State),
		Reason: r.Reason, Detail: r.Detail, LastRepository: r.Position.After, Counts: report.ReconciliationCounts(r.Counts),
		Takeovers: r.Takeovers, CreatedAt: r.CreatedAt.UTC(), StartedAt: utc(r.StartedAt), HeartbeatAt: utc(r.HeartbeatAt), FinishedAt: utc(r.FinishedAt),
	}
}
