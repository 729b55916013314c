package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// Ledger lists everything that is known of a repository with its one state:
// manifests in the order they were first stored, then the targets that no scan
// has found out about.
func (s *Store) Ledger(ctx context.Context, access report.Access, ref report.RepositoryRef, filter report.LedgerFilter, p report.Page) (report.List[report.LedgerItem], error) {
	const wanted = ` AND (@state = '' OR l.state = @state) AND (NOT @uncovered OR l.state IN ('queued', 'running', 'failed', 'canceled'))`
	const query = `
		SELECT * FROM (
			SELECT 0 AS part, m.id, m.digest, '' AS tag, m.kind, m.os, m.architecture, m.variant, l.state, l.reason,
			       CASE l.state WHEN m.state THEN m.detail WHEN 'canceled' THEN ` + canceledDetail + ` ELSE '' END AS detail,
			       rm.first_seen AS since,
			       ARRAY(SELECT t.name FROM tag t WHERE t.manifest_id = m.id AND t.repository_id = l.repository_id ORDER BY t.name LIMIT @tags) AS tags
			  FROM ledger_manifest l
			  JOIN manifest m ON m.id = l.manifest_id
			  JOIN repository_manifest rm ON rm.repository_id = l.repository_id AND rm.manifest_id = l.manifest_id
			 WHERE l.repository_id = @repository AND (NOT @after OR (0, m.id) > (@part, @id))` + wanted + `
			 ORDER BY m.id LIMIT @limit) manifests
		UNION ALL
		SELECT * FROM (
			SELECT 1 AS part, l.scan_id AS id, l.digest, l.tag, '' AS kind, '' AS os, '' AS architecture, '' AS variant, l.state, l.reason,
			       s.detail, s.created_at AS since, ARRAY[]::text[] AS tags
			  FROM ledger_target l JOIN scan s ON s.id = l.scan_id
			 WHERE l.repository_id = @repository AND (NOT @after OR (1, l.scan_id) > (@part, @id))` + wanted + `
			 ORDER BY l.scan_id LIMIT @limit) targets
		 ORDER BY part, id LIMIT @limit`
	var out report.List[report.LedgerItem]
	var part int
	var id int64
	after, err := report.DecodeCursor("coverage/manifests", p.Cursor, &part, &id)
	if err != nil {
		return out, err
	}
	args := pgx.NamedArgs{"state": string(filter.State), "uncovered": filter.Uncovered, "tags": report.MaxTags,
		"after": after, "part": part, "id": id, "limit": p.Size() + 1}
	err = s.read(ctx, "list the ledger", func(at snapshot) error {
		repo, err := repository(ctx, at, access, ref)
		if err != nil {
			return err
		}
		args["repository"] = repo.ID
		found, err := rows[ledgerItemRow](ctx, at, query, args)
		out = page(found, p.Size(), ledgerItemRow.report,
			func(r ledgerItemRow) string { return report.EncodeCursor("coverage/manifests", r.Part, r.ID) })
		return err
	})
	return out, err
}

type ledgerItemRow struct {
	Part         int // 0 for a manifest, 1 for a target
	ID           int64
	Digest       string
	Tag          string
	Kind         string
	OS           string
	Architecture string
	Variant      string
	State        string
	Reason       string
	Detail       string
	Since        time.Time
	Tags         []string
}

func (r ledgerItemRow) report() report.LedgerItem {
	item := report.LedgerItem{
		Unresolved: r.Part == 1, Digest: image.Digest(r.Digest), Tag: r.Tag, Kind: image.Kind(r.Kind),
		Platform: platformName(r.OS, r.Architecture, r.Variant), Tags: r.Tags,
		State: report.LedgerState(r.State), Reason: r.Reason, Detail: r.Detail, Since: r.Since.UTC(),
	}
	if item.Unresolved {
		item.ScanID = &r.ID
	}
	return item
}
