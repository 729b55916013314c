package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// holders are what images are searched for: packages, and what to tell of those
// an inventory holds.
type holders struct {
	packages []int64
	// judgedOnly leaves out packages that are excluded from matching.
	judgedOnly bool
	// tell lists what to show, by inventory. An inventory without an entry is no
	// hit: every match in it is ignored.
	tell func(ctx context.Context, at snapshot, inventories []int64) (map[int64][]report.HitPackage, error)
}

// hitRow is an image behind live tags, before it is known what it holds.
type hitRow struct {
	Registry     string
	Host         string
	Repository   string
	Digest       string
	OS           string
	Architecture string
	Variant      string
	InventoryID  int64
	Tags         []string
	TagsTotal    int
}

type hitKey struct{ Registry, Repository, Digest string }

// hits lists the images behind live tags that hold any of the packages. It
// walks the candidates in order, in chunks, until a page is full.
func hits(ctx context.Context, at snapshot, access report.Access, h holders, listing string, p report.Page) (report.List[report.ImageHit], error) {
	var out report.List[report.ImageHit]
	var key hitKey
	after, err := report.DecodeCursor(listing, p.Cursor, &key.Registry, &key.Repository, &key.Digest)
	if err != nil {
		return out, err
	}
	inventories, err := holdingInventories(ctx, at, h)
	if err != nil {
		return out, err
	}
	var found []report.ImageHit
	for chunk := p.Size() + 1; len(found) <= p.Size(); chunk = min(2*chunk, 2000) {
		candidates, err := liveHolders(ctx, at, access, inventories, after, key, chunk)
		if err != nil {
			return out, err
		}
		if found, err = appendHits(ctx, at, h, found, candidates); err != nil {
			return out, err
		}
		if len(candidates) < chunk {
			break
		}
		last := candidates[len(candidates)-1]
		after, key = true, hitKey{last.Registry, last.Repository, last.Digest}
	}
	return page(found, p.Size(), func(hit report.ImageHit) report.ImageHit { return hit },
		func(hit report.ImageHit) string {
			return report.EncodeCursor(listing, hit.Registry, hitName(hit), hit.Digest)
		}), nil
}

// hitName is the repository's name without the host, which holds no slash.
func hitName(hit report.ImageHit) string {
	for i := range hit.Repository {
		if hit.Repository[i] == '/' {
			return hit.Repository[i+1:]
		}
	}
	return hit.Repository
}

func appendHits(ctx context.Context, at snapshot, h holders, found []report.ImageHit, candidates []hitRow) ([]report.ImageHit, error) {
	inventories := make([]int64, len(candidates))
	for i, c := range candidates {
		inventories[i] = c.InventoryID
	}
	held, err := h.tell(ctx, at, inventories)
	if err != nil {
		return nil, err
	}
	for _, c := range candidates {
		if packages := held[c.InventoryID]; len(packages) > 0 {
			found = append(found, report.ImageHit{
				Registry: c.Registry, Repository: c.Host + "/" + c.Repository, Digest: image.Digest(c.Digest),
				Platform: platformName(c.OS, c.Architecture, c.Variant), Tags: c.Tags, TagsTotal: c.TagsTotal, Packages: packages,
			})
		}
	}
	return found, nil
}

func holdingInventories(ctx context.Context, at snapshot, h holders) ([]int64, error) {
	const query = `
		SELECT DISTINCT ip.inventory_id FROM inventory_package ip
		 WHERE ip.package_id = ANY ($1) AND (NOT $2 OR ip.excluded = '')`
	found, err := at.Query(ctx, query, h.packages, h.judgedOnly)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(found, pgx.RowTo[int64])
}

// Beyond so many inventories a page is found soon by going through repositories
// in order; below, by going from the inventories to their images.
const (
	fewInventories     = 2000
	repositoriesAtOnce = 200
)

// liveHolders lists images behind live tags that have one of the inventories,
// in order of registry, repository and digest, from behind the key.
func liveHolders(ctx context.Context, at snapshot, access report.Access, inventories []int64, after bool, key hitKey, limit int) ([]hitRow, error) {
	q := holdersQuery{access: access, inventories: inventories, after: after, key: key, limit: limit}
	switch {
	case len(inventories) == 0:
		return nil, nil
	case len(inventories) <= fewInventories:
		return q.everywhere(ctx, at)
	}
	return q.walk(ctx, at, repositoriesAtOnce)
}

