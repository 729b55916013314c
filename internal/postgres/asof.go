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

// pastScope is findScope at a moment of the past: the manifest from the history of
// the tag, the build that was active, the inventories that the images had. The
// snapshot it returns is of that build. The error is of kind NotFound, and says
// since when something is known, where history does not reach.
func pastScope(ctx context.Context, at snapshot, access report.Access, scope report.FindingScope) (snapshot, foundScope, report.AsOf, error) {
	var out foundScope
	told := report.AsOf{Time: scope.AsOf.UTC()}
	repo, err := repository(ctx, at, access, scope.RepositoryRef)
	if err != nil {
		return at, out, told, err
	}
	if err := withinHistory(ctx, at, scope.AsOf); err != nil {
		return at, out, told, err
	}
	if at, err = buildAt(ctx, at, scope.AsOf); err != nil {
		return at, out, told, err
	}
	stood, err := stoodFor(ctx, at, repo, scope)
	if err != nil {
		return at, out, told, err
	}
	told.Digest, told.MovedAt, told.PointsTo = image.Digest(stood.digest), utc(stood.since), image.Digest(stood.pointsTo)
	out, told.Note, err = assessPast(ctx, at, stood.parts, scope)
	return at, out, told, err
}

// withinHistory refuses a moment of which some of what was known has been
// collected.
func withinHistory(ctx context.Context, at snapshot, moment time.Time) error {
	const query = `
		SELECT max(at - make_interval(secs => (policy ->> 'history')::float8 / 1e9)) FROM collection
		 WHERE (policy ->> 'history')::float8 > 0`
	var begins *time.Time
	if err := at.QueryRow(ctx, query).Scan(&begins); err != nil || begins == nil || !moment.Before(*begins) {
		return err
	}
	return noHistory("some of what was known has been collected: nothing certain can be said", moment, begins)
}

// buildAt moves a snapshot to the build that was active at a moment.
func buildAt(ctx context.Context, at snapshot, moment time.Time) (snapshot, error) {
	const query = `
		SELECT id, checksum, schema_version, engine, engine_version, built, sample,
		       greatest(0, extract(epoch FROM $1::timestamptz - built))::bigint AS age_seconds
		  FROM vuln_build WHERE activated_at <= $1 AND (retired_at IS NULL OR retired_at > $1)
		 ORDER BY id DESC LIMIT 1`
	const first = `SELECT min(activated_at) FROM vuln_build`
	type row struct {
		ID int64
		report.Build
	}
	found, err := at.Query(ctx, query, moment)
	if err != nil {
		return at, err
	}
	builds, err := pgx.CollectRows(found, func(r pgx.CollectableRow) (b row, err error) {
		err = r.Scan(&b.ID, &b.Checksum, &b.SchemaVersion, &b.Engine, &b.EngineVersion, &b.Built, &b.Sample, &b.AgeSeconds)
		return b, err
	})
	if err != nil {
		return at, err
	}
	if len(builds) == 0 {
		var since *time.Time
		if err := at.QueryRow(ctx, first).Scan(&since); err != nil {
			return at, err
		}
		return at, noHistory("no vulnerability database was active", moment, since)
	}
	b := builds[0].Build
	b.Built = b.Built.UTC()
	at.buildID, at.build = builds[0].ID, &b
	return at, nil
}

// noHistory says that something is only known since later.
func noHistory(what string, moment time.Time, since *time.Time) error {
	err := errs.New(errs.NotFound, "%s at %s", what, moment.UTC().Format(time.RFC3339)).WithField("as_of")
	if since == nil {
		return err
	}
	return err.WithHint("history begins at %s", since.UTC().Format(time.RFC3339))
}

// pastRoot is a manifest that a tag or digest stood for.
type pastRoot struct {
	digest   string
	since    *time.Time
	pointsTo string
	parts    []pastPart
}

// stoodFor finds the manifest that a target stood for: of a tag the newest that
// had its answer by then, or the one it pointed to when none had.
func stoodFor(ctx context.Context, at snapshot, repo repositoryRow, scope report.FindingScope) (pastRoot, error) {
	if scope.Digest != "" {
		return digestAt(ctx, at, repo, scope)
	}
	moves, err := movesUntil(ctx, at, repo, scope)
	if err != nil {
		return pastRoot{}, err
	}
	var first pastRoot
	for n, m := range moves {
		if m.Action == "deleted" {
			break // what it pointed to before stands for nothing
		}
		parts, err := partsAt(ctx, at, repo.ID, *m.ManifestID, scope.AsOf)
		if err != nil {
			return pastRoot{}, err
		}
		root := pastRoot{digest: m.Digest, since: &m.OccurredAt, parts: parts}
		if n == 0 {
			first = root
		}
		if answered(parts, scope.AsOf) {
			if n > 0 {
				root.pointsTo = first.digest
			}
			return root, nil
		}
	}
	return first, nil
}

