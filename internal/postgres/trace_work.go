package postgres

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/report"
)

// findScan reads the newest scan of the target whole. A manifest that no scan of
// its own looked at was looked at with an index that holds it.
func (t *traceReader) findScan(ctx context.Context) error {
	const byID = scanColumns + ` AND s.id = @id`
	const ofIndexes = scanColumns + `
		AND s.repository_id = @repository AND s.manifest_id IN (SELECT id FROM manifest WHERE digest = ANY (@parents))
		ORDER BY s.id DESC LIMIT 1`
	args := pgx.NamedArgs{"prefixes": prefixes(t.access)}
	query := byID
	switch {
	case t.facts.Scan != nil:
		args["id"] = t.facts.Scan.ID
	case len(t.parents) > 0:
		query, args["repository"], args["parents"] = ofIndexes, t.repository, t.parents
	default:
		return nil
	}
	found, err := rows[scanRow](ctx, t.at, query, args)
	if err != nil || len(found) == 0 {
		return err
	}
	s, err := found[0].report()
	t.facts.Scan = &s
	return err
}

// findQueue tells where a scan that is not over stands.
func (t *traceReader) findQueue(ctx context.Context) error {
	const query = `
		SELECT s.turn IS NOT NULL AS in_line, g.max_running,
		       (SELECT count(*) FROM (
		            SELECT 1 FROM scan o WHERE o.registry_id = s.registry_id AND o.state = 'queued' AND o.turn IS NOT NULL
		               AND (o.priority > s.priority OR o.priority = s.priority AND (o.turn, o.id) < (s.turn, s.id)) LIMIT @most) b) AS before,
		       (SELECT count(*) FROM scan o JOIN repository p ON p.id = o.repository_id
		         WHERE o.state = 'running' AND p.registry_id = g.id) AS running,
		       EXISTS (SELECT 1 FROM scan o WHERE o.state = 'running' AND o.id <> s.id AND o.repository_id = s.repository_id
		                  AND o.tag = s.tag AND (s.tag <> '' OR o.digest = s.digest)) AS busy,
		       (SELECT o.started_at FROM scan o WHERE o.registry_id = g.id AND o.started_at IS NOT NULL
		         ORDER BY o.started_at DESC LIMIT 1) AS last_started,
		       ARRAY(SELECT concat_ws('/', NULLIF(m.os, ''), NULLIF(m.architecture, ''), NULLIF(m.variant, ''))
		               FROM manifest m WHERE m.lease_token = s.lease_token ORDER BY m.id) AS cataloguing
		  FROM scan s JOIN repository r ON r.id = s.repository_id JOIN registry g ON g.id = r.registry_id
		 WHERE s.id = @id`
	if t.facts.Scan == nil || t.facts.Scan.State.Final() {
		return nil
	}
	found, err := rows[report.QueuePlace](ctx, t.at, query, pgx.NamedArgs{"id": t.facts.Scan.ID, "most": report.MaxBefore})
	for _, q := range found {
		q.LastStarted = utc(q.LastStarted)
		t.facts.Queue = &q
	}
	return err
}

// deliveryColumns selects a deliveryRow of delivery d and registry g.
const deliveryColumns = `
	SELECT d.id, g.name AS registry, d.received_at, d.verdict, d.reason, d.action, d.host AS named_host,
	       g.host || '/' || d.repository AS repository, d.tag, d.digest, d.actor, d.event_id, d.occurred_at, d.scan_id, d.duplicates
	  FROM delivery d JOIN registry g ON g.id = d.registry_id
	 WHERE d.repository = @name`

// findDeliveries reads what senders told of the target, of its neighbours, and of
// it at the wrong endpoint. What a limited reader may not know of, since it names
// another host, is left out.
func (t *traceReader) findDeliveries(ctx context.Context) error {
	const own = deliveryColumns + ` AND d.registry_id = @registry AND (NOT @limited OR d.reason <> 'other_registry')`
	const newest = ` ORDER BY d.id DESC LIMIT @limit`
	const ofTarget = own + ` AND (@tag <> '' AND d.tag = @tag AND (@digest = '' OR d.digest IN ('', @digest))
		OR d.digest <> '' AND d.digest = ANY (@digests))` + newest
	const ofOthers = own + newest
	const elsewhere = deliveryColumns + ` AND d.registry_id <> @registry AND d.reason = 'other_registry' AND d.host = @host AND NOT @limited` + newest
	args := pgx.NamedArgs{"registry": t.registry, "name": t.facts.Target.Name, "host": t.facts.Host, "limited": t.facts.Limited,
		"tag": t.facts.Target.Tag, "digest": string(t.facts.Target.Digest), "digests": t.digests(), "limit": 5}
	var err error
	if t.facts.Deliveries, err = t.deliveries(ctx, ofTarget, args); err != nil || len(t.facts.Deliveries) > 0 {
		return err
	}
	args["limit"] = 1
	others, err := t.deliveries(ctx, ofOthers, args)
	if err != nil {
		return err
	}
	for _, d := range others {
		t.facts.Neighbour = &d
	}
	strays, err := t.deliveries(ctx, elsewhere, args)
	for _, d := range strays {
		t.facts.Elsewhere = &d
	}
	return err
}

// digests are those whose deliveries are about the target: its own and those of
// indexes that hold it.
func (t *traceReader) digests() []string {
	out := append([]string{}, t.parents...)
	switch {
	case t.facts.Target.Digest != "":
		out = append(out, string(t.facts.Target.Digest))
	case t.facts.Image != nil && t.facts.Image.Digest != "":
		out = append(out, string(t.facts.Image.Digest))
	}
	return out
}

func (t *traceReader) deliveries(ctx context.Context, query string, args pgx.NamedArgs) ([]report.Delivery, error) {
	found, err := rows[deliveryRow](ctx, t.at, query, args)
	out := make([]report.Delivery, len(found))
	for i, r := range found {
		out[i] = r.report()
	}
	return out, err
}

// findContact reads how the endpoint fares. Limited readers are not told, and
// uploads have no endpoint.
func (t *traceReader) findContact(ctx context.Context, configured []string) error {
	const rejected = `
		SELECT at, status, reason, detail FROM webhook_rejection
		 WHERE registry = @registry AND at > now() - interval '1 day' ORDER BY id DESC LIMIT 200`
	const strays = `
		SELECT COALESCE(sum(requests), 0)::bigint FROM webhook_rejection_hour
		 WHERE registry = '' AND hour >= date_trunc('hour', now() - interval '1 day', 'UTC')`
	name := t.facts.Target.Registry
	if t.facts.Limited || name == report.UploadRegistry {
		return nil
	}
	paces := endpointSet{}
	args := pgx.NamedArgs{"registry": name}
	if err := addPaces(ctx, t.at, args, paces); err != nil {
		return err
	}
	e := paces.at(name)
	contact := &report.Contact{Configured: slices.Contains(configured, name), LastDeliveryAt: e.LastDeliveryAt, Silence: e.Silence}
	found, err := rows[rejectionRow](ctx, t.at, rejected, args)
	if err != nil {
		return err
	}
	for _, r := range found {
		contact.Rejected = append(contact.Rejected, r.report())
	}
	t.facts.Endpoint = contact
	return t.at.QueryRow(ctx, strays).Scan(&contact.NoEndpoint)
}
