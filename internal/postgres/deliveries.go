package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// Deliveries lists what senders told us, newest first. A limited reader does
// not see deliveries that name no repository. What names another registry's host
// (webhook.ReasonOtherRegistry) stands under that host, not under ours.
func (s *Store) Deliveries(ctx context.Context, access report.Access, filter report.DeliveryFilter, p report.Page) (report.List[report.Delivery], error) {
	const query = `
		SELECT d.id, g.name AS registry, d.received_at, d.verdict, d.reason, d.action, d.host AS named_host,
		       CASE WHEN r.name = '' THEN '' ELSE g.host || '/' || r.name END AS repository,
		       d.tag, d.digest, d.actor, d.event_id, d.occurred_at, d.scan_id, d.duplicates
		  FROM delivery d
		  JOIN registry own ON own.id = d.registry_id
		 CROSS JOIN LATERAL (SELECT own.name, CASE WHEN d.reason = 'other_registry' THEN d.host ELSE own.host END AS host) g
		 CROSS JOIN LATERAL (SELECT d.repository AS name) r
		 WHERE (NOT @after OR d.id < @id) AND (@verdict = '' OR d.verdict = @verdict)
		   AND (cardinality(@prefixes::text[]) = 0 OR r.name <> '') AND ` + visible
	const order = ` ORDER BY d.id DESC LIMIT @limit`
	const all = query + order
	// The number is looked up before, for the planner takes a rare registry by
	// its index only when it sees which one it is.
	const registry = `SELECT id FROM registry WHERE name = $1`
	const ofRegistry = query + ` AND d.registry_id = @registry` + order
	var out report.List[report.Delivery]
	var id int64
	after, err := report.DecodeCursor("deliveries", p.Cursor, &id)
	if err != nil {
		return out, err
	}
	args := pgx.NamedArgs{"prefixes": prefixes(access), "verdict": filter.Verdict, "after": after, "id": id, "limit": p.Size() + 1}
	err = s.read(ctx, "list deliveries", func(at snapshot) error {
		chosen := all
		if filter.Registry != "" {
			var number int64
			if err := at.QueryRow(ctx, registry, filter.Registry).Scan(&number); err != nil && !errors.Is(err, pgx.ErrNoRows) {
				return err
			}
			chosen, args["registry"] = ofRegistry, number
		}
		found, err := rows[deliveryRow](ctx, at, chosen, args)
		out = page(found, p.Size(), deliveryRow.report,
			func(r deliveryRow) string { return report.EncodeCursor("deliveries", r.ID) })
		return err
	})
	return out, err
}

type deliveryRow struct {
	ID         int64
	Registry   string
	ReceivedAt time.Time
	Verdict    string
	Reason     string
	Action     string
	NamedHost  string
	Repository string
	Tag        string
	Digest     string
	Actor      string
	EventID    string
	OccurredAt *time.Time
	ScanID     *int64
	Duplicates int
}

func (r deliveryRow) report() report.Delivery {
	return report.Delivery{
		ID: r.ID, Registry: r.Registry, ReceivedAt: r.ReceivedAt.UTC(), Verdict: r.Verdict, Reason: r.Reason, Action: r.Action,
		NamedHost: r.NamedHost, Repository: r.Repository, Tag: r.Tag, Digest: image.Digest(r.Digest), Actor: r.Actor, EventID: r.EventID,
		OccurredAt: utc(r.OccurredAt), ScanID: r.ScanID, Duplicates: r.Duplicates,
	}
}
