package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// Trace tells the way of an image from the push to its answer. A repository that
// nobody ever told of is no error: the trace says so. endpoints are the registries
// whose webhook is configured.
func (s *Store) Trace(ctx context.Context, access report.Access, target report.Target, endpoints []string) (report.Trace, error) {
	var facts report.TraceFacts
	err := s.read(ctx, "trace image", func(at snapshot) error {
		t := traceReader{at: at, access: access, facts: &facts}
		facts = report.TraceFacts{Target: target, Configured: true, Limited: access.Limited(), Build: at.build}
		return t.gather(ctx, endpoints)
	})
	if err != nil {
		return report.Trace{}, err
	}
	return facts.Tell(), nil
}

// traceReader gathers the facts of one target from one moment of the database.
type traceReader struct {
	at         snapshot
	access     report.Access
	facts      *report.TraceFacts
	registry   int64
	repository int64 // 0 when it is not known
	manifest   int64 // 0 when it is not known
	parents    []string
}

func (t *traceReader) gather(ctx context.Context, endpoints []string) error {
	if err := t.findRegistry(ctx); err != nil {
		return err
	}
	if err := t.findContact(ctx, endpoints); err != nil {
		return err
	}
	known, err := t.findRepository(ctx)
	if err != nil {
		return err
	}
	if known {
		for _, part := range []func(context.Context) error{t.findImage, t.findTag, t.findScan, t.findQueue} {
			if err := part(ctx); err != nil {
				return err
			}
		}
	}
	return t.findDeliveries(ctx)
}

// findRegistry reads the registry and its reconciliations.
func (t *traceReader) findRegistry(ctx context.Context) error {
	const query = `
		SELECT g.id, g.host, now() AS now,
		       (SELECT c.finished_at FROM reconciliation c
		         WHERE c.registry_id = g.id AND c.state = 'done' AND c.repository = '' ORDER BY c.id DESC LIMIT 1) AS reconciled,
		       EXISTS (SELECT 1 FROM reconciliation c WHERE c.registry_id = g.id AND c.state = 'running') AS reconciling
		  FROM registry g WHERE g.name = $1`
	var reconciled *time.Time
	err := t.at.QueryRow(ctx, query, t.facts.Target.Registry).Scan(&t.registry, &t.facts.Host, &t.facts.Now, &reconciled, &t.facts.Reconciling)
	t.facts.Reconciled = utc(reconciled)
	return wrap("find registry "+t.facts.Target.Registry, err)
}

// findRepository reports whether the repository is known to the reader.
func (t *traceReader) findRepository(ctx context.Context) (bool, error) {
	const query = `SELECT excluded, listed_at FROM repository WHERE id = $1`
	repo, err := repository(ctx, t.at, t.access, t.facts.Target.RepositoryRef)
	if errs.Is(err, errs.NotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	t.repository, t.facts.Known = repo.ID, true
	var listed *time.Time
	err = t.at.QueryRow(ctx, query, repo.ID).Scan(&t.facts.ExcludedBy, &listed)
	t.facts.ListedAt = utc(listed)
	return true, err
}

// findImage reads the image as GET /image tells it, the rule that leaves it out
// and the indexes that hold it.
func (t *traceReader) findImage(ctx context.Context) error {
	found, err := findImage(ctx, t.at, t.access, t.facts.Target, image.Platform{})
	if err != nil && !errs.Is(err, errs.NotFound) {
		return err
	}
	if found.LastScan != nil {
		t.facts.Scan = &report.Scan{ScanState: *found.LastScan}
	}
	if errs.Is(err, errs.NotFound) || found.Presence == "" {
		return nil
	}
	t.facts.Image = &found.Image
	const query = `
		SELECT m.id, CASE rm.presence WHEN 'excluded' THEN rm.reason ELSE '' END
		  FROM manifest m JOIN repository_manifest rm ON rm.manifest_id = m.id AND rm.repository_id = $1
		 WHERE m.digest = $2`
	if err := t.at.QueryRow(ctx, query, t.repository, string(found.Digest)).Scan(&t.manifest, &t.facts.LeftOutBy); err != nil {
		return err
	}
	if t.facts.Target.Digest == "" {
		return nil
	}
	return t.findIndexes(ctx)
}

// findIndexes names what holds the manifest in this repository.
func (t *traceReader) findIndexes(ctx context.Context) error {
	const query = `
		SELECT p.digest, COALESCE((SELECT min(g.name) FROM tag g WHERE g.repository_id = rm.repository_id AND g.manifest_id = p.id), '') AS tag
		  FROM manifest_child c
		  JOIN manifest p ON p.id = c.parent_id
		  JOIN repository_manifest rm ON rm.manifest_id = p.id AND rm.repository_id = @repository AND rm.presence <> 'gone'
		 WHERE c.child_id = @manifest
		 GROUP BY p.id, p.digest, rm.repository_id
		 ORDER BY p.id DESC LIMIT 5`
	type row struct{ Digest, Tag string }
	found, err := rows[row](ctx, t.at, query, pgx.NamedArgs{"repository": t.repository, "manifest": t.manifest})
	for _, r := range found {
		t.parents = append(t.parents, r.Digest)
		name := r.Tag
		if name == "" {
			name = r.Digest
		}
		t.facts.Indexes = append(t.facts.Indexes, name)
	}
	return err
}

// findTag reads where the tag points and pointed, or when it went.
func (t *traceReader) findTag(ctx context.Context) error {
	const pointer = `
		SELECT m.digest, t.moved_at, t.checked_at AS last_seen,
		       COALESCE((SELECT b.digest FROM tag_event e JOIN manifest b ON b.id = e.manifest_id
		         WHERE e.repository_id = t.repository_id AND e.tag = t.name AND e.action = 'set' AND e.manifest_id <> t.manifest_id
		         ORDER BY e.id DESC LIMIT 1), '') AS before
		  FROM tag t JOIN manifest m ON m.id = t.manifest_id
		 WHERE t.repository_id = @repository AND t.name = @tag`
	const gone = `
		SELECT occurred_at FROM tag_event
		 WHERE repository_id = @repository AND tag = @tag AND action = 'deleted' ORDER BY id DESC LIMIT 1`
	type row struct {
		Digest            string
		MovedAt, LastSeen time.Time
		Before            string
	}
	type goneRow struct{ OccurredAt time.Time }
	if t.facts.Target.Tag == "" {
		return nil
	}
	args := pgx.NamedArgs{"repository": t.repository, "tag": t.facts.Target.Tag}
	found, err := rows[row](ctx, t.at, pointer, args)
	if err != nil {
		return err
	}
	for _, r := range found {
		t.facts.TagNow = &report.TagPointer{Digest: image.Digest(r.Digest), MovedAt: r.MovedAt.UTC(), Before: image.Digest(r.Before), LastSeen: r.LastSeen.UTC()}
		return nil
	}
	dropped, err := rows[goneRow](ctx, t.at, gone, args)
	for _, r := range dropped {
		t.facts.TagGoneAt = utc(&r.OccurredAt)
	}
	return err
}
