package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// Image tells all there is to say of a tag or digest of a repository. A digest
// is told only to those who ask for it in a repository that served it.
func (s *Store) Image(ctx context.Context, access report.Access, target report.Target) (report.Image, error) {
	var out report.Image
	err := s.read(ctx, "read image", func(at snapshot) error {
		found, err := findImage(ctx, at, access, target, image.Platform{})
		out = found.Image
		return err
	})
	return out, err
}

// foundImage is an image with what it is stored under.
type foundImage struct {
	report.Image
	repository repositoryRow
	root       rootRow
}

// findImage reads an image, of an index only what matches the platform.
func findImage(ctx context.Context, at snapshot, access report.Access, target report.Target, platform image.Platform) (foundImage, error) {
	repo, err := repository(ctx, at, access, target.RepositoryRef)
	if err != nil {
		return foundImage{}, err
	}
	out := foundImage{repository: repo, Image: report.Image{
		Registry: repo.Registry, Repository: repo.fullName(), Tag: target.Tag, Digest: target.Digest,
		Tags: []string{}, Platforms: []report.Platform{}, Build: at.build,
	}}
	if out.Reference = repo.fullName() + ":" + target.Tag; target.Digest != "" {
		out.Reference = repo.fullName() + "@" + string(target.Digest)
	}
	root, err := findRoot(ctx, at, repo.ID, target)
	if err != nil {
		return foundImage{}, err
	}
	if out.LastScan, err = lastScan(ctx, at, repo.ID, target, root); err != nil {
		return foundImage{}, err
	}
	if root == nil {
		return out, out.unresolved()
	}
	root.describe(&out.Image)
	roots, err := assessRoots(ctx, at, repo.ID, []int64{root.ID})
	if err != nil {
		return foundImage{}, err
	}
	if out.root, err = keepPlatform(ctx, at, roots[root.ID], platform); err != nil {
		return foundImage{}, err
	}
	out.Platforms = out.root.platforms()
	out.Summarise(out.root.union)
	return out, nil
}

// unresolved tells of a target that no scan has resolved yet by its last scan.
func (i *foundImage) unresolved() error {
	switch {
	case i.LastScan != nil && i.LastScan.CanceledBy != "":
		i.State, i.Reason, i.Detail = report.StateCanceled, i.LastScan.Reason, i.LastScan.Detail
	case i.LastScan == nil, i.LastScan.State == report.RunDone, i.LastScan.State == report.RunCanceled:
		return errs.New(errs.NotFound, "nothing is known of %.400q", i.Reference).
			WithHint("it appears when it is pushed; `tidewaiter request` or POST /api/v1/scans asks for a scan")
	case i.LastScan.State == report.RunFailed:
		i.State, i.Reason, i.Detail = report.StateFailed, i.LastScan.Reason, i.LastScan.Detail
	default:
		i.State = report.State(i.LastScan.State)
	}
	i.Assessment = report.Assess(i.State, nil)
	return nil
}

// keepPlatform drops the parts of a root that do not match and counts again.
func keepPlatform(ctx context.Context, at snapshot, root rootRow, platform image.Platform) (rootRow, error) {
	if platform == (image.Platform{}) {
		return root, nil
	}
	var kept rootRow
	var known []string
	for _, p := range root.images {
		own, err := image.ParsePlatform(p.Platform.Platform)
		if err != nil || !p.Counted() {
			continue // a part that is no image
		}
		if known = append(known, p.Platform.Platform); own.Matches(platform) {
			kept.images = append(kept.images, p)
		}
	}
	if len(kept.images) == 0 {
		slices.Sort(known)
		return kept, errs.New(errs.NotFound, "there is no image for %s", platform).
			WithField("platform").WithHint("there are %s", listed(slices.Compact(known)))
	}
	one := map[int64]rootRow{0: kept}
	err := countUnions(ctx, at, one)
	return one[0], err
}

// rootManifest is the manifest that a target names.
type rootManifest struct {
	ID           int64
	Digest       string
	Kind         string
	MediaType    string
	ArtifactType string
	State        string
	Reason       string
	Detail       string
	Presence     string
	FirstSeen    time.Time
	LastSeen     time.Time
	MovedAt      *time.Time
	CheckedAt    *time.Time
	Tags         []string
}

// findRoot returns nil when the repository never served such a manifest.
func findRoot(ctx context.Context, tx pgx.Tx, repositoryID int64, target report.Target) (*rootManifest, error) {
	const columns = `
		SELECT m.id, m.digest, m.kind, m.media_type, m.artifact_type, ` + shownState + `,
		       rm.presence, rm.first_seen, rm.last_seen, t.moved_at, t.checked_at,
		       ARRAY(SELECT o.name FROM tag o WHERE o.manifest_id = m.id AND o.repository_id = rm.repository_id
		              ORDER BY o.name LIMIT @tags) AS tags`
	const byTag = columns + `
		  FROM tag t
		  JOIN manifest m ON m.id = t.manifest_id
		  JOIN repository_manifest rm ON rm.manifest_id = m.id AND rm.repository_id = t.repository_id
		 WHERE t.repository_id = @repository AND t.name = @tag`
	const byDigest = columns + `
		  FROM manifest m
		  JOIN repository_manifest rm ON rm.manifest_id = m.id AND rm.repository_id = @repository
		  LEFT JOIN tag t ON t.repository_id = rm.repository_id AND t.name = @tag AND t.manifest_id = m.id
		 WHERE m.digest = @digest`
	query := byTag
	if target.Digest != "" {
		query = byDigest
	}
	found, err := rows[rootManifest](ctx, tx, query, pgx.NamedArgs{
		"repository": repositoryID, "tag": target.Tag, "digest": string(target.Digest), "tags": report.MaxTags,
	})
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return &found[0], nil
}

func (r *rootManifest) describe(i *report.Image) {
	i.Digest, i.Kind, i.MediaType, i.ArtifactType = image.Digest(r.Digest), image.Kind(r.Kind), r.MediaType, r.ArtifactType
	i.State, i.Reason, i.Detail = report.State(r.State), r.Reason, r.Detail
	i.Presence, i.Tags = report.Presence(r.Presence), r.Tags
	i.MovedAt, i.CheckedAt = utc(r.MovedAt), utc(r.CheckedAt)
	i.FirstSeen, i.LastSeen = utc(&r.FirstSeen), utc(&r.LastSeen)
}

// lastScan returns the newest scan of a target, nil when there was none.
func lastScan(ctx context.Context, tx pgx.Tx, repositoryID int64, target report.Target, root *rootManifest) (*report.ScanState, error) {
	const columns = `SELECT ` + stateColumns + ` FROM scan s WHERE s.repository_id = @repository`
	const newest = ` ORDER BY id DESC LIMIT 1`
	const byTag = columns + ` AND s.tag = @tag` + newest
	const unresolved = columns + ` AND s.digest = @digest` + newest
	// What resolved to the manifest, and what waits to look at it.
	const resolved = `(` + columns + ` AND s.manifest_id = @manifest` + newest + `)
		UNION ALL (` + columns + ` AND s.state IN ('queued', 'running') AND s.digest = @digest` + newest + `)` + newest
	args := pgx.NamedArgs{"repository": repositoryID, "tag": target.Tag, "digest": string(target.Digest)}
	query := byTag
	switch {
	case target.Digest == "":
	case root == nil:
		query = unresolved
	default:
		query, args["manifest"] = resolved, root.ID
	}
	found, err := rows[scanStateRow](ctx, tx, query, args)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	state, err := found[0].report()
	return &state, err
}
