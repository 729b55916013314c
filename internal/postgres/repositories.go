package postgres

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/report"
)

// Repositories lists repositories by host and name, with what their live tags
// amount to.
func (s *Store) Repositories(ctx context.Context, access report.Access, filter report.RepositoryFilter, p report.Page) (report.Judged[report.Repository], error) {
	const query = `
		WITH page AS (
			SELECT r.id, g.name AS registry, g.host, r.name, r.last_push_at, r.compared
			  FROM registry g JOIN repository r ON r.registry_id = g.id
			 WHERE (@registry = '' OR g.name = @registry)
			   AND starts_with(g.host || '/' || r.name, @prefix)
			   AND (NOT @after OR (g.host, r.name, r.id) > (@host, @name, @id))
			   AND ` + visible + `
			 ORDER BY g.host, r.name, r.id
			 LIMIT @limit
		)
		SELECT page.id, page.registry, page.host, page.name, page.last_push_at, page.compared,
		       (SELECT count(*) FROM tag t WHERE t.repository_id = page.id) AS tags,
		       (SELECT count(*) FROM scan s WHERE s.repository_id = page.id AND s.state = 'queued') AS queued,
		       (SELECT count(*) FROM scan s WHERE s.repository_id = page.id AND s.state = 'running') AS running,
		       (SELECT count(*) FROM scan s WHERE s.repository_id = page.id AND s.state = 'failed' AND NOT EXISTS (
		            SELECT 1 FROM scan newer WHERE newer.repository_id = s.repository_id AND newer.tag = s.tag AND newer.id > s.id
		               AND (s.tag <> '' OR newer.digest = s.digest))) AS failed,
		       last.id AS last_id, last.state AS last_state, last.reason AS last_reason, last.detail AS last_detail,
		       last.canceled_by AS last_canceled_by, last.created_at AS last_at,
		       f.total, f.critical, f.high, f.medium, f.low, f.negligible, f.unknown, f.fixable, f.known_exploited, NULL::int AS ignored
		  FROM page CROSS JOIN LATERAL (
			SELECT count(*) AS total, count(*) FILTER (WHERE severity_rank = 5) AS critical,
			       count(*) FILTER (WHERE severity_rank = 4) AS high, count(*) FILTER (WHERE severity_rank = 3) AS medium,
			       count(*) FILTER (WHERE severity_rank = 2) AS low, count(*) FILTER (WHERE severity_rank = 1) AS negligible,
			       count(*) FILTER (WHERE severity_rank = 0) AS unknown, count(*) FILTER (WHERE rf.fixable) AS fixable,
			       count(*) FILTER (WHERE rf.known_exploited) AS known_exploited
			  FROM repository_finding rf WHERE rf.repository_id = page.id AND rf.closed_at IS NULL) f
		  LEFT JOIN LATERAL (
			SELECT s.id, s.state, s.reason, s.detail, COALESCE(s.canceled_by, '') AS canceled_by, s.created_at
			  FROM scan s WHERE s.repository_id = page.id
			 ORDER BY s.id DESC LIMIT 1) last ON true
		 ORDER BY page.host, page.name, page.id`
	var out report.Judged[report.Repository]
	args := pgx.NamedArgs{"registry": filter.Registry, "prefix": filter.Prefix, "prefixes": prefixes(access), "limit": p.Size() + 1}
	var host, name string
	var id int64
	after, err := report.DecodeCursor("repositories", p.Cursor, &host, &name, &id)
	if err != nil {
		return out, err
	}
	args["after"], args["host"], args["name"], args["id"] = after, host, name, id
	err = s.read(ctx, "list repositories", func(at snapshot) error {
		out.Build = at.build
		found, err := rows[repositoryListRow](ctx, at, query, args)
		if err != nil {
			return err
		}
		images, err := repositoryImages(ctx, at, found)
		if err != nil {
			return err
		}
		out.List = page(found, p.Size(),
			func(r repositoryListRow) report.Repository { return r.report(at, images[r.ID]) },
			func(r repositoryListRow) string { return report.EncodeCursor("repositories", r.Host, r.Name, r.ID) })
		return nil
	})
	return out, err
}

type repositoryListRow struct {
	ID             int64
	Registry       string
	Host           string
	Name           string
	LastPushAt     *time.Time
	Compared       string // "<build>/<hash of its inventories>"; empty before the first comparison
	Tags           int
	Queued         int
	Running        int
	Failed         int
	LastID         *int64 // of the newest scan; nil when there is none, and so the next
	LastState      *string
	LastReason     *string
	LastDetail     *string
	LastCanceledBy *string
	LastAt         *time.Time
	Total          int
	countsRow
}

