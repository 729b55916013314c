package postgres

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// Delivery is one event of a webhook as it is recorded.
type Delivery struct {
	DedupeKey string
	// Ignored is why nothing is done about it; empty when it is accepted.
	Ignored    string
	Action     string // "push" or "delete"
	Host       string // as the event named it; empty when it named none
	Repository string
	Tag        string
	Digest     image.Digest
	// ByDigest is set when the registry does not show the tag yet: the scan it asks
	// for is one of the digest.
	ByDigest   bool
	Actor      string
	EventID    string
	OccurredAt time.Time // zero when the sender does not say
	// Hold is how long the scan it asks for waits before it joins the line.
	Hold time.Duration
}

// Accepted counts what became of the deliveries of one request.
type Accepted struct {
	Scans, Joined, Ignored, Duplicates int
}

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

// Accept records the deliveries of one request and queues a scan for each that
// asks for one, all in one transaction: once it returns nil, nothing is lost.
// A delivery that came before is only counted.
func (s *Store) Accept(ctx context.Context, registry string, deliveries []Delivery, enqueue Enqueue) (Accepted, error) {
	// One order for all requests, so that two that name the same targets wait for
	// each other instead of deadlocking. Events of one target keep theirs.
	deliveries = slices.Clone(deliveries)
	slices.SortStableFunc(deliveries, func(a, b Delivery) int {
		return cmp.Or(cmp.Compare(a.Repository, b.Repository), cmp.Compare(a.Tag, b.Tag), cmp.Compare(a.Digest, b.Digest))
	})
	var done Accepted
	err := s.inTxAgain(ctx, "accept deliveries", func(tx pgx.Tx) error {
		done = Accepted{}
		permits := 0
		registryID, err := registryID(ctx, tx, registry)
		if err != nil {
			return err
		}
		for _, d := range deliveries {
			due, err := accept(ctx, tx, registryID, d, &done)
			if err != nil {
				return err
			}
			permits += due
		}
		return enqueue(ctx, tx, permits)
	})
	return done, err
}

func registryID(ctx context.Context, tx pgx.Tx, name string) (id int64, err error) {
	const query = `SELECT id FROM registry WHERE name = $1`
	err = tx.QueryRow(ctx, query, name).Scan(&id)
	return id, wrap("find registry "+name, err)
}

// accept records one delivery and returns how many scans came into the line by
// it.
func accept(ctx context.Context, tx pgx.Tx, registryID int64, d Delivery, done *Accepted) (due int, err error) {
	const link = `UPDATE delivery SET scan_id = $2 WHERE id = $1`
	id, fresh, err := insertDelivery(ctx, tx, registryID, d)
	switch {
	case err != nil:
		return 0, err
	case !fresh:
		done.Duplicates++
		return 0, nil
	case d.Ignored != "":
		done.Ignored++
		return 0, nil
	}
	repositoryID, err := ensureRepository(ctx, tx, registryID, d.Repository)
	if err != nil {
		return 0, err
	}
	wanted := order{registry: registryID, repository: repositoryID, tag: d.Tag, digest: d.Digest,
		cause: scan.CausePush, priority: scan.PriorityPush, hold: d.Hold}
	if d.Action == "delete" {
		wanted.cause = scan.CauseDelete
	}
	if d.ByDigest {
		wanted.tag = ""
	}
	got, err := queueScan(ctx, tx, wanted)
	if err != nil {
		return 0, err
	}
	if got.fresh {
		done.Scans++
	} else {
		done.Joined++
	}
	_, err = tx.Exec(ctx, link, id, got.id)
	return got.due, err
}

func insertDelivery(ctx context.Context, tx pgx.Tx, registryID int64, d Delivery) (id int64, fresh bool, err error) {
	const insert = `
		INSERT INTO delivery (registry_id, dedupe_key, verdict, reason, action, host, repository, tag, digest, actor, event_id, occurred_at)
		VALUES (@registry, @key, CASE WHEN @reason = '' THEN 'accepted' ELSE 'ignored' END, @reason, @action,
		        @host, @repository, @tag, @digest, @actor, @event, @occurred)
		ON CONFLICT (registry_id, dedupe_key) DO UPDATE SET duplicates = delivery.duplicates + 1
		RETURNING id, duplicates = 0`
	var occurred *time.Time
	if !d.OccurredAt.IsZero() {
		occurred = &d.OccurredAt
	}
	err = tx.QueryRow(ctx, insert, pgx.NamedArgs{
		"registry": registryID, "key": d.DedupeKey, "reason": d.Ignored, "action": d.Action,
		"host": d.Host, "repository": d.Repository, "tag": d.Tag, "digest": string(d.Digest), "actor": d.Actor,
		"event": d.EventID, "occurred": occurred,
	}).Scan(&id, &fresh)
	return id, fresh, err
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
	err = s.inTx(ctx, "request scan", func(tx pgx.Tx) error {
		registryID, err := registryID(ctx, tx, registry)
		if err != nil {
			return err
		}
		repositoryID, err := ensureRepository(ctx, tx, registryID, ref.Repository)
		if err != nil {
			return err
		}
		got, err := queueScan(ctx, tx, order{registry: registryID, repository: repositoryID, tag: ref.Tag, digest: ref.Digest,
			cause: scan.CauseRequest, priority: scan.PriorityRequest})
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
	const keep = `INSERT INTO sbom_upload (digest, document) VALUES ($1, $2) ON CONFLICT DO NOTHING`
	packed := s.pack(document)
	err = s.inTx(ctx, "save upload", func(tx pgx.Tx) error {
		registryID, err := registryID(ctx, tx, registry)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, keep, string(digest), packed); err != nil {
			return err
		}
		repositoryID, err := ensureRepository(ctx, tx, registryID, repository)
		if err != nil {
			return err
		}
		got, err := queueScan(ctx, tx, order{registry: registryID, repository: repositoryID, tag: tag, digest: digest,
			cause: scan.CauseUpload, priority: scan.PriorityRequest})
		if err != nil {
			return err
		}
		id = got.id
		return enqueue(ctx, tx, got.due)
	})
	return id, err
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
