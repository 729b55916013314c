package postgres

import (
	"context"
	"encoding/json"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// KeepNewsRules says that this process looks after the rules. From then on, and
// for a week after the last time, events are kept for them.
func (s *Store) KeepNewsRules(ctx context.Context, names []string) error {
	const keep = `
		INSERT INTO notification_rule AS r (name) SELECT DISTINCT unnest(@names::text[]) ORDER BY 1
		ON CONFLICT (name) DO UPDATE SET seen_at = now() WHERE r.seen_at < now() - interval '1 minute'`
	_, err := s.pool.Exec(ctx, keep, pgx.NamedArgs{"names": names})
	return wrap("keep notification rules", err)
}

// CollectNews takes events out of the outbox, those of up to limit statements, and
// puts aside what the rules choose of them, in one transaction. It returns how many
// statements that were.
func (s *Store) CollectNews(ctx context.Context, rules []report.NewsRule, limit int) (taken int, err error) {
	// What was taken is looked up event by event in the partition of its time.
	const collect = `
		WITH taken AS MATERIALIZED (
			DELETE FROM notification_outbox WHERE id IN (SELECT id FROM notification_outbox ORDER BY id LIMIT @limit)
			RETURNING occurred_at, events
		), event AS MATERIALIZED (
			SELECT e.id, e.occurred_at, e.repository_id, e.package_type, e.package_name, e.vulnerability, e.kind, e.scan_id, e.build_id,
			       g.name AS registry, r.name AS repository, COALESCE(s.tag, '') AS tag,
			       CASE WHEN e.cause = 'push' THEN COALESCE(s.cause, 'push') ELSE e.cause END AS cause,
			       (array_position(ARRAY['unknown', 'negligible', 'low', 'medium', 'high', 'critical'], e.severity) - 1)::smallint AS rank,
			       COALESCE(f.fixable, false) AS fixable, COALESCE(f.known_exploited, false) AS kev
			  FROM taken t
			  JOIN finding_event e ON e.occurred_at = t.occurred_at AND e.id >= lower(t.events) AND e.id < upper(t.events) AND t.events @> e.id
			  JOIN repository r ON r.id = e.repository_id
			  JOIN registry g ON g.id = r.registry_id
			  LEFT JOIN scan s ON s.id = e.scan_id
			  LEFT JOIN repository_finding f ON (f.repository_id, f.package_type, f.package_name, f.vulnerability)
			                                  = (e.repository_id, e.package_type, e.package_name, e.vulnerability)
		), rule AS (
			SELECT * FROM jsonb_to_recordset(@rules) AS r(name text, registries text[], repositories text, tags text, rank smallint,
			                                              fixable boolean, kev boolean, kinds text[], causes text[])
		), chosen AS (
			INSERT INTO notification_pending (rule, event_id, occurred_at, repository_id, package_type, package_name, vulnerability, kind,
			                                  severity_rank, fixable, known_exploited, cause, scan_id, build_id)
			SELECT rule.name, e.id, e.occurred_at, e.repository_id, e.package_type, e.package_name, e.vulnerability, e.kind,
			       COALESCE(e.rank, 0), e.fixable, e.kev, e.cause, e.scan_id, e.build_id
			  FROM event e JOIN rule ON e.kind = ANY (rule.kinds) AND e.cause = ANY (rule.causes)
			   AND (cardinality(rule.registries) = 0 OR e.registry = ANY (rule.registries))
			   AND (rule.repositories = '' OR e.repository ~ rule.repositories)
			   AND COALESCE(e.rank, 0) >= rule.rank AND (e.fixable OR NOT rule.fixable) AND (e.kev OR NOT rule.kev)
			   AND (rule.tags = ''
			     OR e.scan_id IS NOT NULL AND e.tag ~ rule.tags
			     OR e.scan_id IS NULL AND EXISTS (SELECT 1 FROM tag l WHERE l.repository_id = e.repository_id AND l.name ~ rule.tags))
			ON CONFLICT (rule, event_id) DO NOTHING
		)
		SELECT count(*) FROM taken`
	encoded, err := json.Marshal(newsRuleRows(rules))
	if err != nil {
		return 0, errs.Wrap(errs.Internal, "postgres: encode rules", err)
	}
	err = s.inTx(ctx, "collect news", func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, collect, pgx.NamedArgs{"rules": encoded, "limit": limit}).Scan(&taken)
	})
	return taken, err
}

// newsRuleRow is a rule as CollectNews hands it over.
type newsRuleRow struct {
	Name         string   `json:"name"`
	Registries   []string `json:"registries"`
	Repositories string   `json:"repositories"`
	Tags         string   `json:"tags"`
	Rank         int      `json:"rank"`
	Fixable      bool     `json:"fixable"`
	KEV          bool     `json:"kev"`
	Kinds        []string `json:"kinds"`
	Causes       []string `json:"causes"`
}

func newsRuleRows(rules []report.NewsRule) []newsRuleRow {
	out := make([]newsRuleRow, len(rules))
	for i, r := range rules {
		out[i] = newsRuleRow{
			Name: r.Name, Registries: cleanAll(r.Registries), Repositories: globPattern(r.Repositories), Tags: globPattern(r.Tags),
			Rank: r.SeverityRank, Fixable: r.Fixable, KEV: r.KnownExploited, Kinds: cleanAll(r.Kinds), Causes: cleanAll(r.Causes),
		}
	}
	return out
}

// globPattern makes a regular expression of globs, as scan.Glob reads them, that
// Postgres matches in time linear in the name; empty for none.
func globPattern(globs []string) string {
	if len(globs) == 0 {
		return ""
	}
	parts := make([]string, len(globs))
	for i, glob := range globs {
		var b strings.Builder
		for n, part := range strings.Split(glob, "**") {
			if n > 0 {
				b.WriteString(".*")
			}
			for m, literal := range strings.Split(part, "*") {
				if m > 0 {
					b.WriteString("[^/]*")
				}
				b.WriteString(regexp.QuoteMeta(literal))
			}
		}
		parts[i] = b.String()
	}
	return "^(" + strings.Join(parts, "|") + ")$"
}
