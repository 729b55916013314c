package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// SaveAnswer stores what a scan found of one image in one transaction, the
// state of the manifest last. It holds the build lock shared, so the active
// build cannot change underneath, and returns kind Conflict when that is not
// the build that judged.
func (s *Store) SaveAnswer(ctx context.Context, job scan.Job, a scan.Answer) error {
	document, err := s.packSBOM(a) // before the transaction: a large document takes a while
	if err != nil {
		return err
	}
	return s.inScan(ctx, "save answer", func(tx pgx.Tx) error {
		active, err := holdActiveBuild(ctx, tx, a.Build)
		if err != nil {
			return err
		}
		if err := holdLease(ctx, tx, job); err != nil {
			return err
		}
		ids, err := s.savePackages(ctx, tx, a)
		if err != nil {
			return err
		}
		if err := saveJudgements(ctx, tx, active.id, active.judgedSince, a, ids); err != nil {
			return err
		}
		if err := refreshVulnerabilities(ctx, tx, a.Vulnerabilities); err != nil {
			return err
		}
		inventoryID, err := saveInventory(ctx, tx, a.Inventory, ids)
		if err != nil {
			return err
		}
		if err := saveSummary(ctx, tx, inventoryID, active, a.NoData, a.EndOfLife); err != nil {
			return err
		}
		manifestID, err := manifestID(ctx, tx, a.Manifest)
		if err != nil {
			return err
		}
		if err := saveSBOM(ctx, tx, manifestID, a, document); err != nil {
			return err
		}
		return finishManifest(ctx, tx, manifestID, inventoryID, a)
	})
}

func manifestID(ctx context.Context, tx pgx.Tx, digest image.Digest) (id int64, err error) {
	const query = `SELECT id FROM manifest WHERE digest = $1`
	err = tx.QueryRow(ctx, query, string(digest)).Scan(&id)
	return id, err
}

// savePackages adds the packages nobody had yet and returns the ids of all, at
// the index of inv.Packages. Fingerprints ascend, so concurrent scans insert in
// one order and cannot deadlock; rows that were there are locked against
// collection until the commit. A package that was known when the answer was
// judged, and collected since, is of kind Conflict: nobody has judged it.
func (s *Store) savePackages(ctx context.Context, tx pgx.Tx, a scan.Answer) ([]int64, error) {
	const query = `SELECT fingerprint, id FROM package WHERE fingerprint = ANY ($1) ORDER BY fingerprint FOR KEY SHARE`
	const insert = `
		INSERT INTO package (fingerprint, type, name, version, language, purl, distro, input)
		SELECT * FROM unnest(@fingerprint::bytea[], @type::text[], @name::text[], @version::text[], @language::text[],
		                     @purl::text[], @distro::text[], @input::bytea[])
		ON CONFLICT (fingerprint) DO NOTHING`
	inv := a.Inventory
	known, err := packageIDs(ctx, tx, query, inv.Fingerprints)
	if err != nil {
		return nil, err
	}
	if len(known) < len(inv.Fingerprints) {
		for _, n := range inv.Matchable() {
			if _, judged := a.Judged[n]; !judged && known[inv.Fingerprints[n]] == 0 {
				return nil, errs.New(errs.Conflict, "postgres: %s was collected before the answer was stored", inv.Packages[n].Name)
			}
		}
		columns, err := s.newPackages(inv, known)
		if err != nil {
			return nil, err
		}
		if _, err := tx.Exec(ctx, insert, columns); err != nil {
			return nil, err
		}
		if known, err = packageIDs(ctx, tx, query, inv.Fingerprints); err != nil {
			return nil, err
		}
	}
	ids := make([]int64, len(inv.Fingerprints))
	for i, f := range inv.Fingerprints {
		ids[i] = known[f]
	}
	return ids, nil
}

func packageIDs(ctx context.Context, tx pgx.Tx, query string, fingerprints []inventory.Fingerprint) (map[inventory.Fingerprint]int64, error) {
	wanted := make([][]byte, len(fingerprints))
	for i := range fingerprints {
		wanted[i] = fingerprints[i][:]
	}
	rows, err := tx.Query(ctx, query, wanted)
	if err != nil {
		return nil, err
	}
	ids := make(map[inventory.Fingerprint]int64, len(fingerprints))
	var fingerprint []byte
	var id int64
	_, err = pgx.ForEachRow(rows, []any{&fingerprint, &id}, func() error {
		ids[inventory.Fingerprint(fingerprint)] = id
		return nil
	})
	return ids, err
}

// newPackages lays out the packages that are not known as columns.
func (s *Store) newPackages(inv *inventory.Inventory, known map[inventory.Fingerprint]int64) (pgx.NamedArgs, error) {
	var fingerprint, input [][]byte
	var typ, name, version, language, purl, distro []string
	for i, p := range inv.Packages {
		if _, ok := known[inv.Fingerprints[i]]; ok {
			continue
		}
		packed, err := s.packJSON(p)
		if err != nil {
			return nil, err
		}
		fingerprint, input = append(fingerprint, inv.Fingerprints[i][:]), append(input, packed)
		typ, name, version = append(typ, cleanText(p.Type)), append(name, cleanText(p.Name)), append(version, cleanText(p.Version))
		language, purl, distro = append(language, cleanText(p.Language)), append(purl, cleanText(p.PURL)), append(distro, cleanText(p.Distro.String()))
	}
	return pgx.NamedArgs{"fingerprint": fingerprint, "type": typ, "name": name, "version": version,
		"language": language, "purl": purl, "distro": distro, "input": input}, nil
}

