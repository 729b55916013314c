package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/reconcile"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// began is when a run began, over all processes that worked on it. It needs the
// argument run.
const began = `(SELECT started_at FROM reconciliation WHERE id = @run)`

// LookAt notes that a run looks at a repository, and which rule leaves it out as
// a whole; one that is left out becomes known by that.
func (s *Store) LookAt(ctx context.Context, run reconcile.Run, repository, rule string) (reconcile.Repository, error) {
	const note = `
		WITH place AS (SELECT registry_id FROM reconciliation WHERE id = @run),
		known AS (
			SELECT r.id, r.excluded, EXISTS (SELECT 1 FROM repository_manifest rm WHERE rm.repository_id = r.id) AS served
			  FROM repository r JOIN place USING (registry_id) WHERE r.name = @name
		),
		noted AS (UPDATE repository r SET listed_at = now(), excluded = @rule FROM known WHERE r.id = known.id),
		added AS (
			INSERT INTO repository (registry_id, name, excluded, listed_at)
			SELECT registry_id, @name, @rule, now() FROM place WHERE @rule <> '' AND NOT EXISTS (SELECT 1 FROM known)
			ON CONFLICT DO NOTHING RETURNING id
		)
		SELECT COALESCE((SELECT id FROM known), (SELECT id FROM added), 0), COALESCE((SELECT excluded FROM known), ''),
		       COALESCE((SELECT served FROM known), false)`
	var out reconcile.Repository
	err := s.pool.QueryRow(ctx, note, pgx.NamedArgs{"run": run.ID, "name": repository, "rule": rule}).Scan(&out.ID, &out.Excluded, &out.Served)
	return out, wrap("look at repository", err)
}

// knownRow is a target with what is known of it.
type knownRow struct {
	ID         int64
	Tag        string
	Digest     string
	State      string
	Presence   string
	Rule       string
	ScanState  string
	ScanDigest string
	ScanReason string
	ScanEnd    *time.Time
}

func (r knownRow) known() reconcile.Known {
	k := reconcile.Known{
		Digest: image.Digest(r.Digest), State: scan.ManifestState(r.State), Presence: reconcile.Presence(r.Presence), Rule: r.Rule,
		Scan: reconcile.LastScan{State: scan.State(r.ScanState), Digest: image.Digest(r.ScanDigest), Reason: errs.Kind(r.ScanReason)},
	}
	if r.ScanEnd != nil {
		k.Scan.FinishedAt = *r.ScanEnd
	}
	return k
}

// readKnown runs a query that selects the columns of a knownRow.
func (s *Store) readKnown(ctx context.Context, op, query string, args pgx.NamedArgs) ([]knownRow, error) {
	found, err := s.pool.Query(ctx, query, args)
	if err != nil {
		return nil, wrap(op, err)
	}
	out, err := pgx.CollectRows(found, pgx.RowToStructByName[knownRow])
	return out, wrap(op, err)
}

// KnownTags returns what is known of tags, of those of which something is: where
// they point, or a scan.
func (s *Store) KnownTags(ctx context.Context, repositoryID int64, tags []string) (map[string]reconcile.Known, error) {
	const query = `
		SELECT 0 AS id, n.tag, COALESCE(m.digest, '') AS digest, COALESCE(m.state, '') AS state,
		       COALESCE(rm.presence, '') AS presence, COALESCE(rm.reason, '') AS rule,
		       COALESCE(s.state, '') AS scan_state, COALESCE(s.digest, '') AS scan_digest, COALESCE(s.reason, '') AS scan_reason,
		       s.finished_at AS scan_end
		  FROM unnest(@tags::text[]) AS n (tag)
		  LEFT JOIN tag t ON t.repository_id = @repository AND t.name = n.tag
		  LEFT JOIN manifest m ON m.id = t.manifest_id
		  LEFT JOIN repository_manifest rm ON rm.repository_id = t.repository_id AND rm.manifest_id = t.manifest_id
		  LEFT JOIN LATERAL (SELECT l.state, l.digest, l.reason, l.finished_at FROM scan l
		                      WHERE l.repository_id = @repository AND l.tag = n.tag ORDER BY l.id DESC LIMIT 1) s ON true
		 WHERE t.id IS NOT NULL OR s.state IS NOT NULL`
	found, err := s.readKnown(ctx, "read known tags", query, pgx.NamedArgs{"repository": repositoryID, "tags": tags})
	out := make(map[string]reconcile.Known, len(found))
	for _, r := range found {
		out[r.Tag] = r.known()
	}
	return out, err
}

