package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// rootRow is a manifest that a tag or a digest names, with the images behind it
// and the counts over those of them that are counted.
type rootRow struct {
	images []platformRow
	union  *report.Counts // nil when nothing was judged
}

func (r rootRow) platforms() []report.Platform {
	out := make([]report.Platform, len(r.images))
	for i, p := range r.images {
		out[i] = p.Platform
	}
	return out
}

// inventories lists the distinct inventories that are counted.
func (r rootRow) inventories() []int64 {
	var out []int64
	for _, p := range r.images {
		if p.InventoryID != nil && p.Counted() && p.Counts != nil && !slices.Contains(out, *p.InventoryID) {
			out = append(out, *p.InventoryID)
		}
	}
	return out
}

// platformRow is an image behind a root, or another child of an index.
type platformRow struct {
	report.Platform
	ManifestID  int64
	InventoryID *int64
}

// assessRoots reads the images behind manifests of a repository and counts, by
// manifest id.
func assessRoots(ctx context.Context, at snapshot, repositoryID int64, roots []int64) (map[int64]rootRow, error) {
	stored, err := storedPlatforms(ctx, at, repositoryID, roots)
	if err != nil {
		return nil, err
	}
	fresh, err := freshCounts(ctx, at, stored)
	if err != nil {
		return nil, err
	}
	out := make(map[int64]rootRow, len(roots))
	for _, p := range stored {
		root := out[p.RootID]
		root.images = append(root.images, p.report(at, fresh))
		out[p.RootID] = root
	}
	return out, countUnions(ctx, at, out)
}

// storedPlatform is a platform as the database has it.
type storedPlatform struct {
	RootID         int64
	ManifestID     int64
	Digest         string
	Kind           string
	OS             string
	Architecture   string
	Variant        string
	OSVersion      string
	State          string
	Reason         string
	Detail         string
	Partial        string
	ContentSize    int64
	ScannedAt      *time.Time
	Presence       string
	PresenceReason string
	InventoryID    *int64
	Distro         string
	Packages       int
	Tool           string
	ToolVersion    string
	Summarised     bool  // there are counts, if only of an older build
	SummaryBuild   int64 // the build they are of
	NoData         []string
	Covered        bool
	DistroEOL      *time.Time
	EOLPassed      bool
	countsRow
}

func storedPlatforms(ctx context.Context, at snapshot, repositoryID int64, roots []int64) ([]storedPlatform, error) {
	const query = `
		WITH part AS (
			SELECT m.id AS root_id, 0 AS position, m.id AS manifest_id FROM manifest m
			 WHERE m.id = ANY (@roots) AND m.kind <> 'index'
			UNION ALL
			SELECT c.parent_id, c.position, c.child_id FROM manifest_child c WHERE c.parent_id = ANY (@roots)
		)
		SELECT part.root_id, part.manifest_id, m.digest, m.kind, m.os, m.architecture, m.variant, m.os_version,
		       ` + shownState + `, m.partial, m.content_size, m.scanned_at,
		       COALESCE(rm.presence, 'unseen') AS presence, COALESCE(rm.reason, '') AS presence_reason,
		       m.inventory_id, COALESCE(i.distro, '') AS distro,
		       COALESCE(b.packages, i.package_count, 0) AS packages, COALESCE(b.tool, '') AS tool, COALESCE(b.tool_version, '') AS tool_version,
		       s.inventory_id IS NOT NULL AS summarised, COALESCE(s.build_id, 0) AS summary_build,
		       COALESCE(s.no_data, '{}') AS no_data,
		       CASE WHEN s.no_data <> '{}' THEN inventory_covered(s.inventory_id, s.no_data) ELSE true END AS covered,
		       s.distro_eol::timestamptz AS distro_eol, COALESCE(s.distro_eol < current_date, false) AS eol_passed,
		       COALESCE(s.critical, 0) AS critical, COALESCE(s.high, 0) AS high, COALESCE(s.medium, 0) AS medium,
		       COALESCE(s.low, 0) AS low, COALESCE(s.negligible, 0) AS negligible, COALESCE(s.unknown, 0) AS unknown,
		       COALESCE(s.fixable, 0) AS fixable, COALESCE(s.known_exploited, 0) AS known_exploited, COALESCE(s.ignored, 0) AS ignored
		  FROM part
		  JOIN manifest m ON m.id = part.manifest_id
		  LEFT JOIN repository_manifest rm ON rm.repository_id = @repository AND rm.manifest_id = m.id
		  LEFT JOIN inventory i ON i.id = m.inventory_id
		  LEFT JOIN inventory_summary s ON s.inventory_id = m.inventory_id
		  LEFT JOIN sbom b ON b.manifest_id = m.id
		 ORDER BY part.root_id, part.position`
	return rows[storedPlatform](ctx, at, query, pgx.NamedArgs{"roots": roots, "repository": repositoryID})
}

// judged reports whether the platform has an answer under the snapshot's build.
func (p storedPlatform) judged(at snapshot) bool {
	return p.InventoryID != nil && p.Summarised && at.build != nil
}

// freshCounts counts anew where the stored counts do not hold under the snapshot's
// build, by inventory: after a switch of the version before they follow one by one.
func freshCounts(ctx context.Context, at snapshot, stored []storedPlatform) (map[int64]report.Counts, error) {
	groups := map[int64][]int64{}
	for _, p := range stored {
		if p.judged(at) && p.SummaryBuild < at.countedSince {
			groups[*p.InventoryID] = []int64{*p.InventoryID}
		}
	}
	return countGroups(ctx, at, groups)
}

func (p storedPlatform) report(at snapshot, fresh map[int64]report.Counts) platformRow {
	out := platformRow{ManifestID: p.ManifestID, InventoryID: p.InventoryID, Platform: report.Platform{
		Digest: image.Digest(p.Digest), Kind: image.Kind(p.Kind), Platform: platformName(p.OS, p.Architecture, p.Variant),
		OSVersion: p.OSVersion, Presence: report.Presence(p.Presence), PresenceReason: p.PresenceReason,
	}}
	if out.Presence == report.Unseen {
		// Somebody else's image that an index merely names: nothing of it is told.
		out.InventoryID = nil
		out.State, out.Reason, out.Detail = report.StateFailed, "not_found", "the repository did not serve this child of the index"
		out.Assessment = report.Assess(out.State, nil)
		return out
	}
	out.State, out.Reason, out.Detail, out.Partial = report.State(p.State), p.Reason, p.Detail, p.Partial
	out.ContentSize, out.ScannedAt = p.ContentSize, utc(p.ScannedAt)
	if !out.Counted() {
		out.Assessment = report.Assess(report.StateUnsupported, nil)
		return out
	}
	if !p.judged(at) {
		out.Assessment = report.Assess(out.State, nil)
		return out
	}
	counts, recounted := fresh[*p.InventoryID]
	if !recounted {
		counts = p.counts()
	}
	out.Assessment = report.Assess(out.State, &report.Judgement{Counts: counts, NoData: p.NoData, Covered: p.Covered, Partial: p.Partial})
	out.Distro, out.EndOfLife, out.EndOfLifePassed = p.Distro, utc(p.DistroEOL), p.EOLPassed
	out.Packages, out.Tool, out.ToolVersion = p.Packages, p.Tool, p.ToolVersion
	return out
}