// holdersQuery is what liveHolders was asked for.
type holdersQuery struct {
	access      report.Access
	inventories []int64
	after       bool
	key         hitKey
	limit       int
}

// walk goes through the repositories in order, so many at once, until it has
// the rows that were asked for.
func (q holdersQuery) walk(ctx context.Context, at snapshot, atOnce int) ([]hitRow, error) {
	var found []hitRow
	limit, next := q.limit, repositoryStep{Registry: q.key.Registry, Name: q.key.Repository}
	for {
		repositories, err := q.repositoriesFrom(ctx, at, next, atOnce+1)
		if err != nil {
			return nil, err
		}
		q.limit = limit - len(found)
		part, err := q.in(ctx, at, repositories[:min(len(repositories), atOnce)])
		if err != nil {
			return nil, err
		}
		if found = append(found, part...); len(found) == limit || len(repositories) <= atOnce {
			return found, nil
		}
		next = repositories[atOnce]
	}
}

// repositoryStep is a repository on the way through all of them.
type repositoryStep struct {
	ID       int64
	Registry string
	Name     string
}

// repositoriesFrom lists the next repositories in order.
func (q holdersQuery) repositoriesFrom(ctx context.Context, at snapshot, from repositoryStep, limit int) ([]repositoryStep, error) {
	const query = `
		SELECT r.id, g.name AS registry, r.name
		  FROM registry g JOIN repository r ON r.registry_id = g.id
		 WHERE (g.name, r.name) >= (@registry, @name) AND ` + visible + `
		 ORDER BY g.name, r.name
		 LIMIT @limit`
	return rows[repositoryStep](ctx, at, query, pgx.NamedArgs{
		"registry": from.Registry, "name": from.Name, "prefixes": prefixes(q.access), "limit": limit,
	})
}

// The page is cut before tags are put together: an image may have many.
const (
	holdersOf = `
		WITH holder AS (
			SELECT g.name AS registry, g.host, r.name AS repository, r.id AS repository_id,
			       m.id AS manifest_id, m.digest, m.os, m.architecture, m.variant, m.inventory_id
			  FROM manifest m
			  JOIN repository_manifest rm ON rm.manifest_id = m.id
			  JOIN repository r ON r.id = rm.repository_id
			  JOIN registry g ON g.id = r.registry_id
			 WHERE m.inventory_id = ANY (@inventories) AND ` + standing + `
			   AND (NOT @after OR (g.name, r.name, m.digest) > (@registry, @repository, @digest))
			   AND ` + visible
	holdersTagged = `
			 ORDER BY g.name, r.name, m.digest
			 LIMIT @limit
		)
		SELECT h.registry, h.host, h.repository, h.digest, h.os, h.architecture, h.variant, h.inventory_id, l.tags, l.tags_total
		  FROM holder h
		 CROSS JOIN LATERAL (
			SELECT (array_agg(DISTINCT l.tag ORDER BY l.tag))[1:@tags] AS tags, count(DISTINCT l.tag) AS tags_total
			  FROM live_image l WHERE l.repository_id = h.repository_id AND l.manifest_id = h.manifest_id) l
		 ORDER BY h.registry, h.repository, h.digest`
)

func (q holdersQuery) everywhere(ctx context.Context, at snapshot) ([]hitRow, error) {
	return rows[hitRow](ctx, at, holdersOf+holdersTagged, q.args(nil))
}

// in looks at some repositories only.
func (q holdersQuery) in(ctx context.Context, at snapshot, repositories []repositoryStep) ([]hitRow, error) {
	const query = holdersOf + ` AND rm.repository_id = ANY (@repositories)` + holdersTagged
	ids := make([]int64, len(repositories))
	for i, r := range repositories {
		ids[i] = r.ID
	}
	return rows[hitRow](ctx, at, query, q.args(ids))
}

func (q holdersQuery) args(repositories []int64) pgx.NamedArgs {
	return pgx.NamedArgs{
		"inventories": q.inventories, "repositories": repositories, "prefixes": prefixes(q.access), "tags": report.MaxTags,
		"after": q.after, "registry": q.key.Registry, "repository": q.key.Repository, "digest": q.key.Digest, "limit": q.limit,
	}
}
