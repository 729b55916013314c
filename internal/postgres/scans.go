package postgres

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// stateColumns select a scanStateRow of a scan s.
const stateColumns = `s.id, s.state, s.reason, s.detail, COALESCE(s.canceled_by, '') AS canceled_by, s.created_at,` + progressColumns

// scanColumns selects a scanRow; it needs the argument prefixes.
const scanColumns = `
	SELECT ` + stateColumns + `, g.name AS registry, g.host || '/' || r.name AS repository,
	       s.tag, s.digest, s.cause, s.priority, s.attempt, COALESCE(m.digest, '') AS resolved, s.run_after, s.started_at,
	       s.finished_at, s.phases, s.pulled_bytes
	  FROM scan s
	  JOIN repository r ON r.id = s.repository_id
	  JOIN registry g ON g.id = r.registry_id
	  LEFT JOIN manifest m ON m.id = s.manifest_id
	 WHERE ` + visible

// Scans lists scans, newest first.
func (s *Store) Scans(ctx context.Context, access report.Access, filter report.ScanFilter, p report.Page) (report.List[report.Scan], error) {
	const order = ` AND (NOT @after OR s.id < @id) ORDER BY s.id DESC LIMIT @limit`
	const all = scanColumns + order
	const inState = scanColumns + ` AND s.state = @state` + order // failed and canceled have an index
	const ofRepository = scanColumns + ` AND s.repository_id = @repository AND (@state = '' OR s.state = @state)` + order
	var out report.List[report.Scan]
	var id int64
	after, err := report.DecodeCursor("scans", p.Cursor, &id)
	if err != nil {
		return out, err
	}
	args := pgx.NamedArgs{"prefixes": prefixes(access), "state": string(filter.State), "after": after, "id": id, "limit": p.Size() + 1}
	err = s.read(ctx, "list scans", func(at snapshot) error {
		query := all
		if filter.State != "" {
			query = inState
		}
		if filter.Repository != nil {
			repo, err := repository(ctx, at, access, *filter.Repository)
			if err != nil {
				return err
			}
			query, args["repository"] = ofRepository, repo.ID
		}
		found, err := rows[scanRow](ctx, at, query, args)
		if err != nil {
			return err
		}
		scans, err := reportScans(found)
		out = page(scans, p.Size(), func(r report.Scan) report.Scan { return r },
			func(r report.Scan) string { return report.EncodeCursor("scans", r.ID) })
		return err
	})
	return out, err
}

// Scan returns one scan.
func (s *Store) Scan(ctx context.Context, access report.Access, id int64) (report.Scan, error) {
	const query = scanColumns + ` AND s.id = @id`
	var out report.Scan
	err := s.read(ctx, "read scan", func(at snapshot) error {
		found, err := rows[scanRow](ctx, at, query, pgx.NamedArgs{"prefixes": prefixes(access), "id": id})
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return noScan(id)
		}
		out, err = found[0].report()
		return err
	})
	return out, err
}

type scanStateRow struct {
	ID         int64
	State      string
	Reason     string
	Detail     string
	CanceledBy string
	CreatedAt  time.Time
	Progress   []byte
	ProgressAt *time.Time
}

func (r scanStateRow) report() (report.ScanState, error) {
	progress, err := reportProgress(r.Progress, r.ProgressAt)
	return report.ScanState{
		ID: r.ID, State: report.RunState(r.State), Reason: r.Reason, Detail: r.Detail, CanceledBy: r.CanceledBy,
		CreatedAt: r.CreatedAt.UTC(), Progress: progress,
	}, err
}

type scanRow struct {
	scanStateRow
	Registry    string
	Repository  string
	Tag         string
	Digest      string
	Cause       string
	Priority    int
	Attempt     int
	Resolved    string
	RunAfter    time.Time
	StartedAt   *time.Time
	FinishedAt  *time.Time
	Phases      []byte
	PulledBytes int64
}

func reportScans(found []scanRow) ([]report.Scan, error) {
	out := make([]report.Scan, 0, len(found))
	for _, r := range found {
		one, err := r.report()
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

func (r scanRow) report() (report.Scan, error) {
	state, err := r.scanStateRow.report()
	if err != nil {
		return report.Scan{}, err
	}
	phases, err := reportPhases(r.Phases)
	return report.Scan{
		ScanState: state, Registry: r.Registry, Repository: r.Repository, Tag: r.Tag, Digest: image.Digest(r.Digest),
		Cause: r.Cause, Lane: scan.Lane(r.Priority), Attempt: r.Attempt, Resolved: image.Digest(r.Resolved),
		RunAfter: r.RunAfter.UTC(), StartedAt: utc(r.StartedAt), FinishedAt: utc(r.FinishedAt),
		Phases: phases, PulledBytes: r.PulledBytes,
	}, err
}

// reportPhases reads the phases as scan.Phase writes them.
func reportPhases(stored []byte) ([]report.Phase, error) {
	var phases []struct {
		Name     string        `json:"name"`
		Platform string        `json:"platform"`
		Duration time.Duration `json:"duration_ns"`
		Bytes    int64         `json:"bytes"`
	}
	if err := json.Unmarshal(stored, &phases); err != nil {
		return nil, errs.Wrap(errs.Internal, "postgres: decode phases", err)
	}
	out := make([]report.Phase, len(phases))
	for i, p := range phases {
		out[i] = report.Phase{Name: p.Name, Platform: p.Platform, Seconds: p.Duration.Seconds(), Bytes: p.Bytes}
	}
	return out, nil
}
