package postgres

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// SaveManifest records what a scan's target resolved to: the manifest and its
// children, their layers, their presence in the repository and where the tag
// points. What is known already is not written again.
func (s *Store) SaveManifest(ctx context.Context, job scan.Job, root scan.Manifest) error {
	const point = `UPDATE scan SET manifest_id = $2 WHERE id = $1 AND manifest_id IS DISTINCT FROM $2`
	const pushed = `UPDATE repository SET last_push_at = now() WHERE id = $1`
	return s.inScan(ctx, "save manifest", func(tx pgx.Tx) error {
		if err := holdLease(ctx, tx, job); err != nil {
			return err
		}
		ids, err := insertManifests(ctx, tx, job, root)
		if err != nil {
			return err
		}
		if err := linkChildren(ctx, tx, ids, root); err != nil {
			return err
		}
		if err := linkRepository(ctx, tx, job.Repository, ids, root); err != nil {
			return err
		}
		if err := coverChildren(ctx, tx, job, root); err != nil {
			return err
		}
		if err := refreshIndex(ctx, tx, ids[root.Digest]); err != nil {
			return err
		}
		if err := pointTag(ctx, tx, job, ids[root.Digest]); err != nil {
			return err
		}
		if job.Cause == scan.CausePush {
			if _, err := tx.Exec(ctx, pushed, job.Repository); err != nil {
				return err
			}
		}
		_, err = tx.Exec(ctx, point, job.ID, ids[root.Digest])
		return err
	})
}

// insertManifests adds those of root and its children that are new, in the
// order of their digests so that concurrent scans cannot deadlock, corrects what
// is known only from hearsay, and returns the ids of all.
func insertManifests(ctx context.Context, tx pgx.Tx, job scan.Job, root scan.Manifest) (map[image.Digest]int64, error) {
	all := append([]scan.Manifest{root}, root.Children...)
	sort.Slice(all, func(i, j int) bool { return all[i].Digest < all[j].Digest })
	known, err := knownManifests(ctx, tx, all)
	if err != nil {
		return nil, err
	}
	missing := false
	for _, m := range all {
		child := m.Digest != root.Digest
		switch k, isKnown := known[m.Digest]; {
		case !isKnown:
			missing = true
			err = insertManifest(ctx, tx, m, columns(job, m, child))
		case k.contradicts(m, child):
			err = correctManifest(ctx, tx, k.ID, m, columns(job, m, child))
		}
		if err != nil {
			return nil, err
		}
	}
	if missing {
		if known, err = knownManifests(ctx, tx, all); err != nil {
			return nil, err
		}
	}
	ids := make(map[image.Digest]int64, len(known))
	for digest, k := range known {
		ids[digest] = k.ID
	}
	return ids, nil
}

// knownManifest is what is stored of a manifest.
type knownManifest struct {
	ID                                        int64
	Digest, Kind, ConfigDigest, State, Reason string
}

func knownManifests(ctx context.Context, tx pgx.Tx, all []scan.Manifest) (map[image.Digest]knownManifest, error) {
	// Locked against collection until the commit.
	const query = `SELECT id, digest, kind, config_digest, state, reason FROM manifest WHERE digest = ANY ($1) FOR KEY SHARE`
	digests := make([]string, len(all))
	for i, m := range all {
		digests[i] = string(m.Digest)
	}
	rows, err := tx.Query(ctx, query, digests)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByName[knownManifest])
	known := make(map[image.Digest]knownManifest, len(list))
	for _, k := range list {
		known[image.Digest(k.Digest)] = k
	}
	return known, err
}

// contradicts reports whether m, whose own content was read, is something else
// than what an index once said of it. Anybody can write an index that names a
// digest as something else, before what has the digest comes.
func (k knownManifest) contradicts(m scan.Manifest, child bool) bool {
	if m.Unread != nil || m.Kind == image.KindSBOM {
		return false
	}
	unfollowed := k.Kind == string(image.KindIndex) && k.Reason != reasonPlatformFailed &&
		(k.State == string(scan.ManifestFailed) || k.State == string(scan.ManifestTooLarge))
	return k.Kind != string(m.Kind) || k.ConfigDigest != string(m.ConfigDigest) || child && unfollowed
}

