package postgres

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// newsReach finds the live tags of the group's repositories that hold the finding,
// and adds to v what their packages are. ok is false when the rule chooses tags and
// none of these is among them.
func newsReach(ctx context.Context, at snapshot, rule report.NewsRule, w report.WaitingNews, v *report.NewsVulnerability) (*report.NewsReach, bool, error) {
	// From the packages that have it to the inventories, and only then to tags: most
	// of what the repositories hold is never looked at.
	const query = `
		WITH hit AS MATERIALIZED (
			SELECT DISTINCT p.id FROM package p JOIN package_match m ON m.package_id = p.id
			   AND m.opened_build <= @build AND (m.closed_build IS NULL OR m.closed_build > @build)
			 WHERE p.type = @type AND p.name = @name AND m.canonical = @vulnerability
		), inv AS MATERIALIZED (
			SELECT DISTINCT ip.inventory_id AS id FROM hit JOIN inventory_package ip ON ip.package_id = hit.id
		), twin AS MATERIALIZED (
			SELECT p.id FROM package p WHERE p.type = @type AND p.name = @name
		), verdict AS MATERIALIZED (
			SELECT v.inventory_id, v.package_id, max(v.suggested_version) AS suggested
			  FROM package_verdicts(ARRAY(SELECT id FROM inv), ARRAY(SELECT id FROM twin), @build) v
			 WHERE v.canonical = @vulnerability AND v.ignored = ''
			 GROUP BY v.inventory_id, v.package_id
		), place AS MATERIALIZED (
			SELECT DISTINCT l.repository_id, l.tag, l.manifest_id, l.inventory_id FROM live_image l
			 WHERE l.inventory_id IN (SELECT inventory_id FROM verdict)
			   AND l.repository_id IN (SELECT p.repository_id FROM notification_pending p WHERE ` + ofGroup + `)
			   AND (@tags = '' OR l.tag ~ @tags)
		), example AS (
			SELECT g.host || '/' || r.name AS repository, t.tag, t.tags
			  FROM (SELECT repository_id, max(tag) AS tag, count(DISTINCT tag) AS tags FROM place GROUP BY repository_id) t
			  JOIN repository r ON r.id = t.repository_id JOIN registry g ON g.id = r.registry_id
			 ORDER BY t.tags DESC, 1 LIMIT @places
		), version AS (
			SELECT p.version FROM place JOIN verdict v ON v.inventory_id = place.inventory_id JOIN package p ON p.id = v.package_id
			 GROUP BY p.version ORDER BY count(*) DESC, p.version LIMIT @versions
		)
		SELECT (SELECT count(DISTINCT repository_id) FROM place), (SELECT count(DISTINCT manifest_id) FROM place),
		       (SELECT count(DISTINCT (repository_id, tag)) FROM place),
		       COALESCE((SELECT jsonb_agg(jsonb_build_object('repository', repository, 'tag', tag, 'tags', tags) ORDER BY tags DESC, repository) FROM example), '[]'),
		       ARRAY(SELECT version FROM version),
		       COALESCE((SELECT v.suggested FROM place JOIN verdict v ON v.inventory_id = place.inventory_id WHERE v.suggested <> ''
		                  GROUP BY v.suggested ORDER BY count(*) DESC, 1 LIMIT 1), ''),
		       ARRAY(SELECT DISTINCT manifest_id FROM place)`
	reach := &report.NewsReach{}
	var examples []byte
	var manifests []int64
	err := at.QueryRow(ctx, query, pgx.NamedArgs{
		"rule": rule.Name, "rows": w.Rows, "build": at.buildID, "type": v.PackageType, "name": v.Package, "vulnerability": v.ID,
		"tags": globPattern(rule.Tags), "places": newsPlaces, "versions": newsVersions,
	}).Scan(&reach.Repositories, &reach.Images, &reach.Tags, &examples, &v.Versions, &v.FixVersion, &manifests)
	if err != nil {
		return nil, false, err
	}
	if err := json.Unmarshal(examples, &reach.Examples); err != nil {
		return nil, false, errs.Wrap(errs.Internal, "postgres: decode examples", err)
	}
	reach.Truncated = reach.Repositories > len(reach.Examples)
	reach.Shared, err = sharedLayers(ctx, at, manifests)
	return reach, len(rule.Tags) == 0 || reach.Tags > 0, err
}

// sharedLayers finds the lowest layers of those images that begin with the same
// one, where these are at least half of all: the base that most of them were built
// on. It is nil for a single image.
func sharedLayers(ctx context.Context, at snapshot, manifests []int64) (*report.NewsLayers, error) {
	const query = `
		WITH first AS (
			SELECT l.digest, count(*) AS images FROM manifest_layer l WHERE l.manifest_id = ANY (@manifests) AND l.position = 0
			 GROUP BY l.digest ORDER BY count(*) DESC, l.digest LIMIT 1
		), level AS (
			SELECT l.position, min(l.digest) AS digest, min(l.size) AS size, min(l.created_by) AS created_by
			  FROM first JOIN manifest_layer b ON b.manifest_id = ANY (@manifests) AND b.position = 0 AND b.digest = first.digest
			  JOIN manifest_layer l ON l.manifest_id = b.manifest_id
			 GROUP BY l.position, first.images
			HAVING count(*) = first.images AND min(l.digest) = max(l.digest)
		)
		SELECT level.position, level.digest, level.size, level.created_by, first.images FROM level, first ORDER BY level.position`
	if len(manifests) < 2 {
		return nil, nil
	}
	found, err := at.Query(ctx, query, pgx.NamedArgs{"manifests": manifests})
	if err != nil {
		return nil, err
	}
	shared := &report.NewsLayers{}
	var chain []string
	var position, size int64
	var digest, createdBy string
	_, err = pgx.ForEachRow(found, []any{&position, &digest, &size, &createdBy, &shared.Images}, func() error {
		if position != int64(len(chain)) {
			return nil // what lies on a layer that differs is no base
		}
		chain = append(chain, digest)
		shared.Size += size
		shared.CreatedBy = shorten(createdBy, newsText)
		return nil
	})
	if err != nil || len(chain) == 0 || shared.Images < 2 || 2*shared.Images < len(manifests) {
		return nil, err
	}
	shared.Layers, shared.Top = len(chain), chain[len(chain)-1]
	shared.Base, err = baseImage(ctx, at, chain)
	return shared, err
}

// baseImage names the tagged image that consists of the longest beginning of a
// chain of layers; empty when none is known.
func baseImage(ctx context.Context, at snapshot, chain []string) (string, error) {
	const query = `
		SELECT g.host || '/' || r.name || ':' || l.tag
		  FROM manifest_layer b
		  JOIN live_image l ON l.manifest_id = b.manifest_id
		  JOIN repository r ON r.id = l.repository_id JOIN registry g ON g.id = r.registry_id
		 WHERE b.position = 0 AND b.digest = (@chain::text[])[1]
		   AND (SELECT array_agg(m.digest ORDER BY m.position) FROM manifest_layer m WHERE m.manifest_id = b.manifest_id)
		       = (@chain::text[])[1:(SELECT count(*) FROM manifest_layer m WHERE m.manifest_id = b.manifest_id)]
		 ORDER BY (SELECT count(*) FROM manifest_layer m WHERE m.manifest_id = b.manifest_id) DESC, length(r.name), r.name, l.tag LIMIT 1`
	var name string
	err := at.QueryRow(ctx, query, pgx.NamedArgs{"chain": chain}).Scan(&name)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	return name, err
}