// digestAt is a digest that the repository had by then.
func digestAt(ctx context.Context, at snapshot, repo repositoryRow, scope report.FindingScope) (pastRoot, error) {
	root, err := findRoot(ctx, at, repo.ID, scope.Target)
	switch {
	case err != nil:
		return pastRoot{}, err
	case root == nil:
		return pastRoot{}, errs.New(errs.NotFound, "nothing is known of %s in %.300q", scope.Digest, repo.fullName())
	case root.FirstSeen.After(scope.AsOf):
		return pastRoot{}, noHistory("the digest had not been seen", scope.AsOf, &root.FirstSeen)
	}
	parts, err := partsAt(ctx, at, repo.ID, root.ID, scope.AsOf)
	return pastRoot{digest: root.Digest, parts: parts}, err
}

type pastMove struct {
	Action     string
	ManifestID *int64 // nil for one that was collected
	Digest     string
	OccurredAt time.Time
}

// movesUntil lists the last moves of a tag before a moment, newest first, at least
// one and the first of them no deletion.
func movesUntil(ctx context.Context, at snapshot, repo repositoryRow, scope report.FindingScope) ([]pastMove, error) {
	const query = `
		SELECT e.action, e.manifest_id, COALESCE(m.digest, '') AS digest, e.occurred_at
		  FROM tag_event e LEFT JOIN manifest m ON m.id = e.manifest_id
		 WHERE e.repository_id = @repository AND e.tag = @tag AND e.occurred_at <= @moment
		 ORDER BY e.occurred_at DESC, e.id DESC LIMIT 20`
	const first = `SELECT min(occurred_at) FROM tag_event WHERE repository_id = $1 AND tag = $2`
	moves, err := rows[pastMove](ctx, at, query, pgx.NamedArgs{"repository": repo.ID, "tag": scope.Tag, "moment": scope.AsOf})
	if err != nil {
		return nil, err
	}
	if len(moves) == 0 {
		var since *time.Time
		if err := at.QueryRow(ctx, first, repo.ID, scope.Tag).Scan(&since); err != nil {
			return nil, err
		}
		if since == nil {
			return nil, errs.New(errs.NotFound, "tag %.200q was never seen in %.300q", scope.Tag, repo.fullName())
		}
		return nil, noHistory("the tag had not been seen", scope.AsOf, since)
	}
	newest := moves[0]
	switch {
	case newest.Action == "deleted":
		return nil, noHistory("the tag was deleted: it stood for nothing", scope.AsOf, nil)
	case newest.ManifestID == nil:
		return nil, noHistory("what the tag pointed to was collected since: nothing can be said of it", scope.AsOf, nil)
	}
	if n := slices.IndexFunc(moves, func(m pastMove) bool { return m.ManifestID == nil }); n > 0 {
		moves = moves[:n]
	}
	return moves, nil
}

// pastPart is an image behind a root as it was.
type pastPart struct {
	ManifestID   int64
	Digest       string
	Kind         string
	OS           string
	Architecture string
	Variant      string
	State        string // today's
	Reason       string
	Partial      string
	Presence     string
	Current      *int64     // its inventory today
	AnsweredAt   *time.Time // since when it has that
	Past         *int64     // the one it had, when that was another
	Replaced     bool       // it had another, which may have been collected
	NoData       []string   // of the build, for the inventory it had
	Covered      bool
}

// inventory is the one it had at the moment, nil when there was none.
func (p pastPart) inventory(moment time.Time) *int64 {
	if p.Current != nil && p.AnsweredAt != nil && !p.AnsweredAt.After(moment) {
		return p.Current
	}
	return p.Past
}

func (p pastPart) platform() report.Platform {
	return report.Platform{Digest: image.Digest(p.Digest), Kind: image.Kind(p.Kind), Platform: platformName(p.OS, p.Architecture, p.Variant),
		State: report.State(p.State), Reason: p.Reason, Presence: report.Presence(p.Presence), Partial: p.Partial}
}