// reasonPlatformFailed is why an index failed of which an image did.
const reasonPlatformFailed = "platform_failed"

// initialState is that of a manifest nobody looked into yet. What is no image
// stays in it.
func initialState(m scan.Manifest, child bool) (state scan.ManifestState, reason, detail string) {
	switch {
	case m.Kind == image.KindIndex && m.Unread != nil:
		return failedState(m.Unread), string(errs.KindOf(m.Unread)), words(m.Unread)
	case m.Kind == image.KindIndex && child:
		// Its images are listed under the root; on its own it is looked at anew.
		return scan.ManifestUnsupported, "nested_index", ""
	case m.Kind != image.KindImage && m.Kind != image.KindIndex && m.Kind != image.KindSBOM:
		return scan.ManifestUnsupported, string(m.Kind), ""
	}
	return scan.ManifestQueued, "", ""
}

// columns are what is written of a manifest. Like impersonal, its detail does not
// name the repository.
func columns(job scan.Job, m scan.Manifest, child bool) pgx.NamedArgs {
	state, reason, detail := initialState(m, child)
	detail = strings.ReplaceAll(detail, job.Ref.Name(), "…")
	if strings.Contains(job.Ref.Repository, "/") {
		detail = strings.ReplaceAll(detail, job.Ref.Repository, "…")
	}
	return pgx.NamedArgs{
		"digest": string(m.Digest), "kind": string(m.Kind), "media": cleanText(m.MediaType), "artifact": cleanText(m.ArtifactType),
		"os": cleanText(m.Platform.OS), "arch": cleanText(m.Platform.Architecture), "variant": cleanText(m.Platform.Variant),
		"osversion": cleanText(m.Platform.OSVersion), "size": m.Size, "content": m.ContentSize,
		"config": string(m.ConfigDigest), "state": string(state), "reason": reason, "detail": detail,
	}
}

func insertManifest(ctx context.Context, tx pgx.Tx, m scan.Manifest, args pgx.NamedArgs) error {
	const insert = `
		INSERT INTO manifest (digest, kind, media_type, artifact_type, os, architecture, variant, os_version,
		                      size, content_size, config_digest, state, reason, detail)
		VALUES (@digest, @kind, @media, @artifact, @os, @arch, @variant, @osversion, @size, @content, @config, @state, @reason, @detail)
		ON CONFLICT (digest) DO NOTHING
		RETURNING id`
	var id int64
	err := tx.QueryRow(ctx, insert, args).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil // another scan was first, and wrote the layers too
	}
	if err != nil {
		return err
	}
	return insertLayers(ctx, tx, id, m.Layers)
}

// correctManifest writes what a manifest's own content says of it. An answer
// that is there stands.
func correctManifest(ctx context.Context, tx pgx.Tx, id int64, m scan.Manifest, args pgx.NamedArgs) error {
	const correct = `
		UPDATE manifest
		   SET kind = @kind, media_type = @media, artifact_type = @artifact, os = @os, architecture = @arch, variant = @variant,
		       os_version = @osversion, size = @size, content_size = @content, config_digest = @config,
		       state = CASE WHEN inventory_id IS NULL THEN @state ELSE state END,
		       reason = CASE WHEN inventory_id IS NULL THEN @reason ELSE reason END,
		       detail = CASE WHEN inventory_id IS NULL THEN @detail ELSE detail END
		 WHERE id = @id`
	const forget = `DELETE FROM manifest_layer WHERE manifest_id = $1`
	args["id"] = id
	if _, err := tx.Exec(ctx, correct, args); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, forget, id); err != nil {
		return err
	}
	return insertLayers(ctx, tx, id, m.Layers)
}

