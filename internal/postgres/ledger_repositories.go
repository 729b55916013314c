package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/report"
)

// RepositoryCoverage lists the ledgers of repositories by host and name.
func (s *Store) RepositoryCoverage(ctx context.Context, access report.Access, filter report.RepositoryCoverageFilter, p report.Page) (report.List[report.RepositoryCoverage], error) {
	const all = `
		SELECT r.id, g.name AS registry, g.host, r.name, r.excluded, r.listed_at
		  FROM registry g JOIN repository r ON r.registry_id = g.id
		 WHERE (@registry = '' OR g.name = @registry)
		   AND starts_with(g.host || '/' || r.name, @prefix)
		   AND (NOT @after OR (g.host, r.name, r.id) > (@host, @name, @id))
		   AND ` + visible
	const uncovered = all + `
		   AND (EXISTS (SELECT 1 FROM ledger_manifest l WHERE l.repository_id = r.id AND l.state IN ('queued', 'running', 'failed', 'canceled'))
		        OR EXISTS (SELECT 1 FROM ledger_target t WHERE t.repository_id = r.id)
		        OR EXISTS (SELECT 1 FROM ` + lastProblems + ` WHERE p.repository = r.name))`
	const order = ` ORDER BY g.host, r.name, r.id LIMIT @limit`
	var out report.List[report.RepositoryCoverage]
	var host, name string
	var id int64
	after, err := report.DecodeCursor("coverage/repositories", p.Cursor, &host, &name, &id)
	if err != nil {
		return out, err
	}
	query := all + order
	if filter.Uncovered {
		query = uncovered + order
	}
	args := pgx.NamedArgs{"registry": filter.Registry, "prefix": filter.Prefix, "prefixes": prefixes(access), "limit": p.Size() + 1,
		"after": after, "host": host, "name": name, "id": id}
	err = s.read(ctx, "list ledgers of repositories", func(at snapshot) error {
		found, err := rows[repositoryLedgerRow](ctx, at, query, args)
		if err != nil {
			return err
		}
		if err := fillRepositories(ctx, at, found); err != nil {
			return err
		}
		out = page(found, p.Size(), repositoryLedgerRow.report,
			func(r repositoryLedgerRow) string {
				return report.EncodeCursor("coverage/repositories", r.Host, r.Name, r.ID)
			})
		return nil
	})
	return out, err
}

type repositoryLedgerRow struct {
	ID       int64
	Registry string
	Host     string
	Name     string
	Excluded string
	ListedAt *time.Time

	manifests, targets []report.LedgerEntry
	oldest             *time.Time
	unread             int
}

// lastProblems are the problems p of the newest whole reconciliation of the
// registry of a repository r.
const lastProblems = `(
	SELECT p.repository FROM reconciliation_problem p
	 WHERE p.reconciliation_id = (SELECT c.id FROM reconciliation c
	                               WHERE c.registry_id = r.registry_id AND c.state = 'done' AND c.repository = '' ORDER BY c.id DESC LIMIT 1)) p`

func (r repositoryLedgerRow) report() report.RepositoryCoverage {
	return report.RepositoryCoverage{
		Registry: r.Registry, Repository: r.Host + "/" + r.Name, ExcludedBy: r.Excluded, ListedAt: utc(r.ListedAt),
		Ledger: report.Tally(r.manifests, r.targets).WithUnread(r.unread), OldestAnswerAt: utc(r.oldest),
	}
}

// fillRepositories counts what the repositories of a page hold.
func fillRepositories(ctx context.Context, at snapshot, of []repositoryLedgerRow) error {
	const manifests = `
		SELECT repository_id AS id, state, reason, count(*) AS count FROM ledger_manifest
		 WHERE repository_id = ANY (@ids) GROUP BY 1, 2, 3`
	const targets = `
		SELECT repository_id AS id, state, reason, count(*) AS count FROM ledger_target
		 WHERE repository_id = ANY (@ids) GROUP BY 1, 2, 3`
	const oldest = `
		SELECT t.repository_id AS id, min(m.scanned_at) AS oldest
		  FROM tag t JOIN manifest m ON m.id = t.manifest_id AND m.state = 'done'
		 WHERE t.repository_id = ANY (@ids) GROUP BY 1`
	const unread = `
		SELECT r.id, count(*) AS count FROM repository r CROSS JOIN LATERAL ` + lastProblems + `
		 WHERE r.id = ANY (@ids) AND p.repository = r.name GROUP BY 1`
	type oldestRow struct {
		ID     int64
		Oldest *time.Time
	}
	type unreadRow struct {
		ID    int64
		Count int
	}
	ids := make([]int64, len(of))
	for i, r := range of {
		ids[i] = r.ID
	}
	args := pgx.NamedArgs{"ids": ids}
	known, err := rows[ledgerRow](ctx, at, manifests, args)
	if err != nil {
		return err
	}
	waiting, err := rows[ledgerRow](ctx, at, targets, args)
	if err != nil {
		return err
	}
	answers, err := rows[oldestRow](ctx, at, oldest, args)
	if err != nil {
		return err
	}
	closed, err := rows[unreadRow](ctx, at, unread, args)
	if err != nil {
		return err
	}
	place := func(id int64) *repositoryLedgerRow { return &of[slices.Index(ids, id)] }
	for _, r := range known {
		place(r.ID).manifests = append(place(r.ID).manifests, r.entry())
	}
	for _, r := range waiting {
		place(r.ID).targets = append(place(r.ID).targets, r.entry())
	}
	for _, r := range answers {
		place(r.ID).oldest = r.Oldest
	}
	for _, r := range closed {
		place(r.ID).unread = r.Count
	}
	return nil
}