// saveInventory adds the inventory unless an equal one is there.
func saveInventory(ctx context.Context, tx pgx.Tx, inv *inventory.Inventory, ids []int64) (int64, error) {
	const query = `SELECT id FROM inventory WHERE fingerprint = $1 FOR KEY SHARE`
	const insert = `
		INSERT INTO inventory (fingerprint, distro, distro_input, package_count, types, versionless) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (fingerprint) DO NOTHING RETURNING id`
	fingerprint := inv.Fingerprint()
	var id int64
	err := tx.QueryRow(ctx, query, fingerprint[:]).Scan(&id)
	if err == nil || !errors.Is(err, pgx.ErrNoRows) {
		return id, err
	}
	var distro []byte
	if inv.Distro != nil {
		if distro, err = json.Marshal(inv.Distro); err != nil {
			return 0, errs.Wrap(errs.Internal, "postgres: encode distro", err)
		}
	}
	err = tx.QueryRow(ctx, insert, fingerprint[:], cleanText(inv.Distro.String()), distro, len(inv.Members),
		typesOf(inv, ""), typesOf(inv, inventory.ExcludedNoVersion)).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) { // another scan committed the same one in between
		err = tx.QueryRow(ctx, query, fingerprint[:]).Scan(&id)
		return id, err
	}
	if err != nil {
		return 0, err
	}
	return id, insertMembers(ctx, tx, id, inv, ids)
}

// typesOf lists the types of the packages that are excluded for the given reason,
// or not at all.
func typesOf(inv *inventory.Inventory, excluded string) []string {
	types := []string{}
	for _, m := range inv.Members {
		if t := cleanText(inv.Packages[m.Package].Type); m.Excluded == excluded && !slices.Contains(types, t) {
			types = append(types, t)
		}
	}
	slices.Sort(types)
	return types
}

func insertMembers(ctx context.Context, tx pgx.Tx, inventoryID int64, inv *inventory.Inventory, ids []int64) error {
	rows := make([][]any, len(inv.Members))
	for n, m := range inv.Members {
		owners := make([]int64, len(m.Owners))
		for i, o := range m.Owners {
			owners[i] = ids[o]
		}
		rows[n] = []any{inventoryID, n, ids[m.Package], owners, m.Excluded}
	}
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"inventory_package"},
		[]string{"inventory_id", "member", "package_id", "owners", "excluded"}, pgx.CopyFromRows(rows))
	return err
}

// saveSummary counts the findings of an inventory under the active build, unless
// there are counts that hold.
func saveSummary(ctx context.Context, tx pgx.Tx, inventoryID int64, active activeBuild, noData []string, endOfLife time.Time) error {
	const query = `SELECT EXISTS (SELECT 1 FROM inventory_summary WHERE inventory_id = $1 AND build_id >= $2)`
	const upsert = `
		WITH named AS (
			SELECT p.type, p.name, v.canonical, max(COALESCE(r.severity_rank, 0::smallint)) AS rank,
			       bool_or(v.fix_state = 'fixed') AS fixable, bool_or(COALESCE(r.known_exploited, false)) AS kev,
			       bool_and(v.ignored <> '') AS ignored
			  FROM verdicts(ARRAY[$1::bigint], $2) v
			  JOIN package p ON p.id = v.package_id
			  LEFT JOIN vulnerability_rating r ON r.vulnerability_id = v.vulnerability_id
			       AND r.opened_build <= $2 AND (r.closed_build IS NULL OR r.closed_build > $2)
			 GROUP BY p.type, p.name, v.canonical
		)
		INSERT INTO inventory_summary (inventory_id, build_id, critical, high, medium, low, negligible, unknown,
		                               fixable, known_exploited, ignored, no_data, distro_eol)
		SELECT $1, $2,
		       count(*) FILTER (WHERE rank = 5 AND NOT ignored), count(*) FILTER (WHERE rank = 4 AND NOT ignored),
		       count(*) FILTER (WHERE rank = 3 AND NOT ignored), count(*) FILTER (WHERE rank = 2 AND NOT ignored),
		       count(*) FILTER (WHERE rank = 1 AND NOT ignored), count(*) FILTER (WHERE rank = 0 AND NOT ignored),
		       count(*) FILTER (WHERE fixable AND NOT ignored), count(*) FILTER (WHERE kev AND NOT ignored),
		       count(*) FILTER (WHERE ignored), $3, $4
		  FROM named
		ON CONFLICT (inventory_id) DO UPDATE SET build_id = EXCLUDED.build_id,
		    critical = EXCLUDED.critical, high = EXCLUDED.high, medium = EXCLUDED.medium, low = EXCLUDED.low,
		    negligible = EXCLUDED.negligible, unknown = EXCLUDED.unknown, fixable = EXCLUDED.fixable,
		    known_exploited = EXCLUDED.known_exploited, ignored = EXCLUDED.ignored, no_data = EXCLUDED.no_data,
		    distro_eol = EXCLUDED.distro_eol`
	var done bool
	if err := tx.QueryRow(ctx, query, inventoryID, active.countedSince).Scan(&done); err != nil || done {
		return err
	}
	if noData == nil {
		noData = []string{}
	}
	var eol *time.Time
	if !endOfLife.IsZero() {
		eol = &endOfLife
	}
	_, err := tx.Exec(ctx, upsert, inventoryID, active.id, noData, eol)
	return err
}