func insertLayers(ctx context.Context, tx pgx.Tx, manifestID int64, layers []scan.Layer) error {
	rows := make([][]any, len(layers))
	for i, l := range layers {
		rows[i] = []any{manifestID, i, string(l.Digest), string(l.DiffID), cleanText(l.MediaType), l.Size, cleanText(l.CreatedBy)}
	}
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"manifest_layer"},
		[]string{"manifest_id", "position", "digest", "diff_id", "media_type", "size", "created_by"}, pgx.CopyFromRows(rows))
	return err
}

func linkChildren(ctx context.Context, tx pgx.Tx, ids map[image.Digest]int64, root scan.Manifest) error {
	const insert = `INSERT INTO manifest_child (parent_id, position, child_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`
	for i, c := range root.Children {
		if _, err := tx.Exec(ctx, insert, ids[root.Digest], i, ids[c.Digest]); err != nil {
			return err
		}
	}
	return nil
}

// linkRepository notes that the repository served these manifests. A row that
// was seen within the last minute is left alone: unchanged means unwritten.
func linkRepository(ctx context.Context, tx pgx.Tx, repositoryID int64, ids map[image.Digest]int64, root scan.Manifest) error {
	const upsert = `
		INSERT INTO repository_manifest (repository_id, manifest_id, presence, reason)
		VALUES (@repository, @manifest, @presence, @reason)
		ON CONFLICT (repository_id, manifest_id) DO UPDATE
		SET presence = EXCLUDED.presence, reason = EXCLUDED.reason, last_seen = now(), unneeded_since = NULL
		WHERE repository_manifest.presence <> EXCLUDED.presence OR repository_manifest.reason <> EXCLUDED.reason
		   OR repository_manifest.last_seen < now() - interval '1 minute' OR repository_manifest.unneeded_since IS NOT NULL`
	for _, m := range append([]scan.Manifest{root}, root.Children...) {
		presence := "present"
		if m.Excluded != "" {
			presence = "excluded"
		}
		if _, err := tx.Exec(ctx, upsert, pgx.NamedArgs{
			"repository": repositoryID, "manifest": ids[m.Digest], "presence": presence, "reason": m.Excluded,
		}); err != nil {
			return err
		}
	}
	return nil
}

// coverChildren ends the scans that untagged pushes of an index's children still
// wait for: the scan of the index looks at them. That is no failure; the reason
// says so.
func coverChildren(ctx context.Context, tx pgx.Tx, job scan.Job, root scan.Manifest) error {
	const cover = `
		WITH held AS (
			SELECT s.id, m.id AS manifest_id FROM scan s JOIN manifest m ON m.digest = s.digest
			 WHERE s.state = 'queued' AND s.repository_id = @repository AND s.cause = 'push'
			   AND s.tag = '' AND (CASE WHEN s.tag = '' THEN s.digest ELSE '' END) = ANY (@children)
			   FOR UPDATE OF s SKIP LOCKED -- who is being given another order meanwhile is looked at twice
		)
		UPDATE scan SET state = 'canceled', reason = @reason, detail = @detail, manifest_id = held.manifest_id, finished_at = now()
		  FROM held WHERE scan.id = held.id`
	if len(root.Children) == 0 {
		return nil
	}
	children := make([]string, len(root.Children))
	for i, c := range root.Children {
		children[i] = string(c.Digest)
	}
	_, err := tx.Exec(ctx, cover, pgx.NamedArgs{
		"repository": job.Repository, "children": children, "reason": scan.ReasonCovered,
		"detail": fmt.Sprintf("scan %d looks at it as a part of the index %s", job.ID, root.Digest),
	})
	return err
}

