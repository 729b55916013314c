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

// liveHolders lists images behind live tags that have one of the inventories.
func liveHolders(ctx context.Context, at snapshot, access report.Access, inventories []int64, after bool, key hitKey, limit int) ([]hitRow, error) {
	const query = `
		SELECT g.name AS registry, g.host, r.name AS repository, m.digest, m.os, m.architecture, m.variant, l.inventory_id,
		       (array_agg(DISTINCT l.tag ORDER BY l.tag))[1:@tags] AS tags, count(DISTINCT l.tag) AS tags_total
		  FROM live_image l
		  JOIN repository r ON r.id = l.repository_id
		  JOIN registry g ON g.id = r.registry_id
		  JOIN manifest m ON m.id = l.manifest_id
		 WHERE l.inventory_id = ANY (@inventories)
		   AND (NOT @after OR (g.name, r.name, m.digest) > (@registry, @repository, @digest))
		   AND ` + visible + `
		 GROUP BY g.id, r.id, m.id, l.inventory_id
		 ORDER BY g.name, r.name, m.digest
		 LIMIT @limit`
	if len(inventories) == 0 {
		return nil, nil
	}
	return rows[hitRow](ctx, at, query, pgx.NamedArgs{
		"inventories": inventories, "prefixes": prefixes(access), "tags": report.MaxTags, "after": after,
		"registry": key.Registry, "repository": key.Repository, "digest": key.Digest, "limit": limit,
	})
}
