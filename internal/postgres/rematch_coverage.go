package postgres

import (
	"context"
	"encoding/json"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// coverRematch finds out for which inventories the candidate has other data than
// the active build, or another end of life: once for each distro and set of types,
// not for each inventory.
func (s *Store) coverRematch(ctx context.Context, build int64, session scan.Session) error {
	if err := s.learnTypes(ctx); err != nil {
		return err
	}
	return s.inStage(ctx, build, stageGrouped, stageCovered, func(tx pgx.Tx) error {
		return stageCoverage(ctx, tx, session, nil)
	})
}

// learnTypes fills in the types of inventories that the version before stored, some
// at a time.
func (s *Store) learnTypes(ctx context.Context) error {
	const learn = `
		UPDATE inventory i SET types = t.types, versionless = t.versionless
		  FROM (SELECT w.id, COALESCE(array_agg(DISTINCT p.type ORDER BY p.type) FILTER (WHERE k.excluded = ''), '{}') AS types,
		               COALESCE(array_agg(DISTINCT p.type ORDER BY p.type) FILTER (WHERE k.excluded = $1), '{}') AS versionless
		          FROM (SELECT id FROM inventory WHERE types IS NULL ORDER BY id LIMIT 1000) w
		          LEFT JOIN inventory_package k ON k.inventory_id = w.id LEFT JOIN package p ON p.id = k.package_id
		         GROUP BY w.id) t
		 WHERE i.id = t.id`
	for {
		tag, err := s.pool.Exec(ctx, learn, inventory.ExcludedNoVersion)
		if err != nil || tag.RowsAffected() == 0 {
			return wrap("learn types of inventories", err)
		}
	}
}

// covered is what coverage is asked by, and the answer.
type covered struct {
	Key       string   `json:"key"`
	NoData    []string `json:"no_data"`
	EndOfLife *string  `json:"eol"`
}

// coverageKey names what coverage is asked by.
const coverageKey = `md5(concat_ws('/', COALESCE(i.distro_input::text, ''), i.types::text, i.versionless::text))`

// stageCoverage asks for the coverage of the given inventories, of all when nil,
// and keeps what differs from the summaries.
func stageCoverage(ctx context.Context, tx pgx.Tx, session scan.Session, ids []int64) error {
	const keep = `
		INSERT INTO rematch_coverage (inventory_id, no_data, distro_eol)
		SELECT i.id, c.no_data, c.eol
		  FROM jsonb_to_recordset(@covered) AS c(key text, no_data text[], eol date)
		  JOIN inventory i ON ` + coverageKey + ` = c.key
		  JOIN inventory_summary s ON s.inventory_id = i.id
		 WHERE (@ids::bigint[] IS NULL OR i.id = ANY (@ids)) AND (s.no_data, s.distro_eol) IS DISTINCT FROM (c.no_data, c.eol)
		ON CONFLICT (inventory_id) DO UPDATE SET no_data = EXCLUDED.no_data, distro_eol = EXCLUDED.distro_eol`
	asked, err := coverageAsked(ctx, tx, ids)
	if err != nil {
		return err
	}
	answers := make([]covered, 0, len(asked))
	for key, inv := range asked {
		noData, endOfLife, err := session.Coverage(ctx, &inv)
		if err != nil {
			return err
		}
		c := covered{Key: key, NoData: append([]string{}, noData...)}
		if !endOfLife.IsZero() {
			day := endOfLife.Format("2006-01-02")
			c.EndOfLife = &day
		}
		answers = append(answers, c)
	}
	encoded, err := json.Marshal(answers)
	if err != nil {
		return errs.Wrap(errs.Internal, "postgres: encode coverage", err)
	}
	_, err = tx.Exec(ctx, keep, pgx.NamedArgs{"covered": encoded, "ids": ids})
	return err
}

// coverageAsked lists the distros and sets of types there are, each as an inventory
// with one package of each type.
func coverageAsked(ctx context.Context, tx pgx.Tx, ids []int64) (map[string]inventory.Inventory, error) {
	const query = `
		SELECT DISTINCT ON (key) ` + coverageKey + ` AS key, i.distro_input, i.types, i.versionless
		  FROM inventory i JOIN inventory_summary s ON s.inventory_id = i.id
		 WHERE i.types IS NOT NULL AND (@ids::bigint[] IS NULL OR i.id = ANY (@ids))`
	rows, err := tx.Query(ctx, query, pgx.NamedArgs{"ids": ids})
	if err != nil {
		return nil, err
	}
	out := map[string]inventory.Inventory{}
	var key string
	var distro []byte
	var judged, versionless []string
	_, err = pgx.ForEachRow(rows, []any{&key, &distro, &judged, &versionless}, func() error {
		var inv inventory.Inventory
		if len(distro) > 0 {
			if err := json.Unmarshal(distro, &inv.Distro); err != nil {
				return errs.Wrap(errs.Malformed, "postgres: decode distro", err)
			}
		}
		addTypes(&inv, judged, "")
		addTypes(&inv, versionless, inventory.ExcludedNoVersion)
		out[key] = inv
		return nil
	})
	return out, err
}
