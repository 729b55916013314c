package main

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/klauspost/compress/zstd"

	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// seeder writes a world into a database, as a service would have after a while.
// Packages are judged for real, through the store; the rest is copied in bulk.
type seeder struct {
	pool    *pgxpool.Pool
	store   *postgres.Store
	world   *world
	scale   scale
	session *recorder
	pack    *zstd.Encoder
	random  *rand.Rand

	build    int64
	packages []int64 // ids by number
	found    []map[named]worst
}

func newSeeder(pool *pgxpool.Pool, store *postgres.Store, w *world, s scale, session scan.Session) (*seeder, error) {
	pack, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest))
	return &seeder{pool: pool, store: store, world: w, scale: s, session: newRecorder(session), pack: pack, random: rand.New(rand.NewPCG(3, 3))}, err
}

// run writes everything.
func (s *seeder) run(ctx context.Context) error {
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"packages", s.copyPackages}, {"judgements", s.judge}, {"inventories", s.copyInventories}, {"members", s.copyMembers},
		{"summaries", s.copySummaries}, {"repositories", s.copyRepositories}, {"manifests and tags", s.copyManifests},
		{"findings", s.copyFindings}, {"statistics", s.analyze},
	} {
		start := time.Now()
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("seed %s: %w", step.name, err)
		}
		progress(fmt.Sprintf("seeded %s in %.1f s", step.name, time.Since(start).Seconds()))
	}
	return nil
}

// copyPackages stores packages as judged by a build that knows nothing, for
// which every later one is news.
func (s *seeder) copyPackages(ctx context.Context) error {
	nothing := vuln.Build{Checksum: "sha256:" + fmt.Sprintf("%064d", 0), Engine: "none", EngineVersion: "none", Config: "none", SchemaVersion: "none", Built: time.Unix(0, 0)}
	first, _, err := s.store.BeginBuild(ctx, nothing)
	if err != nil {
		return err
	}
	_, err = s.pool.CopyFrom(ctx, pgx.Identifier{"package"},
		[]string{"fingerprint", "type", "name", "version", "language", "purl", "distro", "input", "judged_build"},
		pgx.CopyFromSlice(len(s.world.packages), func(i int) ([]any, error) {
			p := s.world.packages[i]
			input, err := json.Marshal(p)
			return []any{s.world.prints[i][:], p.Type, p.Name, p.Version, p.Language, p.PURL, p.Distro.String(), s.pack.EncodeAll(input, nil), first}, err
		}))
	if err != nil {
		return err
	}
	rows, err := s.pool.Query(ctx, `SELECT id, fingerprint FROM package`)
	if err != nil {
		return err
	}
	s.packages = make([]int64, len(s.world.packages))
	var id int64
	var fingerprint []byte
	_, err = pgx.ForEachRow(rows, []any{&id, &fingerprint}, func() error {
		s.packages[s.world.numbers[inventory.Fingerprint(fingerprint)]] = id
		return nil
	})
	return err
}

// judge has the service itself judge all of them.
func (s *seeder) judge(ctx context.Context) error {
	if _, err := s.pool.Exec(ctx, `ANALYZE`); err != nil {
		return err
	}
	rejudger := scan.Rejudger{Store: s.store}
	done, err := rejudger.Rejudge(ctx, s.session)
	s.build = done.Build
	return err
}

func (s *seeder) copyInventories(ctx context.Context) error {
	return s.quickly(ctx, "inventory", []string{"id", "fingerprint", "distro", "distro_input", "package_count", "types", "versionless"}, len(s.world.inventories),
		func(i int) ([]any, error) {
			h := s.world.inventories[i]
			fingerprint := sha256.Sum256(fmt.Appendf(nil, "inventory %d", i))
			input, err := json.Marshal(h.distro)
			return []any{int64(i + 1), fingerprint[:], h.distro.String(), input, len(h.packages), s.types(h), []string{}}, err
		})
}