// Seen notes that tags were listed since the run began, and that manifests, with
// those an index holds, are there. The latter are left alone when they were seen
// not long ago. Rows that a scan holds are passed over: it writes the same.
func (s *Store) Seen(ctx context.Context, run reconcile.Run, repositoryID int64, tags []string, manifests []image.Digest) error {
	const listed = `
		UPDATE tag SET checked_at = now() WHERE id IN (
			SELECT id FROM tag WHERE repository_id = @repository AND name = ANY (@tags) AND checked_at < ` + began + `
			   FOR UPDATE SKIP LOCKED)`
	const there = `
		WITH roots AS (SELECT id FROM manifest WHERE digest = ANY (@digests)), held AS (
			SELECT repository_id, manifest_id FROM repository_manifest
			 WHERE repository_id = @repository AND presence <> 'gone' AND last_seen < now() - interval '12 hours'
			   AND manifest_id IN (SELECT id FROM roots UNION SELECT c.child_id FROM manifest_child c JOIN roots ON roots.id = c.parent_id)
			   FOR UPDATE SKIP LOCKED
		)
		UPDATE repository_manifest rm SET last_seen = now() FROM held
		 WHERE rm.repository_id = held.repository_id AND rm.manifest_id = held.manifest_id`
	args := pgx.NamedArgs{"run": run.ID, "repository": repositoryID, "tags": tags, "digests": digestTexts(manifests)}
	if len(tags) > 0 {
		if _, err := s.pool.Exec(ctx, listed, args); err != nil {
			return wrap("note listed tags", err)
		}
	}
	if len(manifests) > 0 {
		if _, err := s.pool.Exec(ctx, there, args); err != nil {
			return wrap("note seen manifests", err)
		}
	}
	return nil
}

// UnseenTags returns the tags of the repository that were not seen since the run
// began and for which no scan waits or runs, by name.
func (s *Store) UnseenTags(ctx context.Context, run reconcile.Run, repositoryID int64) (map[string]reconcile.Known, error) {
	const query = `
		SELECT 0 AS id, t.name AS tag, m.digest, m.state, '' AS presence, '' AS rule,
		       '' AS scan_state, '' AS scan_digest, '' AS scan_reason, NULL::timestamptz AS scan_end
		  FROM tag t JOIN manifest m ON m.id = t.manifest_id
		 WHERE t.repository_id = @repository AND t.checked_at < ` + began + `
		   AND NOT EXISTS (SELECT 1 FROM scan s WHERE s.repository_id = t.repository_id AND s.tag = t.name AND s.state IN ('queued', 'running'))`
	found, err := s.readKnown(ctx, "read unseen tags", query, pgx.NamedArgs{"run": run.ID, "repository": repositoryID})
	out := make(map[string]reconcile.Known, len(found))
	for _, r := range found {
		out[r.Tag] = r.known()
	}
	return out, err
}

// untagged is the condition for a manifest m of the repository with the row rm
// that neither a tag nor an index leads to.
const untagged = `
	NOT EXISTS (SELECT 1 FROM tag t WHERE t.repository_id = rm.repository_id AND t.manifest_id = m.id)
	AND NOT EXISTS (SELECT 1 FROM manifest_child c
	                  JOIN repository_manifest p ON p.repository_id = rm.repository_id AND p.manifest_id = c.parent_id AND p.presence <> 'gone'
	                 WHERE c.child_id = m.id)`

// Untagged returns up to limit of the manifests behind after, by id, that are
// present with neither a tag nor an index that holds them, and were not seen
// since the run began.
func (s *Store) Untagged(ctx context.Context, run reconcile.Run, repositoryID, after int64, limit int) ([]reconcile.Manifest, error) {
	const query = `
		WITH roots AS MATERIALIZED (
			SELECT m.id, m.digest, m.state, rm.presence, rm.reason AS rule
			  FROM repository_manifest rm JOIN manifest m ON m.id = rm.manifest_id
			 WHERE rm.repository_id = @repository AND rm.presence = 'present' AND rm.last_seen < ` + began + `
			   AND m.id > @after AND ` + untagged + `
			 ORDER BY m.id LIMIT @limit
		), scanned AS (
			SELECT DISTINCT ON (s.digest) s.digest, s.state, s.reason, s.finished_at
			  FROM scan s JOIN roots ON roots.digest = s.digest
			 WHERE s.repository_id = @repository AND s.tag = ''
			 ORDER BY s.digest, s.id DESC
		)
		SELECT r.id, '' AS tag, r.digest, r.state, r.presence, r.rule, COALESCE(s.state, '') AS scan_state,
		       COALESCE(s.digest, '') AS scan_digest, COALESCE(s.reason, '') AS scan_reason, s.finished_at AS scan_end
		  FROM roots r LEFT JOIN scanned s ON s.digest = r.digest
		 ORDER BY r.id`
	found, err := s.readKnown(ctx, "read untagged manifests", query, pgx.NamedArgs{
		"run": run.ID, "repository": repositoryID, "after": after, "limit": limit,
	})
	out := make([]reconcile.Manifest, len(found))
	for i, r := range found {
		out[i] = reconcile.Manifest{ID: r.ID, Known: r.known()}
	}
	return out, err
}

