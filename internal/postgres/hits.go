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
	repositoriesAtOnce = 50
)

// liveHolders lists images behind live tags that have one of the inventories,
// in order of registry, repository and digest, from behind the key.
func liveHolders(ctx context.Context, at snapshot, access report.Access, inventories []int64, after bool, key hitKey, limit int) ([]hitRow, error) {
	if len(inventories) == 0 {
		return nil, nil
	}
	q := holdersQuery{access: access, inventories: inventories, after: after, key: key, limit: limit}
	way := q.everywhere
	if len(inventories) > fewInventories {
		way = func(ctx context.Context, at snapshot) ([]standingImage, error) {
			return q.walk(ctx, at, repositoriesAtOnce)
		}
	}
	found, err := way(ctx, at)
	if err != nil {
		return nil, err
	}
	return describeImages(ctx, at, found)
}

// holdersQuery is what liveHolders was asked for.
type holdersQuery struct {
	access      report.Access
	inventories []int64
	after       bool
	key         hitKey
	limit       int
}

// standingImage is an image behind a live tag of a repository.
type standingImage struct {
	RepositoryID int64
	ManifestID   int64
	InventoryID  int64
}

const (
	standingImages = `
		SELECT rm.repository_id, m.id AS manifest_id, m.inventory_id
		  FROM repository_manifest rm
		  JOIN manifest m ON m.id = rm.manifest_id
		  JOIN repository r ON r.id = rm.repository_id
		  JOIN registry g ON g.id = r.registry_id
		 WHERE ` + standing + ` AND ` + visible + `
		   AND (NOT @after OR (g.name, r.name, m.digest) > (@registry, @repository, @digest))`
	inOrder = ` ORDER BY g.name, r.name, m.digest`
)

func (q holdersQuery) args() pgx.NamedArgs {
	return pgx.NamedArgs{
		"prefixes": prefixes(q.access), "after": q.after, "registry": q.key.Registry, "repository": q.key.Repository, "digest": q.key.Digest,
	}
}

// everywhere goes from the inventories to their images.
func (q holdersQuery) everywhere(ctx context.Context, at snapshot) ([]standingImage, error) {
	const query = standingImages + ` AND m.inventory_id = ANY (@inventories)` + inOrder + ` LIMIT @limit`
	args := q.args()
	args["inventories"], args["limit"] = q.inventories, q.limit
	return rows[standingImage](ctx, at, query, args)
}

// walk goes through the repositories in order, so many at first, until it has
// as many images as were asked for. It compares inventories itself: of a list
// of thousands the planner expects a handful, and takes its way from them.
func (q holdersQuery) walk(ctx context.Context, at snapshot, atOnce int) ([]standingImage, error) {
	wanted := make(map[int64]bool, len(q.inventories))
	for _, id := range q.inventories {
		wanted[id] = true
	}
	var found []standingImage
	next := repositoryStep{Registry: q.key.Registry, Name: q.key.Repository}
	for ; ; atOnce = min(2*atOnce, 1000) {
		repositories, err := q.repositoriesFrom(ctx, at, next, atOnce+1)
		if err != nil {
			return nil, err
		}
		images, err := q.in(ctx, at, repositories[:min(len(repositories), atOnce)])
		if err != nil {
			return nil, err
		}
		for _, i := range images {
			if wanted[i.InventoryID] && len(found) < q.limit {
				found = append(found, i)
			}
		}
		if len(found) == q.limit || len(repositories) <= atOnce {
			return found, nil
		}
		next = repositories[atOnce]
	}
}

// in lists the images of some repositories.
func (q holdersQuery) in(ctx context.Context, at snapshot, repositories []repositoryStep) ([]standingImage, error) {
	const query = standingImages + ` AND m.inventory_id IS NOT NULL AND rm.repository_id = ANY (@repositories)` + inOrder
	ids := make([]int64, len(repositories))
	for i, r := range repositories {
		ids[i] = r.ID
	}
	args := q.args()
	args["repositories"] = ids
	return rows[standingImage](ctx, at, query, args)
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

// describeImages tells what a page shows of images, in their order. Tags are put
// together here, when the page is cut: an image may have many.
func describeImages(ctx context.Context, at snapshot, images []standingImage) ([]hitRow, error) {
	const query = `
		SELECT g.name AS registry, g.host, r.name AS repository, m.digest, m.os, m.architecture, m.variant, m.inventory_id, l.tags, l.tags_total
		  FROM unnest(@repositories::bigint[], @manifests::bigint[]) WITH ORDINALITY AS i (repository_id, manifest_id, position)
		  JOIN repository r ON r.id = i.repository_id
		  JOIN registry g ON g.id = r.registry_id
		  JOIN manifest m ON m.id = i.manifest_id
		 CROSS JOIN LATERAL (
			SELECT (array_agg(DISTINCT l.tag ORDER BY l.tag))[1:@tags] AS tags, count(DISTINCT l.tag) AS tags_total
			  FROM live_image l WHERE l.repository_id = i.repository_id AND l.manifest_id = i.manifest_id) l
		 ORDER BY i.position`
	repositories, manifests := make([]int64, len(images)), make([]int64, len(images))
	for n, i := range images {
		repositories[n], manifests[n] = i.RepositoryID, i.ManifestID
	}
	return rows[hitRow](ctx, at, query, pgx.NamedArgs{"repositories": repositories, "manifests": manifests, "tags": report.MaxTags})
}