func (s *seeder) types(h held) []string {
	out := []string{}
	for _, n := range h.packages {
		if t := s.world.packages[n].Type; !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	slices.Sort(out)
	return out
}

func (s *seeder) copyMembers(ctx context.Context) error {
	type place struct{ inventory, member int }
	var places []place
	for i, h := range s.world.inventories {
		for m := range h.packages {
			places = append(places, place{i, m})
		}
	}
	return s.quickly(ctx, "inventory_package", []string{"inventory_id", "member", "package_id", "owners", "excluded"}, len(places),
		func(i int) ([]any, error) {
			at := places[i]
			h := s.world.inventories[at.inventory]
			owners := []int64{}
			if o, ok := h.owners[at.member]; ok {
				owners = append(owners, s.packages[h.packages[o]])
			}
			return []any{int64(at.inventory + 1), at.member, s.packages[h.packages[at.member]], owners, ""}, nil
		})
}

// copySummaries counts what the service would have counted; check compares some.
func (s *seeder) copySummaries(ctx context.Context) error {
	s.found = make([]map[named]worst, len(s.world.inventories))
	for i, h := range s.world.inventories {
		s.found[i] = s.session.findings(s.world, h)
	}
	err := s.quickly(ctx, "inventory_summary", []string{"inventory_id", "build_id", "critical", "high", "medium", "low", "negligible", "unknown",
		"fixable", "known_exploited", "ignored", "no_data", "distro_eol"}, len(s.found), func(i int) ([]any, error) {
		noData, end, err := s.coverage(ctx, s.world.inventories[i])
		c := countsOf(s.found[i])
		return []any{int64(i + 1), s.build, c.ranks[5], c.ranks[4], c.ranks[3], c.ranks[2], c.ranks[1], c.ranks[0], c.fixable, c.exploited, c.ignored, noData, end}, err
	})
	if err != nil {
		return err
	}
	return s.check(ctx)
}

type seedCounts struct {
	ranks                       [6]int
	fixable, exploited, ignored int
}

func countsOf(found map[named]worst) (c seedCounts) {
	for _, w := range found {
		if w.ignored {
			c.ignored++
			continue
		}
		c.ranks[w.rank]++
		c.fixable += btoi(w.fixable)
		c.exploited += btoi(w.exploited)
	}
	return c
}

func (s *seeder) coverage(ctx context.Context, h held) ([]string, *time.Time, error) {
	inv := &inventory.Inventory{Distro: h.distro}
	for i, n := range h.packages {
		inv.Packages = append(inv.Packages, s.world.packages[n])
		inv.Members = append(inv.Members, inventory.Member{Package: i})
	}
	noData, end, err := s.session.Coverage(ctx, inv)
	if end.IsZero() {
		return noData, nil, err
	}
	return noData, &end, err
}

// check holds some counts to those that the store's own rule makes.
func (s *seeder) check(ctx context.Context) error {
	const query = `
		SELECT count(*) FILTER (WHERE NOT ignored), count(*) FILTER (WHERE ignored)
		  FROM (SELECT bool_and(v.ignored <> '') AS ignored FROM verdicts(ARRAY[$1::bigint], $2) v JOIN package p ON p.id = v.package_id
		         GROUP BY p.type, p.name, v.canonical) f`
	for range 20 {
		i := s.random.IntN(len(s.found))
		var open, ignored int
		if err := s.pool.QueryRow(ctx, query, i+1, s.build).Scan(&open, &ignored); err != nil {
			return err
		}
		if c := countsOf(s.found[i]); c.ignored != ignored || len(s.found[i])-c.ignored != open {
			return fmt.Errorf("inventory %d is seeded with %d findings and %d ignored, the store counts %d and %d", i+1, len(s.found[i])-c.ignored, c.ignored, open, ignored)
		}
	}
	return nil
}

func (s *seeder) copyRepositories(ctx context.Context) error {
	if _, err := s.pool.Exec(ctx, `INSERT INTO registry (name, host) VALUES ('local', 'registry.test')`); err != nil {
		return err
	}
	err := s.quickly(ctx, "repository", []string{"id", "registry_id", "name", "compared", "last_push_at"}, len(s.world.repositories), func(i int) ([]any, error) {
		r := s.world.repositories[i]
		var list []byte
		for n, id := range r.inventories {
			if n > 0 {
				list = append(list, ',')
			}
			list = strconv.AppendInt(list, int64(id+1), 10)
		}
		return []any{int64(i + 1), int64(1), r.name, fmt.Sprintf("%d/%x", s.build, md5.Sum(list)), time.Now()}, nil
	})
	if err != nil {
		return err
	}
	var pairs [][]any
	for i, r := range s.world.repositories {
		for _, id := range r.inventories {
			pairs = append(pairs, []any{int64(i + 1), int64(id + 1)})
		}
	}
	return s.quickly(ctx, "repository_inventory", []string{"repository_id", "inventory_id"}, len(pairs), func(i int) ([]any, error) { return pairs[i], nil })
}

// copyFindings writes what repositories have, through the triggers that count
// days, and the event of each.
func (s *seeder) copyFindings(ctx context.Context) error {
	const each = 100
	at := time.Now()
	for from := 0; from < len(s.world.repositories); from += each {
		var findings, events [][]any
		for i := from; i < min(from+each, len(s.world.repositories)); i++ {
			union := map[named]worst{}
			for _, id := range s.world.repositories[i].inventories {
				for key, one := range s.found[id] {
					if one.ignored {
						continue
					}
					if before, ok := union[key]; ok {
						one = one.with(before)
					}
					union[key] = one
				}
			}
			for key, w := range union {
				opened := at.Add(-time.Duration(s.random.IntN(90*24)) * time.Hour)
				severity := string(vuln.Severities()[(5-w.rank+6)%6])
				findings = append(findings, []any{int64(i + 1), key.kind, key.name, key.vulnerability, severity, int16(w.rank), w.fixable, w.exploited, w.likely, opened})
				events = append(events, []any{opened, int64(i + 1), key.kind, key.name, key.vulnerability, "opened", severity, "push", s.build})
			}
		}
		if err := s.copyRows(ctx, "repository_finding", []string{"repository_id", "package_type", "package_name", "vulnerability", "severity", "severity_rank",
			"fixable", "known_exploited", "likely", "opened_at"}, findings); err != nil {
			return err
		}
		if err := s.copyRows(ctx, "finding_event", []string{"occurred_at", "repository_id", "package_type", "package_name", "vulnerability", "kind", "severity", "cause", "build_id"}, events); err != nil {
			return err
		}
	}
	return nil
}

func (s *seeder) copyRows(ctx context.Context, table string, columns []string, rows [][]any) error {
	_, err := s.pool.CopyFrom(ctx, pgx.Identifier{table}, columns, pgx.CopyFromRows(rows))
	return err
}

// analyze leaves the database as autovacuum would have.
func (s *seeder) analyze(ctx context.Context) error {
	_, err := s.pool.Exec(ctx, `VACUUM ANALYZE`)
	return err
}

// quickly copies many rows: without references checked row by row, and with
// indexes made afterwards. Identities go on after the greatest id.
func (s *seeder) quickly(ctx context.Context, table string, columns []string, n int, row func(int) ([]any, error)) error {
	const indexes = `
		SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid) FROM pg_index i
		 WHERE i.indrelid = $1::regclass AND NOT i.indisunique`
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	rows, err := conn.Query(ctx, indexes, table)
	if err != nil {
		return err
	}
	var names, definitions []string
	var name, definition string
	if _, err := pgx.ForEachRow(rows, []any{&name, &definition}, func() error {
		names, definitions = append(names, name), append(definitions, definition)
		return nil
	}); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, `SET session_replication_role = replica; SET maintenance_work_mem = '512MB'`); err != nil {
		return err
	}
	for _, name := range names {
		if _, err := conn.Exec(ctx, `DROP INDEX `+name); err != nil {
			return err
		}
	}
	if _, err := conn.CopyFrom(ctx, pgx.Identifier{table}, columns, pgx.CopyFromSlice(n, row)); err != nil {
		return err
	}
	for _, definition := range definitions {
		if _, err := conn.Exec(ctx, definition); err != nil {
			return err
		}
	}
	if columns[0] == "id" {
		if _, err := conn.Exec(ctx, `SELECT setval(pg_get_serial_sequence($1, 'id'), (SELECT max(id) FROM `+table+`))`, table); err != nil {
			return err
		}
	}
	_, err = conn.Exec(ctx, `RESET session_replication_role; RESET maintenance_work_mem`)
	return err
}
