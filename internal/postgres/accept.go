package postgres

import (
	"cmp"
	"context"
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

// Request is the deliveries of one webhook request.
type Request struct {
	Registry   string // the configured name
	Deliveries []Delivery
	// Trace is what telemetry.TraceParent says of the request; empty for none.
	Trace string
}

// Accept records the deliveries of one request; see AcceptAll.
func (s *Store) Accept(ctx context.Context, registry string, deliveries []Delivery, enqueue Enqueue) (Accepted, error) {
	return s.AcceptAll(ctx, []Request{{Registry: registry, Deliveries: deliveries}}, enqueue)
}

// AcceptAll records the deliveries of requests and queues a scan for each that
// asks for one, all in one transaction: once it returns nil, nothing is lost. A
// delivery that came before is only counted. Many requests cost hardly more
// turns with the database than one, and one commit.
func (s *Store) AcceptAll(ctx context.Context, requests []Request, enqueue Enqueue) (Accepted, error) {
	// One order for all, so that two transactions that name the same targets wait
	// for each other instead of deadlocking. Events of one target keep theirs.
	var all []arrival
	for _, r := range requests {
		for _, d := range r.Deliveries {
			all = append(all, arrival{Delivery: d, registry: r.Registry, trace: r.Trace})
		}
	}
	slices.SortStableFunc(all, func(a, b arrival) int {
		return cmp.Or(cmp.Compare(a.registry, b.registry), cmp.Compare(a.Repository, b.Repository),
			cmp.Compare(a.Tag, b.Tag), cmp.Compare(a.Digest, b.Digest))
	})
	var done Accepted
	err := s.inTxAgain(ctx, "accept deliveries", func(tx pgx.Tx) (err error) {
		a := acceptance{tx: tx, registries: map[string]int64{}, repositories: map[repositoryName]int64{}}
		if err := a.record(ctx, slices.Clone(all)); err != nil {
			return err
		}
		done = a.done
		return enqueue(ctx, tx, a.permits)
	})
	return done, err
}

// arrival is a delivery on its way into the store.
type arrival struct {
	Delivery
	registry string
	trace    string
	id       int64
	fresh    bool
	scan     queued
}

type repositoryName struct{ registry, name string }

// acceptance is one transaction that accepts.
type acceptance struct {
	tx           pgx.Tx
	registries   map[string]int64
	repositories map[repositoryName]int64
	done         Accepted
	permits      int
}

// record writes arrivals step by step, each step for all of them at once.
func (a *acceptance) record(ctx context.Context, all []arrival) error {
	if err := a.findRegistries(ctx, all); err != nil {
		return err
	}
	if err := a.insertDeliveries(ctx, all); err != nil {
		return err
	}
	var wanted []*arrival
	for i := range all {
		switch {
		case !all[i].fresh:
			a.done.Duplicates++
		case all[i].Ignored != "":
			a.done.Ignored++
		default:
			wanted = append(wanted, &all[i])
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	if err := a.findRepositories(ctx, wanted); err != nil {
		return err
	}
	if err := a.queueScans(ctx, wanted); err != nil {
		return err
	}
	return a.link(ctx, wanted)
}

func (a *acceptance) findRegistries(ctx context.Context, all []arrival) (err error) {
	for _, d := range all {
		if _, known := a.registries[d.registry]; !known {
			if a.registries[d.registry], err = registryID(ctx, a.tx, d.registry); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *acceptance) insertDeliveries(ctx context.Context, all []arrival) error {
	const insert = `
		INSERT INTO delivery (registry_id, dedupe_key, verdict, reason, action, host, repository, tag, digest, actor, event_id, occurred_at)
		VALUES (@registry, @key, CASE WHEN @reason = '' THEN 'accepted' ELSE 'ignored' END, @reason, @action,
		        @host, @repository, @tag, @digest, @actor, @event, @occurred)
		ON CONFLICT (registry_id, dedupe_key) DO UPDATE SET duplicates = delivery.duplicates + 1
		RETURNING id, duplicates = 0`
	var batch pgx.Batch
	for i := range all {
		d := &all[i]
		var occurred *time.Time
		if !d.OccurredAt.IsZero() {
			occurred = &d.OccurredAt
		}
		batch.Queue(insert, pgx.NamedArgs{
			"registry": a.registries[d.registry], "key": d.DedupeKey, "reason": d.Ignored, "action": d.Action,
			"host": d.Host, "repository": d.Repository, "tag": d.Tag, "digest": string(d.Digest), "actor": d.Actor,
			"event": d.EventID, "occurred": occurred,
		}).QueryRow(func(row pgx.Row) error { return row.Scan(&d.id, &d.fresh) })
	}
	return a.tx.SendBatch(ctx, &batch).Close()
}

// findRepositories looks all repositories up at once and makes those that are
// new, which is rare.
func (a *acceptance) findRepositories(ctx context.Context, wanted []*arrival) error {
	const query = `
		SELECT u.registry, r.name, r.id FROM unnest(@registries::text[], @ids::bigint[], @names::text[]) u (registry, id, name)
		  JOIN repository r ON r.registry_id = u.id AND r.name = u.name`
	var registries, names []string
	var ids []int64
	for _, d := range wanted {
		key := repositoryName{d.registry, d.Repository}
		if _, seen := a.repositories[key]; !seen {
			a.repositories[key] = 0
			registries, ids, names = append(registries, d.registry), append(ids, a.registries[d.registry]), append(names, d.Repository)
		}
	}
	rows, err := a.tx.Query(ctx, query, pgx.NamedArgs{"registries": registries, "ids": ids, "names": names})
	if err != nil {
		return err
	}
	var key repositoryName
	var id int64
	if _, err := pgx.ForEachRow(rows, []any{&key.registry, &key.name, &id}, func() error {
		a.repositories[key] = id
		return nil
	}); err != nil {
		return err
	}
	for i, name := range names { // in the order of the arrivals
		key := repositoryName{registries[i], name}
		if a.repositories[key] == 0 {
			if a.repositories[key], err = ensureRepository(ctx, a.tx, ids[i], name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *acceptance) queueScans(ctx context.Context, wanted []*arrival) error {
	var batch pgx.Batch
	for _, d := range wanted {
		o := order{
			registry: a.registries[d.registry], repository: a.repositories[repositoryName{d.registry, d.Repository}],
			tag: d.Tag, digest: d.Digest, cause: scan.CausePush, priority: scan.PriorityPush, hold: d.Hold, trace: d.trace,
		}
		if d.Action == "delete" {
			o.cause = scan.CauseDelete
		}
		if d.ByDigest {
			o.tag = ""
		}
		batch.Queue(queueScanStatement, o.args()).QueryRow(func(row pgx.Row) (err error) {
			d.scan, err = o.read(row)
			return err
		})
	}
	if err := a.tx.SendBatch(ctx, &batch).Close(); err != nil {
		return err
	}
	for _, d := range wanted {
		a.permits += d.scan.due
		if d.scan.fresh {
			a.done.Scans++
		} else {
			a.done.Joined++
		}
	}
	return nil
}

// link notes which scan each delivery asked for.
func (a *acceptance) link(ctx context.Context, wanted []*arrival) error {
	const link = `UPDATE delivery SET scan_id = u.scan FROM unnest($1::bigint[], $2::bigint[]) u (id, scan) WHERE delivery.id = u.id`
	ids, scans := make([]int64, len(wanted)), make([]int64, len(wanted))
	for i, d := range wanted {
		ids[i], scans[i] = d.id, d.scan.id
	}
	_, err := a.tx.Exec(ctx, link, ids, scans)
	return err
}
