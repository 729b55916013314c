package postgres

import (
	"context"
	"net/url"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/report"
)

// Builds returns the active database build and the newest of all.
func (s *Store) Builds(ctx context.Context) (report.Builds, error) {
	const query = `
		SELECT checksum, schema_version, engine, engine_version, built, sample,
		       greatest(0, extract(epoch FROM now() - built))::bigint AS age_seconds,
		       state, source, created_at, activated_at, retired_at
		  FROM vuln_build
		 ORDER BY state = 'active' DESC, id DESC
		 LIMIT 20`
	out := report.Builds{Recent: []report.BuildState{}}
	err := s.read(ctx, "list builds", func(at snapshot) error {
		found, err := rows[buildRow](ctx, at, query, nil)
		for _, r := range found {
			b := r.report()
			if b.State == "active" {
				out.Active = &b
			}
			out.Recent = append(out.Recent, b)
		}
		return err
	})
	return out, err
}

type buildRow struct {
	Checksum      string
	SchemaVersion string
	Engine        string
	EngineVersion string
	Built         time.Time
	Sample        bool
	AgeSeconds    int64
	State         string
	Source        string
	CreatedAt     time.Time
	ActivatedAt   *time.Time
	RetiredAt     *time.Time
}

func (r buildRow) report() report.BuildState {
	return report.BuildState{
		Build: report.Build{
			Checksum: r.Checksum, SchemaVersion: r.SchemaVersion, Engine: r.Engine, EngineVersion: r.EngineVersion,
			Built: r.Built.UTC(), AgeSeconds: r.AgeSeconds, Sample: r.Sample,
		},
		State: r.State, Source: publicSource(r.Source), CreatedAt: r.CreatedAt.UTC(),
		ActivatedAt: utc(r.ActivatedAt), RetiredAt: utc(r.RetiredAt),
	}
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
