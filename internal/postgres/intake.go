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
	Actor      string
	EventID    string
	OccurredAt time.Time // zero when the sender does not say
}

// Accepted counts what became of the deliveries of one request.
type Accepted struct {
	Scans, Joined, Ignored, Duplicates int
}

// Enqueue gives n workers a permit to take a scan, in the transaction that
// queued it.
type Enqueue = func(ctx context.Context, tx pgx.Tx, n int) error

// SyncRegistries makes sure that each configured registry has a row; hosts is
// by registry name. Registries that are no longer configured keep theirs.
func (s *Store) SyncRegistries(ctx context.Context, hosts map[string]string) error {
	const upsert = `
		INSERT INTO registry (name, host) VALUES ($1, $2)
		ON CONFLICT (name) DO UPDATE SET host = EXCLUDED.host WHERE registry.host <> EXCLUDED.host`
	return s.inTx(ctx, "sync registries", func(tx pgx.Tx) error {
		for name, host := range hosts {
			if _, err := tx.Exec(ctx, upsert, name, host); err != nil {
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
		registryID, err := registryID(ctx, tx, registry)
		if err != nil {
			return err
		}
		for _, d := range deliveries {
			if err := accept(ctx, tx, registryID, d, &done); err != nil {
				return err
			}
		}
		return enqueue(ctx, tx, done.Scans)
	})
	return done, err
}

func registryID(ctx context.Context, tx pgx.Tx, name string) (id int64, err error) {
	const query = `SELECT id FROM registry WHERE name = $1`
	err = tx.QueryRow(ctx, query, name).Scan(&id)
	return id, wrap("find registry "+name, err)
}

func accept(ctx context.Context, tx pgx.Tx, registryID int64, d Delivery, done *Accepted) error {
	id, fresh, err := insertDelivery(ctx, tx, registryID, d)
	switch {
	case err != nil:
		return err
	case !fresh:
		done.Duplicates++
		return nil
	case d.Ignored != "":
		done.Ignored++
		return nil
	}
	repositoryID, err := ensureRepository(ctx, tx, registryID, d.Repository)
	if err != nil {
		return err
	}
	cause := scan.CausePush
	if d.Action == "delete" {
		cause = scan.CauseDelete
	}
	scanID, inserted, err := queueScan(ctx, tx, repositoryID, d.Tag, d.Digest, cause, scan.PriorityPush)
	if err != nil {
		return err
	}
	if inserted {
		done.Scans++
	} else {
		done.Joined++
	}
	const link = `UPDATE delivery SET scan_id = $2 WHERE id = $1`
	_, err = tx.Exec(ctx, link, id, scanID)
	return err
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

// queueScan queues a scan of a target, or joins the one that waits already. A
// scan that is running does not count: the tag may have moved since it looked.
func queueScan(ctx context.Context, tx pgx.Tx, repositoryID int64, tag string, digest image.Digest, cause scan.Cause, priority int) (id int64, inserted bool, err error) {
	const insert = `
		INSERT INTO scan (repository_id, tag, digest, cause, priority)
		VALUES (@repository, @tag, @digest, @cause, @priority)
		ON CONFLICT (repository_id, tag, (CASE WHEN tag = '' THEN digest ELSE '' END)) WHERE state = 'queued'
		DO UPDATE SET digest = EXCLUDED.digest, cause = EXCLUDED.cause,
		              priority = greatest(scan.priority, EXCLUDED.priority),
		              run_after = least(scan.run_after, now())
		RETURNING id, xmax = 0`
	err = tx.QueryRow(ctx, insert, pgx.NamedArgs{
		"repository": repositoryID, "tag": tag, "digest": string(digest), "cause": string(cause), "priority": priority,
	}).Scan(&id, &inserted)
	return id, inserted, err
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
		var inserted bool
		id, inserted, err = queueScan(ctx, tx, repositoryID, ref.Tag, ref.Digest, scan.CauseRequest, scan.PriorityRequest)
		if err != nil || !inserted {
			return err
		}
		return enqueue(ctx, tx, 1)
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
		var inserted bool
		id, inserted, err = queueScan(ctx, tx, repositoryID, tag, digest, scan.CauseUpload, scan.PriorityRequest)
		if err != nil || !inserted {
			return err
		}
		return enqueue(ctx, tx, 1)
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
