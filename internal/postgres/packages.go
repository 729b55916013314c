package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// storedPackageRow is a row of package, without what only matchers read.
type storedPackageRow struct {
	ID       int64
	Type     string
	Name     string
	Version  string
	Language string
	Purl     string
}

// Packages lists the distinct packages that a query names. A purl without a
// version names all versions, one without qualifiers all architectures and
// distros; it never names a package whose name merely begins alike.
func (s *Store) Packages(ctx context.Context, q report.PackageQuery) ([]report.StoredPackage, error) {
	const columns = `SELECT id, type, name, version, language, purl FROM package WHERE (@type = '' OR type = @type) AND `
	const byName = columns + `name = @name ORDER BY id LIMIT @limit`
	// After a purl's name come "@" and "?", or "#": two ranges of the byte-wise
	// index.
	const byPURL = columns + `(purl = @purl OR (purl ~>=~ (@purl || '?') AND purl ~<~ (@purl || 'A'))
	                                        OR (purl ~>=~ (@purl || '#') AND purl ~<~ (@purl || '$')))
		 ORDER BY id LIMIT @limit`
	query := byName
	if q.PURL != "" {
		query = byPURL
	}
	var out []report.StoredPackage
	err := s.read(ctx, "find packages", func(at snapshot) error {
		found, err := rows[storedPackageRow](ctx, at, query, pgx.NamedArgs{
			"type": q.Type, "name": q.Name, "purl": q.PURL, "limit": report.MaxPackages + 1,
		})
		if len(found) > report.MaxPackages {
			return errs.New(errs.Invalid, "the query names more than %d distinct packages", report.MaxPackages).
				WithHint("name a type or a purl")
		}
		for _, r := range found {
			out = append(out, report.StoredPackage{ID: r.ID, Package: report.Package{
				Type: r.Type, Name: r.Name, Version: r.Version, Language: r.Language, PURL: r.Purl,
			}})
		}
		return err
	})
	return out, err
}

// PackageImages lists the images behind live tags that hold any of the
// packages, those that are excluded from matching too.
func (s *Store) PackageImages(ctx context.Context, access report.Access, packages []int64, p report.Page) (report.Judged[report.ImageHit], error) {
	const query = `
		SELECT ip.inventory_id, p.type, p.name, p.version, p.language, p.purl, min(ip.excluded) AS excluded
		  FROM inventory_package ip JOIN package p ON p.id = ip.package_id
		 WHERE ip.inventory_id = ANY (@inventories) AND ip.package_id = ANY (@packages)
		 GROUP BY ip.inventory_id, p.id
		 ORDER BY ip.inventory_id, p.type, p.name, p.version, p.purl`
	type row struct {
		InventoryID int64
		Type        string
		Name        string
		Version     string
		Language    string
		Purl        string
		Excluded    string
	}
	tell := func(ctx context.Context, at snapshot, inventories []int64) (map[int64][]report.HitPackage, error) {
		found, err := rows[row](ctx, at, query, pgx.NamedArgs{"inventories": inventories, "packages": packages})
		out := map[int64][]report.HitPackage{}
		for _, r := range found {
			out[r.InventoryID] = append(out[r.InventoryID], report.HitPackage{Excluded: r.Excluded, Package: report.Package{
				Type: r.Type, Name: r.Name, Version: r.Version, Language: r.Language, PURL: r.Purl,
			}})
		}
		return out, err
	}
	var out report.Judged[report.ImageHit]
	err := s.read(ctx, "find images of packages", func(at snapshot) (err error) {
		out.Build = at.build
		out.List, err = hits(ctx, at, access, holders{packages: packages, tell: tell}, "packages", p)
		return err
	})
	return out, err
}
