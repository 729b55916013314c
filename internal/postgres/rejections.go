package postgres

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// Rejection is a request to an endpoint that was refused or could not be stored.
type Rejection struct {
	Registry string // the configured name; empty for an address that is no endpoint
	At       time.Time
	Status   int    // of the answer
	Reason   string // an error kind
	Detail   string // what the sender was told
}

// RejectionCount counts the rejected requests of one hour.
type RejectionCount struct {
	Registry string
	Hour     time.Time // its beginning, UTC
	Status   int
	Reason   string
	Requests int
	LastAt   time.Time
}

const (
	keptRejections = 100                 // of each registry
	keptHours      = 31 * 24 * time.Hour // report.MaxWindow and what an hour leaves over
)

// SaveRejections adds counts and keeps the newest of the rejections, about
// keptRejections of each registry; those of no registry are only counted. It is
// one statement, however many requests it tells of.
func (s *Store) SaveRejections(ctx context.Context, counts []RejectionCount, newest []Rejection) error {
	const save = `
		WITH counted AS (
			INSERT INTO webhook_rejection_hour AS h (hour, registry, status, reason, requests, last_at)
			SELECT * FROM unnest(@hours::timestamptz[], @registries::text[], @statuses::int[], @reasons::text[], @requests::bigint[], @lasts::timestamptz[])
			ON CONFLICT (hour, registry, status, reason)
			DO UPDATE SET requests = h.requests + EXCLUDED.requests, last_at = greatest(h.last_at, EXCLUDED.last_at)
		), kept AS (
			INSERT INTO webhook_rejection (registry, at, status, reason, detail)
			SELECT * FROM unnest(@new_registries::text[], @new_ats::timestamptz[], @new_statuses::int[], @new_reasons::text[], @new_details::text[])
		), forgotten AS (
			DELETE FROM webhook_rejection x USING (
				SELECT n.registry, (SELECT k.id FROM webhook_rejection k WHERE k.registry = n.registry ORDER BY k.id DESC OFFSET @kept LIMIT 1) AS id
				  FROM (SELECT DISTINCT unnest(@new_registries::text[]) AS registry) n) last
			 WHERE x.registry = last.registry AND x.id <= last.id
		)
		DELETE FROM webhook_rejection_hour WHERE hour < now() - make_interval(secs => @hours_kept)`
	if len(counts) == 0 && len(newest) == 0 {
		return nil
	}
	args := pgx.NamedArgs{"kept": keptRejections, "hours_kept": keptHours.Seconds()}
	countColumns(args, counts)
	rejectionColumns(args, newest)
	return s.inTxAgain(ctx, "save rejections", func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, save, args)
		return err
	})
}

// countColumns makes one array of each column, in one order for all replicas:
// two that add to the same counts wait for each other.
func countColumns(args pgx.NamedArgs, counts []RejectionCount) {
	counts = slices.Clone(counts)
	slices.SortFunc(counts, func(a, b RejectionCount) int {
		return cmp.Or(a.Hour.Compare(b.Hour), cmp.Compare(a.Registry, b.Registry), cmp.Compare(a.Status, b.Status), cmp.Compare(a.Reason, b.Reason))
	})
	var hours, lasts []time.Time
	var registries, reasons []string
	var statuses, requests []int
	for _, c := range counts {
		hours, lasts = append(hours, c.Hour), append(lasts, c.LastAt)
		registries, reasons = append(registries, cleanText(c.Registry)), append(reasons, cleanText(c.Reason))
		statuses, requests = append(statuses, c.Status), append(requests, c.Requests)
	}
	args["hours"], args["lasts"], args["registries"] = hours, lasts, registries
	args["reasons"], args["statuses"], args["requests"] = reasons, statuses, requests
}

func rejectionColumns(args pgx.NamedArgs, newest []Rejection) {
	var registries, reasons, details []string
	var ats []time.Time
	var statuses []int
	for _, r := range newest {
		if r.Registry == "" {
			continue
		}
		registries, ats, statuses = append(registries, cleanText(r.Registry)), append(ats, r.At), append(statuses, r.Status)
		reasons, details = append(reasons, cleanText(r.Reason)), append(details, cleanText(r.Detail))
	}
	args["new_registries"], args["new_ats"], args["new_statuses"] = registries, ats, statuses
	args["new_reasons"], args["new_details"] = reasons, details
}