// partsAt reads the images behind a manifest with what they were answered with.
func partsAt(ctx context.Context, at snapshot, repositoryID, root int64, moment time.Time) ([]pastPart, error) {
	const query = `
		WITH part AS (
			SELECT 0 AS position, m.id AS manifest_id FROM manifest m WHERE m.id = @root AND m.kind <> 'index'
			UNION ALL
			SELECT c.position, c.child_id FROM manifest_child c WHERE c.parent_id = @root
		), had AS (
			SELECT part.position, m.*, p.inventory_id AS past, p.manifest_id IS NOT NULL AS replaced,
			       COALESCE(m.answered_at, m.scanned_at) AS since,
			       CASE WHEN COALESCE(m.answered_at, m.scanned_at) <= @moment THEN m.inventory_id ELSE p.inventory_id END AS held
			  FROM part JOIN manifest m ON m.id = part.manifest_id
			  LEFT JOIN manifest_past p ON p.manifest_id = m.id AND p.since <= @moment AND p.until > @moment
		)
		SELECT h.id AS manifest_id, h.digest, h.kind, h.os, h.architecture, h.variant, h.state, h.reason, h.partial,
		       COALESCE(rm.presence, 'unseen') AS presence, h.inventory_id AS current, h.since AS answered_at, h.past, h.replaced,
		       COALESCE(n.no_data, '{}') AS no_data,
		       CASE WHEN n.no_data <> '{}' THEN inventory_covered(h.held, n.no_data) ELSE true END AS covered
		  FROM had h
		  LEFT JOIN repository_manifest rm ON rm.repository_id = @repository AND rm.manifest_id = h.id
		  LEFT JOIN inventory_summary s ON s.inventory_id = h.held
		 CROSS JOIN LATERAL (SELECT COALESCE((SELECT c.no_data FROM coverage_past c WHERE c.inventory_id = h.held AND c.until_build > @build
		                                       ORDER BY c.until_build LIMIT 1), s.no_data) AS no_data) n
		 ORDER BY h.position`
	return rows[pastPart](ctx, at, query, pgx.NamedArgs{"root": root, "repository": repositoryID, "moment": moment, "build": at.buildID})
}

// answered reports whether all parts that have an answer today had one, which may
// have been collected.
func answered(parts []pastPart, moment time.Time) bool {
	for _, p := range parts {
		if p.platform().Counted() && p.Current != nil && p.inventory(moment) == nil && !p.Replaced {
			return false
		}
	}
	return len(parts) > 0
}

// assessPast counts what the parts had under the snapshot's build, and says in
// words what nobody can tell any more.
func assessPast(ctx context.Context, at snapshot, parts []pastPart, scope report.FindingScope) (out foundScope, note string, err error) {
	groups := map[int64][]int64{}
	kept := parts[:0:0]
	for _, p := range parts {
		own, _ := image.ParsePlatform(p.platform().Platform)
		if !p.platform().Counted() || scope.Platform != (image.Platform{}) && !own.Matches(scope.Platform) {
			continue
		}
		kept = append(kept, p)
		id := p.inventory(scope.AsOf)
		if id == nil {
			if p.Replaced {
				note = "what was in an image of it was collected since"
			}
			continue
		}
		if groups[*id] == nil {
			groups[*id] = []int64{*id}
			out.inventories = append(out.inventories, *id)
		}
		out.images = append(out.images, scopeImage{ManifestID: p.ManifestID, InventoryID: *id, Digest: p.Digest, OS: p.OS,
			Architecture: p.Architecture, Variant: p.Variant, unplaced: p.Current == nil || *id != *p.Current})
	}
	if len(kept) == 0 && scope.Platform != (image.Platform{}) {
		return out, note, errs.New(errs.NotFound, "there is no image for %s", scope.Platform).WithField("platform")
	}
	return assessParts(ctx, at, out, kept, groups, scope.AsOf, note)
}

// union is the key of the group of all inventories; no inventory has it.
const union = 0

func assessParts(ctx context.Context, at snapshot, out foundScope, parts []pastPart, groups map[int64][]int64, moment time.Time, note string) (foundScope, string, error) {
	if len(out.inventories) > 0 {
		groups[union] = out.inventories
	}
	counts, err := countGroups(ctx, at, groups)
	if err != nil {
		return out, note, err
	}
	var all []report.Assessment
	for _, p := range parts {
		id := p.inventory(moment)
		if id == nil {
			state := report.State(p.State)
			if p.Current != nil && !p.Replaced {
				state = report.StateQueued // its answer came later
			}
			all = append(all, report.Assess(state, nil))
			continue
		}
		all = append(all, report.Assess(report.StateDone, &report.Judgement{Counts: counts[*id], NoData: p.NoData, Covered: p.Covered, Partial: p.Partial}))
	}
	var whole *report.Counts
	if c, ok := counts[union]; ok {
		whole, out.state = &c, report.StateDone
	}
	out.assessment = report.AssessAll(all, whole)
	return out, note, nil
}

// today hides what is only kept for the active build from findings of another.
func today(findings []report.Finding) {
	for i := range findings {
		findings[i].EPSS, findings[i].EPSSPercentile, findings[i].Risk = nil, nil, 0
	}
}
