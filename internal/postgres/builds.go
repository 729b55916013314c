package postgres

import (
	"context"
	"encoding/json"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// buildColumns are those of a buildRow.
const buildColumns = `
		SELECT id, checksum, schema_version, engine, engine_version, built, sample,
		       greatest(0, extract(epoch FROM now() - built))::bigint AS age_seconds,
		       state, reason, source, created_at, held_at, released_at, activated_at, retired_at, report,
		       EXISTS (SELECT 1 FROM vuln_archive a WHERE a.checksum = b.checksum AND a.complete) AS shared
		  FROM vuln_build b`

// Builds returns the active database build, the newest of all, and the last look
// for a newer one.
func (s *Store) Builds(ctx context.Context) (report.Builds, error) {
	const query = buildColumns + ` ORDER BY state = 'active' DESC, id DESC LIMIT 20`
	out := report.Builds{Recent: []report.BuildState{}}
	err := s.read(ctx, "list builds", func(at snapshot) error {
		found, err := rows[buildRow](ctx, at, query, nil)
		for _, r := range found {
			b := r.report(false)
			if err == nil && b.State == "candidate" {
				b.Progress, err = buildProgress(ctx, at, r.ID)
			}
			if b.State == "active" {
				out.Active = &b
			}
			out.Recent = append(out.Recent, b)
		}
		return err
	})
	if err != nil {
		return out, err
	}
	check, err := s.BuildCheck(ctx)
	out.Check = check.report()
	return out, err
}

// Build returns the newest build of a database (report.Reader).
func (s *Store) Build(ctx context.Context, checksum string) (report.BuildState, error) {
	const query = buildColumns + ` WHERE checksum = @checksum ORDER BY id DESC LIMIT 1`
	var out report.BuildState
	name, err := s.buildName(ctx, checksum)
	if err != nil {
		return out, err
	}
	err = s.read(ctx, "read build", func(at snapshot) error {
		found, err := rows[buildRow](ctx, at, query, pgx.NamedArgs{"checksum": name})
		if err != nil || len(found) == 0 {
			return err
		}
		out = found[0].report(true)
		if out.State == "candidate" {
			out.Progress, err = buildProgress(ctx, at, found[0].ID)
		}
		return err
	})
	return out, err
}

// beginning is what a checksum may be shortened to.
var beginning = regexp.MustCompile(`^(?:sha256:)?([0-9a-f]{8,64})$`)

// buildName completes a checksum.
func (s *Store) buildName(ctx context.Context, checksum string) (string, error) {
	const query = `SELECT DISTINCT checksum FROM vuln_build WHERE checksum LIKE $1 || '%' LIMIT 2`
	m := beginning.FindStringSubmatch(checksum)
	if m == nil {
		return "", errs.New(errs.Invalid, "%.100q is not the checksum of a build, nor its first eight digits", checksum).WithField("checksum")
	}
	found, err := s.pool.Query(ctx, query, "sha256:"+m[1])
	if err != nil {
		return "", wrap("find build", err)
	}
	names, err := pgx.CollectRows(found, pgx.RowTo[string])
	switch {
	case err != nil:
		return "", wrap("find build", err)
	case len(names) == 0:
		return "", errs.New(errs.NotFound, "no build has the checksum %.80s", checksum).WithField("checksum").WithHint("GET /api/v1/vulndb lists the newest")
	case len(names) > 1:
		return "", errs.New(errs.Invalid, "several builds begin with %.80s", checksum).WithField("checksum").WithHint("give more of the checksum")
	}
	return names[0], nil
}

type buildRow struct {
	ID            int64
	Checksum      string
	SchemaVersion string
	Engine        string
	EngineVersion string
	Built         time.Time
	Sample        bool
	AgeSeconds    int64
	State         string
	Reason        string
	Source        string
	CreatedAt     time.Time
	HeldAt        *time.Time
	ReleasedAt    *time.Time
	ActivatedAt   *time.Time
	RetiredAt     *time.Time
	Report        []byte
	Shared        bool
}

func (r buildRow) report(scopes bool) report.BuildState {
	reason := r.Reason
	if r.State == "retired" && reason == "" {
		reason = "replaced"
	}
	return report.BuildState{
		Build: report.Build{
			Checksum: r.Checksum, SchemaVersion: r.SchemaVersion, Engine: r.Engine, EngineVersion: r.EngineVersion,
			Built: r.Built.UTC(), AgeSeconds: r.AgeSeconds, Sample: r.Sample,
		},
		State: r.State, Reason: reason, Source: publicSource(r.Source), CreatedAt: r.CreatedAt.UTC(), HeldAt: utc(r.HeldAt),
		ReleasedAt: utc(r.ReleasedAt), ActivatedAt: utc(r.ActivatedAt), RetiredAt: utc(r.RetiredAt), Shared: r.Shared,
		Changes: buildChanges(r.Report, scopes),
	}
}

// buildChanges reads the report of a build; nil without one, or when a version
// with another form wrote it.
func buildChanges(raw []byte, scopes bool) *report.BuildChanges {
	var found scan.BuildReport
	if len(raw) == 0 || json.Unmarshal(raw, &found) != nil {
		return nil
	}
	out := &report.BuildChanges{Everything: found.Everything, Names: found.Names, Records: found.Records, Packages: found.Packages}
	names := map[string]bool{}
	for name, m := range found.Matches {
		names[name] = true
		out.Matches.Before += m.Before
		out.Matches.Closed += m.Closed
		out.Matches.Opened += m.Opened
	}
	if !scopes {
		return out
	}
	for _, volume := range []scan.Volume{found.Before, found.After} {
		for name := range volume {
			names[name] = true
		}
	}
	out.Scopes = []report.BuildScope{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		out.Scopes = append(out.Scopes, report.BuildScope{
			Scope: name, Matches: report.MatchChange(found.Matches[name]),
			Records: report.RecordChange{Before: found.Before[name], After: found.After[name]},
		})
	}
	return out
}

// buildProgress says how far a candidate is. What it has to do is in tables that a
// crash of Postgres empties: then it waits until a process begins again.
func buildProgress(ctx context.Context, at snapshot, id int64) (*report.BuildProgress, error) {
	const query = `
		SELECT CASE r.stage WHEN 'judging' THEN 'judging' ELSE 'counting' END AS phase,
		       (SELECT count(*) FROM rematch_package) AS packages,
		       (SELECT count(*) FROM rematch_package t JOIN package p ON p.id = t.package_id WHERE p.judged_build = @id) AS judged
		  FROM rematch r WHERE r.build_id = @id`
	found, err := rows[struct {
		Phase            string
		Packages, Judged int64
	}](ctx, at, query, pgx.NamedArgs{"id": id})
	if err != nil || len(found) == 0 {
		return &report.BuildProgress{Phase: "waiting"}, err
	}
	p := report.BuildProgress{Phase: found[0].Phase, Judged: found[0].Judged, Packages: found[0].Packages, Percent: 100}
	if p.Packages > 0 {
		p.Percent = int(100 * p.Judged / p.Packages)
	}
	return &p, nil
}

// publicSource shows where a build came from without a credential that the URL
// of a mirror may carry, in user info or query.
func publicSource(source string) string {
	u, err := url.Parse(source)
	if err != nil {
		return ""
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}