// Unresolved returns up to limit of the targets behind after, by id, whose newest
// scan failed before the run began and did not find out what they are.
func (s *Store) Unresolved(ctx context.Context, run reconcile.Run, repositoryID, after int64, limit int) ([]reconcile.Unresolved, error) {
	const query = `
		SELECT s.id, s.tag, '' AS digest, '' AS state, '' AS presence, '' AS rule,
		       s.state AS scan_state, s.digest AS scan_digest, s.reason AS scan_reason, s.finished_at AS scan_end
		  FROM ledger_target l JOIN scan s ON s.id = l.scan_id
		 WHERE l.repository_id = @repository AND l.state = 'failed' AND s.id > @after AND s.finished_at < ` + began + `
		 ORDER BY s.id LIMIT @limit`
	found, err := s.readKnown(ctx, "read unresolved targets", query, pgx.NamedArgs{
		"run": run.ID, "repository": repositoryID, "after": after, "limit": limit,
	})
	out := make([]reconcile.Unresolved, len(found))
	for i, r := range found {
		out[i] = reconcile.Unresolved{ID: r.ID, Tag: r.Tag, Known: r.known()}
	}
	return out, err
}

// Standing returns the tags and untagged manifests of the repository that are not
// recorded as left out by the rule.
func (s *Store) Standing(ctx context.Context, repositoryID int64, rule string) ([]reconcile.Target, error) {
	const query = `
		SELECT t.name, m.digest
		  FROM tag t JOIN manifest m ON m.id = t.manifest_id
		  LEFT JOIN repository_manifest rm ON rm.repository_id = t.repository_id AND rm.manifest_id = t.manifest_id
		 WHERE t.repository_id = @repository AND (rm.presence = 'excluded' AND rm.reason = @rule) IS NOT TRUE
		UNION ALL
		SELECT '', m.digest
		  FROM repository_manifest rm JOIN manifest m ON m.id = rm.manifest_id
		 WHERE rm.repository_id = @repository AND rm.presence = 'present' AND ` + untagged + `
		 ORDER BY 1, 2`
	found, err := s.pool.Query(ctx, query, pgx.NamedArgs{"repository": repositoryID, "rule": rule})
	if err != nil {
		return nil, wrap("read what stands", err)
	}
	var out []reconcile.Target
	var tag, digest string
	_, err = pgx.ForEachRow(found, []any{&tag, &digest}, func() error {
		out = append(out, reconcile.Target{Tag: tag, Digest: image.Digest(digest), Cause: scan.CauseReconcile, Why: reconcile.Ruled})
		return nil
	})
	return out, wrap("read what stands", err)
}

// Unlisted returns up to limit names behind after of repositories that were known
// when the run began, hold something or failed to tell, and were not looked at
// in it to the end.
func (s *Store) Unlisted(ctx context.Context, run reconcile.Run, after string, limit int) ([]string, error) {
	const query = `
		SELECT r.name FROM repository r
		 WHERE r.registry_id = (SELECT registry_id FROM reconciliation WHERE id = @run) AND r.name > @after COLLATE "C"
		   AND (r.name = @under_way OR r.created_at < ` + began + ` AND (r.listed_at IS NULL OR r.listed_at < ` + began + `))
		   AND (EXISTS (SELECT 1 FROM tag t WHERE t.repository_id = r.id)
		     OR EXISTS (SELECT 1 FROM repository_manifest rm WHERE rm.repository_id = r.id AND rm.presence = 'present')
		     OR EXISTS (SELECT 1 FROM scan s WHERE s.repository_id = r.id AND s.state = 'failed'))
		 ORDER BY r.name COLLATE "C" LIMIT @limit`
	found, err := s.pool.Query(ctx, query, pgx.NamedArgs{
		"run": run.ID, "after": after, "under_way": run.Position.Repository, "limit": limit,
	})
	if err != nil {
		return nil, wrap("read unlisted repositories", err)
	}
	names, err := pgx.CollectRows(found, pgx.RowTo[string])
	return names, wrap("read unlisted repositories", err)
}
