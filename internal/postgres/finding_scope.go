package postgres

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// foundScope is what findings are read of.
type foundScope struct {
	whole        bool // a repository, not one image
	repositoryID int64
	digest       image.Digest // of one image's scope
	state        report.State
	assessment   report.Assessment
	inventories  []int64
	// images are the images of one image's scope. Those of a repository are read
	// for the findings of a page only: they may be thousands.
	images []scopeImage
}

// scopeImage is an image of the scope with its live tags.
type scopeImage struct {
	ManifestID   int64
	InventoryID  int64
	Digest       string
	OS           string
	Architecture string
	Variant      string
	Tags         []string
	// unplaced is true when its inventory is not that of its SBOM, which says where
	// packages lie.
	unplaced bool
}

func (i scopeImage) report() report.FindingImage {
	return report.FindingImage{Digest: image.Digest(i.Digest), Platform: platformName(i.OS, i.Architecture, i.Variant), Tags: i.Tags}
}

// scopeAt finds the inventories to look at, now or at the moment of the past that
// the scope names, with the build to look under.
func scopeAt(ctx context.Context, at snapshot, access report.Access, scope report.FindingScope) (snapshot, foundScope, *report.AsOf, error) {
	if scope.AsOf.IsZero() {
		in, err := findScope(ctx, at, access, scope)
		return at, in, nil, err
	}
	at, in, past, err := pastScope(ctx, at, access, scope)
	return at, in, &past, err
}

// findScope finds the inventories to look at.
func findScope(ctx context.Context, at snapshot, access report.Access, scope report.FindingScope) (foundScope, error) {
	if scope.WholeRepository() {
		return repositoryScope(ctx, at, access, scope)
	}
	found, err := findImage(ctx, at, access, scope.Target, scope.Platform)
	if err != nil {
		return foundScope{}, err
	}
	out := foundScope{digest: found.Digest, state: found.State, assessment: found.Assessment, inventories: found.root.inventories()}
	for _, p := range found.root.images {
		if p.InventoryID == nil || !slices.Contains(out.inventories, *p.InventoryID) || !p.Counted() {
			continue
		}
		own, _ := image.ParsePlatform(p.Platform.Platform) // empty when nobody says
		out.images = append(out.images, scopeImage{
			ManifestID: p.ManifestID, InventoryID: *p.InventoryID, Digest: string(p.Digest),
			OS: own.OS, Architecture: own.Architecture, Variant: own.Variant,
		})
	}
	return out, nil
}

// repositoryScope takes the images behind all live tags.
func repositoryScope(ctx context.Context, at snapshot, access report.Access, scope report.FindingScope) (foundScope, error) {
	const query = `
		SELECT DISTINCT l.inventory_id FROM live_image l
		  JOIN inventory_summary s ON s.inventory_id = l.inventory_id
		  JOIN manifest m ON m.id = l.manifest_id
		 WHERE l.repository_id = @repository
		   AND (@os = '' OR m.os = @os) AND (@arch = '' OR m.architecture = @arch) AND (@variant = '' OR m.variant = @variant)`
	repo, err := repository(ctx, at, access, scope.RepositoryRef)
	if err != nil {
		return foundScope{}, err
	}
	out := foundScope{whole: true, repositoryID: repo.ID}
	found, err := at.Query(ctx, query, pgx.NamedArgs{"repository": repo.ID, "os": scope.Platform.OS,
		"arch": scope.Platform.Architecture, "variant": scope.Platform.Variant})
	if err != nil {
		return out, err
	}
	if out.inventories, err = pgx.CollectRows(found, pgx.RowTo[int64]); err != nil {
		return out, err
	}
	images, err := repositoryImages(ctx, at, []repositoryListRow{{ID: repo.ID}})
	if err != nil {
		return out, err
	}
	if images[repo.ID].Total == 0 {
		return out, errs.New(errs.NotFound, "no image of %.300q is known", repo.fullName()).
			WithHint("it has no live tags; GET /api/v1/scans?repository= tells what was tried")
	}
	out.assessment, err = assessRepository(ctx, at, images[repo.ID], out.inventories)
	return out, err
}

// assessRepository counts the findings of a repository's images now. The list
// of repositories takes stored counts instead, which follow a switch of builds
// a little later.
func assessRepository(ctx context.Context, at snapshot, images imagesRow, inventories []int64) (report.Assessment, error) {
	var counts *report.Counts
	if len(inventories) > 0 && at.build != nil {
		counted, err := countGroups(ctx, at, map[int64][]int64{0: inventories})
		if err != nil {
			return report.Assessment{}, err
		}
		c := counted[0]
		counts = &c
	}
	r := report.Repository{Images: images.images()}
	r.Summarise(counts, images.noData(), images.Covered)
	return r.Assessment, nil
}

// liveImages reads the images behind live tags of a repository that have any of
// the inventories.
func liveImages(ctx context.Context, tx pgx.Tx, repositoryID int64, inventories []int64) ([]scopeImage, error) {
	const query = `
		SELECT m.id AS manifest_id, l.inventory_id, m.digest, m.os, m.architecture, m.variant,
		       (array_agg(DISTINCT l.tag ORDER BY l.tag))[1:@tags] AS tags
		  FROM live_image l JOIN manifest m ON m.id = l.manifest_id
		 WHERE l.repository_id = @repository AND l.inventory_id = ANY (@inventories)
		 GROUP BY m.id, l.inventory_id
		 ORDER BY m.id DESC`
	return rows[scopeImage](ctx, tx, query, pgx.NamedArgs{"repository": repositoryID, "inventories": inventories, "tags": report.MaxTags})
}
