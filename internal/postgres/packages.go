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

const packageColumns = `SELECT id, type, name, version, language, purl FROM package WHERE (@type = '' OR type = @type) AND `

// Packages lists the distinct packages that a query names; report.PURL.Names
// says which a purl does.
func (s *Store) Packages(ctx context.Context, q report.PackageQuery) ([]report.StoredPackage, error) {
	var out []report.StoredPackage
	err := s.read(ctx, "find packages", func(at snapshot) (err error) {
		if q.PURL != "" {
			out, err = packagesByPURL(ctx, at, q)
		} else {
			out, err = packagesByName(ctx, at, q)
		}
		if err == nil && len(out) > report.MaxPackages {
			return errs.New(errs.Invalid, "the query names more than %d distinct packages", report.MaxPackages).
				WithHint("name a type or a purl")
		}
		return err
	})
	return out, err
}

func packagesByName(ctx context.Context, at snapshot, q report.PackageQuery) ([]report.StoredPackage, error) {
	const query = packageColumns + `
		package_key(type, name) = ANY (ARRAY[@python, @other]) AND package_key(type, name) = CASE WHEN type = 'python' THEN @python ELSE @other END
		ORDER BY id LIMIT @limit`
	python, other := report.PackageNameKeys(q.Name)
	found, err := rows[storedPackageRow](ctx, at, query, pgx.NamedArgs{"type": q.Type, "python": python, "other": other, "limit": report.MaxPackages + 1})
	out := make([]report.StoredPackage, len(found))
	for i, r := range found {
		out[i] = r.report()
	}
	return out, err
}

// packagesByPURL reads all that have type and last part of the name in common,
// which may be many ("v2" of a Go module), and keeps those that are named.
func packagesByPURL(ctx context.Context, at snapshot, q report.PackageQuery) ([]report.StoredPackage, error) {
	const query = packageColumns + `purl_key(purl) = ANY (@keys) ORDER BY id`
	asked, err := report.ParsePURL(q.PURL)
	if err != nil {
		return nil, err
	}
	found, err := at.Query(ctx, query, pgx.NamedArgs{"type": q.Type, "keys": asked.Keys()})
	if err != nil {
		return nil, err
	}
	defer found.Close()
	var out []report.StoredPackage
	for found.Next() && len(out) <= report.MaxPackages {
		r, err := pgx.RowToStructByName[storedPackageRow](found)
		if err != nil {
			return nil, err
		}
		if stored, err := report.ParsePURL(r.Purl); err == nil && asked.Names(stored) {
			out = append(out, r.report())
		}
	}
	return out, found.Err()
}

func (r storedPackageRow) report() report.StoredPackage {
	return report.StoredPackage{ID: r.ID, Package: report.Package{
		Type: r.Type, Name: r.Name, Version: r.Version, Language: r.Language, PURL: r.Purl,
	}}
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