// pointTag moves the target's tag to the manifest and keeps its history.
func pointTag(ctx context.Context, tx pgx.Tx, job scan.Job, manifestID int64) error {
	const query = `SELECT manifest_id FROM tag WHERE repository_id = $1 AND name = $2 FOR UPDATE`
	const upsert = `
		INSERT INTO tag (repository_id, name, manifest_id, moved_at, checked_at) VALUES ($1, $2, $3, now(), now())
		ON CONFLICT (repository_id, name) DO UPDATE SET manifest_id = EXCLUDED.manifest_id, moved_at = now(), checked_at = now()`
	const checked = `UPDATE tag SET checked_at = now() WHERE repository_id = $1 AND name = $2`
	const history = `INSERT INTO tag_event (repository_id, tag, action, manifest_id, occurred_at) VALUES ($1, $2, 'set', $3, now())`
	if job.Ref.Tag == "" {
		return nil
	}
	var present int64
	err := tx.QueryRow(ctx, query, job.Repository, job.Ref.Tag).Scan(&present)
	switch {
	case err == nil && present == manifestID:
		_, err = tx.Exec(ctx, checked, job.Repository, job.Ref.Tag)
		return err
	case err != nil && !errors.Is(err, pgx.ErrNoRows):
		return err
	}
	if _, err := tx.Exec(ctx, upsert, job.Repository, job.Ref.Tag, manifestID); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, history, job.Repository, job.Ref.Tag, manifestID)
	return err
}

// SaveGone records that the repository no longer has the target: the tag is
// dropped, or the digest is marked gone and every tag that points to it goes.
func (s *Store) SaveGone(ctx context.Context, job scan.Job) error {
	const tagGone = `
		WITH dropped AS (DELETE FROM tag WHERE repository_id = $1 AND name = $2 RETURNING manifest_id)
		INSERT INTO tag_event (repository_id, tag, action, manifest_id, occurred_at)
		SELECT $1, $2, 'deleted', manifest_id, now() FROM dropped`
	const digestGone = `
		WITH gone AS (
			UPDATE repository_manifest SET presence = 'gone'
			 WHERE repository_id = $1 AND presence <> 'gone' AND manifest_id = (SELECT id FROM manifest WHERE digest = $2)
			RETURNING manifest_id
		), dropped AS (
			DELETE FROM tag WHERE repository_id = $1 AND manifest_id IN (SELECT manifest_id FROM gone) RETURNING name, manifest_id
		)
		INSERT INTO tag_event (repository_id, tag, action, manifest_id, occurred_at)
		SELECT $1, name, 'deleted', manifest_id, now() FROM dropped`
	return s.inTx(ctx, "save gone", func(tx pgx.Tx) error {
		err := holdLease(ctx, tx, job)
		switch {
		case err != nil:
		case job.Ref.Tag != "":
			_, err = tx.Exec(ctx, tagGone, job.Repository, job.Ref.Tag)
		default:
			_, err = tx.Exec(ctx, digestGone, job.Repository, string(job.Ref.Digest))
		}
		return err
	})
}

// Reserve entitles a scan to catalogue a manifest until its lease ends. It
// returns kind Conflict while another scan does.
func (s *Store) Reserve(ctx context.Context, job scan.Job, digest image.Digest) error {
	const reserve = `
		UPDATE manifest SET lease_token = $2, lease_until = now() + make_interval(secs => $3),
		       state = CASE WHEN inventory_id IS NULL THEN 'running' ELSE state END
		 WHERE digest = $1 AND (lease_token IS NULL OR lease_until < now() OR lease_token = $2)`
	return s.inScan(ctx, "reserve manifest", func(tx pgx.Tx) error {
		if err := holdLease(ctx, tx, job); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, reserve, string(digest), job.Lease, leaseSeconds)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return errs.New(errs.Conflict, "postgres: %s is being catalogued by another scan", digest)
		}
		return nil
	})
}