// saveSBOM keeps a new document; none when the stored one still holds.
func saveSBOM(ctx context.Context, tx pgx.Tx, manifestID int64, a scan.Answer, packed packedSBOM) error {
	const upsert = `
		INSERT INTO sbom (manifest_id, tool, tool_version, packages, distro, document, size, occurrences)
		VALUES (@manifest, @tool, @version, @packages, @distro, @document, @size, @occurrences)
		ON CONFLICT (manifest_id) DO UPDATE SET tool = EXCLUDED.tool, tool_version = EXCLUDED.tool_version,
		    packages = EXCLUDED.packages, distro = EXCLUDED.distro, document = EXCLUDED.document, size = EXCLUDED.size,
		    occurrences = EXCLUDED.occurrences, created_at = now()`
	if a.Document == nil {
		return nil
	}
	_, err := tx.Exec(ctx, upsert, pgx.NamedArgs{
		"manifest": manifestID, "tool": a.Document.Tool, "version": a.Document.ToolVersion, "packages": a.Document.Packages,
		"distro": cleanText(a.Document.Distro), "document": packed.document, "size": len(a.Document.JSON), "occurrences": packed.occurrences,
	})
	return err
}

// packedSBOM is what the columns of an SBOM hold.
type packedSBOM struct{ document, occurrences []byte }

func (s *Store) packSBOM(a scan.Answer) (p packedSBOM, err error) {
	if a.Document == nil {
		return p, nil
	}
	p.document = s.pack(a.Document.JSON)
	p.occurrences, err = s.packJSON(occurrenceRow{a.Inventory.Occurrences})
	return p, err
}

// occurrenceRow is what the column sbom.occurrences holds, compressed.
type occurrenceRow struct {
	Occurrences []inventory.Occurrence `json:"occurrences"`
}

// finishManifest gives a manifest its answer. Another one that it had stays in the
// past.
func finishManifest(ctx context.Context, tx pgx.Tx, manifestID, inventoryID int64, a scan.Answer) error {
	const past = `
		INSERT INTO manifest_past (manifest_id, inventory_id, since, until)
		SELECT id, inventory_id, COALESCE(answered_at, scanned_at), now() FROM manifest
		 WHERE id = $1 AND inventory_id <> $2 AND COALESCE(answered_at, scanned_at) < now()
		ON CONFLICT DO NOTHING`
	const finish = `
		UPDATE manifest SET inventory_id = $2, catalog_version = $3, state = 'done', reason = '', detail = '',
		       answered_at = CASE WHEN inventory_id = $2 THEN COALESCE(answered_at, scanned_at) ELSE now() END,
		       partial = CASE WHEN $5 THEN $4 ELSE partial END, -- what was not catalogued anew is as whole as it was
		       scanned_at = now(), lease_token = NULL, lease_until = NULL
		 WHERE id = $1`
	if _, err := tx.Exec(ctx, past, manifestID, inventoryID); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, finish, manifestID, inventoryID, a.CatalogVersion, cleanText(a.Partial), a.Document != nil); err != nil {
		return err
	}
	return refreshParents(ctx, tx, manifestID)
}

// activeBuild is the build in force, and since which build on what was judged
// and counted holds under it.
type activeBuild struct {
	id, judgedSince, countedSince int64
}

// holdActiveBuild takes the build lock shared until the transaction ends and
// returns the active build, which must be want.
func holdActiveBuild(ctx context.Context, tx pgx.Tx, want vuln.Build) (active activeBuild, err error) {
	const query = `
		SELECT id, COALESCE(judged_since, id), COALESCE(counted_since, id) FROM vuln_build
		 WHERE state = 'active' AND checksum = $1 AND engine = $2 AND engine_version = $3 AND config = $4`
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock_shared(`+lockKey("build")+`)`); err != nil {
		return active, err
	}
	err = tx.QueryRow(ctx, query, want.Checksum, want.Engine, want.EngineVersion, want.Config).
		Scan(&active.id, &active.judgedSince, &active.countedSince)
	if errors.Is(err, pgx.ErrNoRows) {
		return active, errs.New(errs.Conflict, "postgres: database build %.12s is not the active one", want.Checksum)
	}
	return active, err
}
