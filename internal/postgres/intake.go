package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/telemetry"
)

// Enqueue gives n workers a permit to take a scan, in the transaction that
// queued it.
type Enqueue = func(ctx context.Context, tx pgx.Tx, n int) error

// Registry is a configured registry as the store knows it.
type Registry struct {
	Name string
	Host string // canonical
	// MaxRunning is how many of its scans run at once, over all processes; zero
	// for no limit.
	MaxRunning int
}

// SyncRegistries makes sure that each configured registry has a row. Registries
// that are no longer configured keep theirs.
func (s *Store) SyncRegistries(ctx context.Context, registries []Registry) error {
	const upsert = `
		INSERT INTO registry (name, host, max_running) VALUES ($1, $2, NULLIF($3, 0))
		ON CONFLICT (name) DO UPDATE SET host = EXCLUDED.host, max_running = EXCLUDED.max_running
		WHERE (registry.host, registry.max_running) IS DISTINCT FROM (EXCLUDED.host, EXCLUDED.max_running)`
	return s.inTx(ctx, "sync registries", func(tx pgx.Tx) error {
		for _, r := range registries {
			if _, err := tx.Exec(ctx, upsert, r.Name, r.Host, r.MaxRunning); err != nil {
				return err
			}
		}
		return nil
	})
}

func registryID(ctx context.Context, tx pgx.Tx, name string) (id int64, err error) {
	const query = `SELECT id FROM registry WHERE name = $1`
	err = tx.QueryRow(ctx, query, name).Scan(&id)
	return id, wrap("find registry "+name, err)
}

func ensureRepository(ctx context.Context, tx pgx.Tx, registryID int64, name string) (id int64, err error) {
	const insert = `INSERT INTO repository (registry_id, name) VALUES ($1, $2) ON CONFLICT DO NOTHING`
	const query = `SELECT id FROM repository WHERE registry_id = $1 AND name = $2`
	err = tx.QueryRow(ctx, query, registryID, name).Scan(&id)
	if !errors.Is(err, pgx.ErrNoRows) {
		return id, err
	}
	if _, err := tx.Exec(ctx, insert, registryID, name); err != nil {
		return 0, err
	}
	err = tx.QueryRow(ctx, query, registryID, name).Scan(&id)
	return id, err
}

// RequestScan queues a scan that somebody waits for, ahead of pushes.
func (s *Store) RequestScan(ctx context.Context, registry string, ref image.Reference, enqueue Enqueue) (id int64, err error) {
	err = s.inTxAgain(ctx, "request scan", func(tx pgx.Tx) error {
		registryID, err := registryID(ctx, tx, registry)
		if err != nil {
			return err
		}
		repositoryID, err := ensureRepository(ctx, tx, registryID, ref.Repository)
		if err != nil {
			return err
		}
		got, err := queueScan(ctx, tx, order{registry: registryID, repository: repositoryID, tag: ref.Tag, digest: ref.Digest,
			cause: scan.CauseRequest, priority: scan.PriorityRequest, trace: telemetry.TraceParent(ctx)})
		if err != nil {
			return err
		}
		id = got.id
		return enqueue(ctx, tx, got.due)
	})
	return id, err
}

// SaveUpload keeps a document that came in place of an image and queues its
// judgement under repository:tag of the registry.
func (s *Store) SaveUpload(ctx context.Context, registry, repository, tag string, digest image.Digest, document []byte, enqueue Enqueue) (id int64, err error) {
	packed := s.pack(document)
	err = s.inTxAgain(ctx, "save upload", func(tx pgx.Tx) error {
		registryID, err := registryID(ctx, tx, registry)
		if err != nil {
			return err
		}
		if err := keepUpload(ctx, tx, digest, packed); err != nil {
			return err
		}
		repositoryID, err := ensureRepository(ctx, tx, registryID, repository)
		if err != nil {
			return err
		}
		got, err := queueScan(ctx, tx, order{registry: registryID, repository: repositoryID, tag: tag, digest: digest,
			cause: scan.CauseUpload, priority: scan.PriorityRequest, trace: telemetry.TraceParent(ctx)})
		if err != nil {
			return err
		}
		id = got.id
		return enqueue(ctx, tx, got.due)
	})
	return id, err
}

// keepUpload adds a document unless it is there, and locks it against collection
// until the commit.
func keepUpload(ctx context.Context, tx pgx.Tx, digest image.Digest, packed []byte) error {
	const keep = `INSERT INTO sbom_upload (digest, document) VALUES ($1, $2) ON CONFLICT DO NOTHING`
	const lock = `SELECT 1 FROM sbom_upload WHERE digest = $1 FOR KEY SHARE`
	for { // again when it was collected in between
		if _, err := tx.Exec(ctx, keep, string(digest), packed); err != nil {
			return err
		}
		var one int
		if err := tx.QueryRow(ctx, lock, string(digest)).Scan(&one); !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
	}
}

// Upload reads a document that was uploaded in place of an image.
func (s *Store) Upload(ctx context.Context, digest image.Digest) ([]byte, error) {
	const query = `SELECT document FROM sbom_upload WHERE digest = $1`
	var packed []byte
	if err := s.pool.QueryRow(ctx, query, string(digest)).Scan(&packed); err != nil {
		return nil, wrap("read upload", err)
	}
	return s.unpack(packed)
}