// SaveFailure records why a manifest has no answer. An answer that is there
// stands: a failed second look does not take it away.
func (s *Store) SaveFailure(ctx context.Context, job scan.Job, digest image.Digest, cause error) error {
	const fail = `
		UPDATE manifest SET lease_token = NULL, lease_until = NULL,
		       state  = CASE WHEN inventory_id IS NULL THEN @state ELSE manifest.state END,
		       reason = CASE WHEN inventory_id IS NULL THEN @reason ELSE manifest.reason END,
		       detail = CASE WHEN inventory_id IS NULL THEN ` + impersonal + ` ELSE manifest.detail END
		  FROM (SELECT @repository::bigint AS repository_id, @detail::text AS detail) s
		  JOIN repository r ON r.id = s.repository_id JOIN registry g ON g.id = r.registry_id
		 WHERE digest = @digest
		RETURNING manifest.id`
	state := failedState(cause)
	return s.inTx(ctx, "save failure", func(tx pgx.Tx) error {
		if err := holdLease(ctx, tx, job); err != nil {
			return err
		}
		var id int64
		err := tx.QueryRow(ctx, fail, pgx.NamedArgs{
			"state": string(state), "reason": string(errs.KindOf(cause)), "detail": words(cause), "digest": string(digest),
			"repository": job.Repository,
		}).Scan(&id)
		if err != nil {
			return err
		}
		return refreshParents(ctx, tx, id)
	})
}

// failedState is the state of a manifest that has no answer for a cause.
func failedState(cause error) scan.ManifestState {
	switch errs.KindOf(cause) {
	case errs.TooLarge, errs.Bomb:
		return scan.ManifestTooLarge
	case errs.Unsupported:
		return scan.ManifestUnsupported
	}
	return scan.ManifestFailed
}

// refreshParents recomputes the state of every index that holds the manifest.
func refreshParents(ctx context.Context, tx pgx.Tx, childID int64) error {
	const query = `SELECT DISTINCT parent_id FROM manifest_child WHERE child_id = $1 ORDER BY parent_id`
	rows, err := tx.Query(ctx, query, childID)
	if err != nil {
		return err
	}
	parents, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return err
	}
	for _, id := range parents {
		if err := refreshIndex(ctx, tx, id); err != nil {
			return err
		}
	}
	return nil
}

// refreshIndex takes the state of an index from its images: failed when one
// failed, done when all are done; images that a rule leaves out in every
// repository do not count. An index inside of it that could not be followed counts
// as an image that failed. Manifests that are no index are left alone.
func refreshIndex(ctx context.Context, tx pgx.Tx, id int64) error {
	const refresh = `
		WITH images AS (
			SELECT c.state FROM manifest_child mc JOIN manifest c ON c.id = mc.child_id
			 WHERE mc.parent_id = $1
			   AND (c.kind = 'image' OR c.kind = 'index' AND c.state IN ('failed', 'too_large') AND c.reason <> 'platform_failed')
			   AND NOT (EXISTS (SELECT 1 FROM repository_manifest rm WHERE rm.manifest_id = c.id AND rm.presence = 'excluded')
			        AND NOT EXISTS (SELECT 1 FROM repository_manifest rm WHERE rm.manifest_id = c.id AND rm.presence = 'present'))
		), told AS (
			SELECT CASE WHEN count(*) = 0 THEN 'unsupported'
			            WHEN bool_or(state IN ('queued', 'running')) THEN 'queued'
			            WHEN bool_or(state IN ('failed', 'too_large')) THEN 'failed'
			            ELSE 'done' END AS state,
			       CASE WHEN count(*) = 0 THEN 'no_image'
			            WHEN bool_or(state IN ('failed', 'too_large')) THEN 'platform_failed' ELSE '' END AS reason
			  FROM images
		)
		UPDATE manifest m SET state = told.state, reason = told.reason,
		       scanned_at = CASE WHEN told.state = 'done' THEN now() ELSE m.scanned_at END
		  FROM told WHERE m.id = $1 AND m.kind = 'index' AND (m.state, m.reason) IS DISTINCT FROM (told.state, told.reason)`
	// Locked first: of two images that finish at once, the second sees the first.
	if _, err := tx.Exec(ctx, `SELECT 1 FROM manifest WHERE id = $1 FOR NO KEY UPDATE`, id); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, refresh, id)
	return err
}