func (r repositoryListRow) report(at snapshot, images imagesRow) report.Repository {
	out := report.Repository{
		Registry: r.Registry, Repository: r.Host + "/" + r.Name, LastPushAt: utc(r.LastPushAt), Tags: r.Tags,
		Scans:  report.ScanCounts{Queued: r.Queued, Running: r.Running, Failed: r.Failed},
		Images: images.images(),
		Stale:  r.Compared != "" && comparedUnder(r.Compared) < at.countedSince,
	}
	if r.LastID != nil {
		out.LastScan = &report.ScanState{ID: *r.LastID, State: report.RunState(*r.LastState), Reason: *r.LastReason,
			Detail: *r.LastDetail, CanceledBy: *r.LastCanceledBy, CreatedAt: r.LastAt.UTC()}
	}
	var counts *report.Counts
	if r.Compared != "" && images.Done > 0 {
		c := r.counts()
		counts = &c
	}
	out.Summarise(counts, images.noData(), images.Covered)
	return out
}

// imagesRow is what the images behind a repository's live tags amount to.
type imagesRow struct {
	RepositoryID int64
	Total        int
	Done         int
	Pending      int
	Failed       int
	Complete     int
	NoData       []string // lists, each joined by newlines
	Covered      bool
}

func (r imagesRow) images() report.Images {
	return report.Images{Total: r.Total, Done: r.Done, Pending: r.Pending, Failed: r.Failed, Complete: r.Complete}
}

func (r imagesRow) noData() []string {
	var out []string
	for _, list := range r.NoData {
		out = append(out, strings.Split(list, "\n")...)
	}
	return out
}

// repositoryImages reads the images of repositories, by repository id. Whether
// the build covers anything at all is asked only where nothing else tells.
func repositoryImages(ctx context.Context, at snapshot, of []repositoryListRow) (map[int64]imagesRow, error) {
	const query = `
		SELECT i.repository_id, count(*) AS total,
		       count(*) FILTER (WHERE s.inventory_id IS NOT NULL) AS done,
		       count(*) FILTER (WHERE s.inventory_id IS NULL AND m.state IN ('queued', 'running') AND k.scan_id IS NULL) AS pending,
		       count(*) FILTER (WHERE s.inventory_id IS NULL AND (m.state NOT IN ('queued', 'running') OR k.scan_id IS NOT NULL)) AS failed,
		       count(*) FILTER (WHERE s.no_data = '{}' AND m.partial = '') AS complete,
		       COALESCE(array_agg(DISTINCT array_to_string(s.no_data, E'\n')) FILTER (WHERE s.no_data <> '{}'), '{}') AS no_data,
		       false AS covered
		  FROM (SELECT DISTINCT l.repository_id, l.manifest_id FROM live_image l WHERE l.repository_id = ANY (@ids)) i
		  JOIN manifest m ON m.id = i.manifest_id
		  LEFT JOIN inventory_summary s ON s.inventory_id = m.inventory_id
		  LEFT JOIN canceled_manifest k ON k.repository_id = i.repository_id AND k.manifest_id = i.manifest_id
		 GROUP BY i.repository_id`
	ids, totals := make([]int64, len(of)), map[int64]int{}
	for i, r := range of {
		ids[i], totals[r.ID] = r.ID, r.Total
	}
	found, err := rows[imagesRow](ctx, at, query, pgx.NamedArgs{"ids": ids})
	if err != nil {
		return nil, err
	}
	out := make(map[int64]imagesRow, len(found))
	var doubtful []int64
	for _, r := range found {
		if out[r.RepositoryID] = r; r.Done > 0 && r.Complete == 0 && totals[r.RepositoryID] == 0 {
			doubtful = append(doubtful, r.RepositoryID)
		}
	}
	return out, markCovered(ctx, at, doubtful, out)
}

func markCovered(ctx context.Context, at snapshot, ids []int64, out map[int64]imagesRow) error {
	const query = `
		SELECT DISTINCT i.repository_id
		  FROM (SELECT DISTINCT l.repository_id, l.inventory_id FROM live_image l
		         WHERE l.repository_id = ANY ($1) AND l.inventory_id IS NOT NULL) i
		  JOIN inventory_summary s ON s.inventory_id = i.inventory_id
		 WHERE inventory_covered(i.inventory_id, s.no_data)`
	if len(ids) == 0 {
		return nil
	}
	found, err := at.Query(ctx, query, ids)
	if err != nil {
		return err
	}
	covered, err := pgx.CollectRows(found, pgx.RowTo[int64])
	for _, id := range covered {
		r := out[id]
		r.Covered = true
		out[id] = r
	}
	return err
}
