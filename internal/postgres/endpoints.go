package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

func noRegistry(name string) error {
	return errs.New(errs.NotFound, "no registry %.100q is known", name).WithField("registry").WithHint("GET /api/v1/registries lists the names")
}

// lastOf is how many of the newest ignored and rejected are shown.
const lastOf = 10

// addEndpoints adds what the endpoints of the registries in a coverage stored.
func (s *Store) addEndpoints(ctx context.Context, filter report.CoverageFilter, to *report.Coverage) error {
	return s.read(ctx, "read endpoints", func(at snapshot) error {
		found, err := endpoints(ctx, at, filter)
		if err != nil {
			return err
		}
		to.NoEndpoint = &report.Rejected{Reasons: []report.RejectedCount{}}
		if e, ok := found[""]; ok {
			to.NoEndpoint = &e.Rejected
		}
		for i, item := range to.Items {
			if e, ok := found[item.Registry]; ok {
				to.Items[i].Endpoint = e
			}
		}
		return nil
	})
}

// Endpoints returns the last delivery and the pace of every endpoint that stored
// one, by registry.
func (s *Store) Endpoints(ctx context.Context) (map[string]report.Endpoint, error) {
	out := map[string]report.Endpoint{}
	err := s.read(ctx, "read paces", func(at snapshot) error {
		into := endpointSet{}
		if err := addPaces(ctx, at, pgx.NamedArgs{"registry": ""}, into); err != nil {
			return err
		}
		for name, e := range into {
			out[name] = *e
		}
		return nil
	})
	return out, err
}

// endpointSet holds endpoints by registry; that of the name "" counts requests
// to addresses that are none.
type endpointSet map[string]*report.Endpoint

func (s endpointSet) at(registry string) *report.Endpoint {
	if s[registry] == nil {
		s[registry] = &report.Endpoint{
			Silence: report.SilenceUnknown, Events: report.EventCounts{Reasons: []report.ReasonCount{}},
			Rejected: report.Rejected{Reasons: []report.RejectedCount{}}, LastIgnored: []report.Delivery{}, LastRejected: []report.Rejection{},
		}
	}
	return s[registry]
}

