package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

var _ report.Reader = (*Store)(nil)

// snapshot is one moment of the database: everything read through it belongs
// together, under one build.
type snapshot struct {
	pgx.Tx
	codec
	buildID int64         // 0 before the first build: no row is open then
	build   *report.Build // nil before the first build
	// countedSince is the oldest build whose counts hold under this one.
	countedSince int64
}

// begin opens a transaction that sees one moment. The queries take lists whose
// length decides how to go about them, so each is planned for its own; compiling
// them costs more than it gives; and what a page sorts should not touch the disk.
const begin = `
	BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
	SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL jit = off; SET LOCAL work_mem = '32MB'`

// read runs work on one moment of the database.
func (s *Store) read(ctx context.Context, op string, work func(snapshot) error) error {
	const active = `
		SELECT id, checksum, schema_version, engine, engine_version, built, sample,
		       greatest(0, extract(epoch FROM now() - built))::bigint AS age_seconds, COALESCE(counted_since, id)
		  FROM vuln_build WHERE state = 'active' ORDER BY id DESC LIMIT 1`
	return wrap(op, pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{BeginQuery: begin}, func(tx pgx.Tx) error {
		at := snapshot{Tx: tx, codec: s.codec}
		var b report.Build
		err := tx.QueryRow(ctx, active).Scan(&at.buildID, &b.Checksum, &b.SchemaVersion, &b.Engine, &b.EngineVersion, &b.Built, &b.Sample, &b.AgeSeconds, &at.countedSince)
		switch {
		case err == nil:
			b.Built = b.Built.UTC()
			at.build = &b
		case !errors.Is(err, pgx.ErrNoRows):
			return err
		}
		return work(at)
	}))
}

// rows runs a query and collects its rows into structs by column name.
func rows[T any](ctx context.Context, tx pgx.Tx, query string, args pgx.NamedArgs) ([]T, error) {
	found, err := tx.Query(ctx, query, args)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(found, pgx.RowToStructByName[T])
}

// visible is the condition that lets a reader see a repository r of a registry
// g; report.Access.Sees states the same. It needs the argument prefixes.
const visible = `(cardinality(@prefixes::text[]) = 0 OR EXISTS (
	SELECT 1 FROM unnest(@prefixes::text[]) AS p (prefix)
	 WHERE starts_with(g.host || '/' || r.name || '/', rtrim(p.prefix, '/') || '/')))`

// standing is the condition that the view live_image lists a manifest m of a
// repository_manifest rm: to ask it of single images is cheaper than to list the
// view, which has a row for every tag.
const standing = `m.kind IN ('image', 'sbom') AND rm.presence <> 'excluded' AND (
	EXISTS (SELECT 1 FROM standing_tag t WHERE t.repository_id = rm.repository_id AND t.manifest_id = m.id)
	OR EXISTS (SELECT 1 FROM manifest_child c JOIN standing_tag t ON t.repository_id = rm.repository_id AND t.manifest_id = c.parent_id
	            WHERE c.child_id = m.id))`

// prefixes is the argument of visible. It is never nil: NULL would hide all.
func prefixes(a report.Access) []string { return append([]string{}, a.Prefixes...) }

// repositoryRow is a repository that the reader may see.
type repositoryRow struct {
	ID       int64
	Registry string
	Host     string
	Name     string
}

func (r repositoryRow) fullName() string { return r.Host + "/" + r.Name }

// repository finds a repository. The error is of kind NotFound when there is
// none or the reader may not see it.
func repository(ctx context.Context, tx pgx.Tx, access report.Access, ref report.RepositoryRef) (repositoryRow, error) {
	const query = `
		SELECT r.id, g.name AS registry, g.host, r.name
		  FROM registry g JOIN repository r ON r.registry_id = g.id
		 WHERE g.name = @registry AND r.name = @name AND ` + visible
	found, err := rows[repositoryRow](ctx, tx, query, pgx.NamedArgs{"registry": ref.Registry, "name": ref.Name, "prefixes": prefixes(access)})
	if err != nil {
		return repositoryRow{}, err
	}
	if len(found) == 0 {
		return repositoryRow{}, errs.New(errs.NotFound, "no repository %.300q is known", ref.Name).
			WithHint("a repository appears with its first push or scan; `tidewaiter request` or POST /api/v1/scans asks for one")
	}
	return found[0], nil
}

// page cuts a listing that was read with one item more than the page holds, and
// makes the cursor of the next page from the last item that stays.
func page[R, T any](found []R, size int, item func(R) T, cursor func(R) string) report.List[T] {
	list := report.List[T]{Items: make([]T, 0, min(len(found), size))}
	if len(found) > size {
		found = found[:size]
		list.NextCursor = cursor(found[size-1])
	}
	for _, r := range found {
		list.Items = append(list.Items, item(r))
	}
	return list
}

// utc shows a time as the API does; nil stays nil.
func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC()
	return &u
}

func platformName(os, architecture, variant string) string {
	return image.Platform{OS: os, Architecture: architecture, Variant: variant}.String()
}