// endpoints reads those that are configured, and those that were once and were
// heard.
func endpoints(ctx context.Context, at snapshot, filter report.CoverageFilter) (endpointSet, error) {
	out := endpointSet{}
	for _, name := range filter.Endpoints {
		out.at(name).Configured = true
	}
	args := pgx.NamedArgs{"registry": filter.Registry, "window": filter.Window.Seconds(), "last": lastOf}
	for _, part := range []func(context.Context, snapshot, pgx.NamedArgs, endpointSet) error{
		addPaces, addEvents, addLastIgnored, addRejected, addLastRejected,
	} {
		if err := part(ctx, at, args, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// addPaces measures how often each endpoint was heard. Deliveries are walked from
// burst to burst, so the cost is that of the bursts of a week whatever came in
// them. The walk begins at the delivery before the week, so that the gap which
// leads into it counts as well.
func addPaces(ctx context.Context, at snapshot, args pgx.NamedArgs, to endpointSet) error {
	const query = `
		SELECT g.name AS registry, now() AS now, d.first_at, d.last_at, p.bursts, p.median, p.p95, p.longest
		  FROM registry g
		 CROSS JOIN LATERAL (SELECT min(received_at) AS first_at, max(received_at) AS last_at FROM delivery WHERE registry_id = g.id) d
		 CROSS JOIN LATERAL (
			WITH RECURSIVE burst (at, gap) AS (
				SELECT COALESCE((SELECT max(received_at) FROM delivery
				                  WHERE registry_id = g.id AND received_at <= d.last_at - make_interval(secs => @pace)), d.first_at), NULL::float8
				UNION ALL
				SELECT n.at, extract(epoch FROM n.at - b.at)::float8
				  FROM burst b CROSS JOIN LATERAL (
					SELECT received_at AS at FROM delivery
					 WHERE registry_id = g.id AND received_at > b.at + make_interval(secs => @burst) ORDER BY received_at LIMIT 1) n
			)
			SELECT count(*) AS bursts, COALESCE(percentile_cont(0.5) WITHIN GROUP (ORDER BY gap), 0) AS median,
			       COALESCE(percentile_cont(0.95) WITHIN GROUP (ORDER BY gap), 0) AS p95, COALESCE(max(gap), 0) AS longest
			  FROM burst) p
		 WHERE d.last_at IS NOT NULL AND (@registry = '' OR g.name = @registry)`
	type row struct {
		Registry             string
		Now, FirstAt, LastAt time.Time
		Bursts               int
		Median, P95, Longest float64
	}
	args["pace"], args["burst"] = report.PaceWindow.Seconds(), report.BurstLength.Seconds()
	found, err := rows[row](ctx, at, query, args)
	for _, r := range found {
		last := r.LastAt.UTC()
		pace := report.NewPace(r.Bursts, seconds(r.Median), seconds(r.P95), seconds(r.Longest), r.LastAt.Sub(r.FirstAt))
		to.at(r.Registry).Hear(r.Now, &last, pace)
	}
	return err
}

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }

// addEvents counts the deliveries of the window.
func addEvents(ctx context.Context, at snapshot, args pgx.NamedArgs, to endpointSet) error {
	const query = `
		SELECT g.name AS registry, d.verdict, d.reason, d.count, d.duplicates
		  FROM registry g
		 CROSS JOIN LATERAL (
			SELECT verdict, reason, count(*) AS count, sum(duplicates)::bigint AS duplicates FROM delivery
			 WHERE registry_id = g.id AND received_at > now() - make_interval(secs => @window)
			 GROUP BY verdict, reason) d
		 WHERE @registry = '' OR g.name = @registry
		 ORDER BY d.count DESC, d.reason`
	type row struct {
		Registry, Verdict, Reason string
		Count, Duplicates         int
	}
	found, err := rows[row](ctx, at, query, args)
	for _, r := range found {
		events := &to.at(r.Registry).Events
		events.Received += r.Count + r.Duplicates
		events.Duplicates += r.Duplicates
		if r.Verdict == "accepted" {
			events.Accepted += r.Count
			continue
		}
		events.Ignored += r.Count
		if len(events.Reasons) < report.MaxReasons {
			events.Reasons = append(events.Reasons, report.ReasonCount{Reason: r.Reason, Count: r.Count})
		}
	}
	return err
}

// addLastIgnored reads the newest ignored deliveries of each endpoint.
func addLastIgnored(ctx context.Context, at snapshot, args pgx.NamedArgs, to endpointSet) error {
	const query = `
		SELECT d.id, g.name AS registry, d.received_at, d.verdict, d.reason, d.action, d.host AS named_host,
		       CASE WHEN d.repository = '' THEN '' ELSE
		            CASE WHEN d.reason = 'other_registry' THEN d.host ELSE g.host END || '/' || d.repository END AS repository,
		       d.tag, d.digest, d.actor, d.event_id, d.occurred_at, d.scan_id, d.duplicates
		  FROM registry g
		 CROSS JOIN LATERAL (
			SELECT * FROM delivery WHERE registry_id = g.id AND verdict = 'ignored' ORDER BY id DESC LIMIT @last) d
		 WHERE @registry = '' OR g.name = @registry
		 ORDER BY g.name, d.id DESC`
	found, err := rows[deliveryRow](ctx, at, query, args)
	for _, r := range found {
		e := to.at(r.Registry)
		e.LastIgnored = append(e.LastIgnored, r.report())
	}
	return err
}

// addRejected counts the rejected requests of the window, by the hours that it
// touches. Counts of names that are no registry are left out: they are of an
// endpoint that is no more.
func addRejected(ctx context.Context, at snapshot, args pgx.NamedArgs, to endpointSet) error {
	const query = `
		SELECT h.registry, h.status, h.reason, sum(h.requests)::bigint AS count, max(h.last_at) AS last_at
		  FROM webhook_rejection_hour h
		 WHERE h.hour >= date_trunc('hour', now() - make_interval(secs => @window), 'UTC')
		   AND (h.registry = '' OR @registry = '' OR h.registry = @registry)
		   AND (h.registry = '' OR EXISTS (SELECT 1 FROM registry g WHERE g.name = h.registry))
		 GROUP BY 1, 2, 3
		 ORDER BY 4 DESC, 2, 3`
	type row struct {
		Registry string
		Status   int
		Reason   string
		Count    int
		LastAt   time.Time
	}
	found, err := rows[row](ctx, at, query, args)
	for _, r := range found {
		rejected := &to.at(r.Registry).Rejected
		rejected.Requests += r.Count
		if last := r.LastAt.UTC(); rejected.LastAt == nil || last.After(*rejected.LastAt) {
			rejected.LastAt = &last
		}
		if len(rejected.Reasons) < report.MaxReasons {
			rejected.Reasons = append(rejected.Reasons, report.RejectedCount{Status: r.Status, Reason: r.Reason, Count: r.Count})
		}
	}
	return err
}

// addLastRejected reads the newest rejected requests of each endpoint.
func addLastRejected(ctx context.Context, at snapshot, args pgx.NamedArgs, to endpointSet) error {
	const query = `
		SELECT g.name AS registry, x.at, x.status, x.reason, x.detail
		  FROM registry g
		 CROSS JOIN LATERAL (
			SELECT * FROM webhook_rejection WHERE registry = g.name ORDER BY id DESC LIMIT @last) x
		 WHERE @registry = '' OR g.name = @registry
		 ORDER BY g.name, x.id DESC`
	type row struct {
		Registry string
		rejectionRow
	}
	found, err := rows[row](ctx, at, query, args)
	for _, r := range found {
		e := to.at(r.Registry)
		e.LastRejected = append(e.LastRejected, r.rejectionRow.report())
	}
	return err
}

type rejectionRow struct {
	At     time.Time
	Status int
	Reason string
	Detail string
}

func (r rejectionRow) report() report.Rejection {
	return report.Rejection{At: r.At.UTC(), Status: r.Status, Reason: r.Reason, Detail: r.Detail}
}
