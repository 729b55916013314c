package postgres

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/migrations"
)

// Examination is what can be told of a database without changing it.
type Examination struct {
	Version  int    // as 160004
	Release  string // as "16.4"
	Database string
	User     string
	// ReadOnly is true on a standby, and where transactions only read.
	ReadOnly bool
	// MaxConnections is what the server allows in all, Reserved what of it is kept
	// for administrators, Used how many there are.
	MaxConnections, Reserved, Used int
	// Offset is how far the server's clock is ahead of ours, give or take Doubt.
	Offset, Doubt time.Duration
	// Schema is the newest migration that was applied, 0 for none; Newest the
	// newest that this program has. Queue and NewestQueue are the same of River.
	Schema, Newest     int64
	Queue, NewestQueue int
	// Denied are privileges the user lacks and needs, as "TRUNCATE on rematch"; at
	// most 20.
	Denied []string
}

// Behind reports whether migrations are missing.
func (e Examination) Behind() bool { return e.Schema < e.Newest || e.Queue < e.NewestQueue }

// Ahead reports whether a newer version of this program migrated the database.
func (e Examination) Ahead() bool { return e.Schema > e.Newest || e.Queue > e.NewestQueue }

// Examine connects once and looks around; it changes nothing. The error has a hint
// that says what to do. It is of kind Invalid for a bad url, Unauthorized when
// user or password are refused, NotFound when there is no such database, else
// Unavailable or Timeout.
func Examine(ctx context.Context, url string) (Examination, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return Examination{}, errs.New(errs.Invalid, "postgres: the database url cannot be read").
			WithHint("write it as postgres://user:password@host:5432/name?sslmode=…")
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return Examination{}, refusedBy(ctx, config, err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var e Examination
	for _, look := range []func(context.Context, *pgx.Conn) error{e.server, e.clock, e.schema, e.privileges} {
		if err := look(ctx, conn); err != nil {
			return e, wrap("examine", err)
		}
	}
	return e, nil
}

// refusedBy says why there is no connection, and what to do about it.
func refusedBy(ctx context.Context, c *pgx.ConnConfig, err error) error {
	at := net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port)))
	var said *pgconn.PgError
	var dns *net.DNSError
	switch {
	case errors.As(err, &said):
		return refusedWith(c, at, said)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return errs.New(errs.Timeout, "postgres: %s did not answer in time", at).
			WithHint("check host and port in database.url, and that a firewall lets this machine through")
	case errors.As(err, &dns):
		return errs.New(errs.Unavailable, "postgres: the name %.100q is not known", dns.Name).WithHint("check the host in database.url, and the name server of this machine")
	case strings.Contains(err.Error(), "refused TLS"):
		return errs.New(errs.Unavailable, "postgres: %s does not offer TLS, which sslmode asks for", at).
			WithHint("switch TLS on at the server, or set sslmode=disable in database.url where the network is trusted")
	case strings.Contains(err.Error(), "tls:"), strings.Contains(err.Error(), "x509:"):
		return errs.New(errs.Unavailable, "postgres: the certificate of %s is not trusted: %s", at, lastLine(err)).
			WithHint("name its authority with sslrootcert in database.url")
	}
	return errs.New(errs.Unavailable, "postgres: cannot connect to %s: %s", at, lastLine(err)).
		WithHint("check that Postgres runs there and that database.url or TIDEWAITER_DATABASE_URL names it")
}

// refusedWith reads the server's own word (Postgres manual, appendix A).
func refusedWith(c *pgx.ConnConfig, at string, said *pgconn.PgError) error {
	kind, hint := errs.Unavailable, "look into the log of the server"
	switch said.Code {
	case "28P01":
		kind, hint = errs.Unauthorized, "check user and password in database.url, and that ${…} or file: in it brings the present password"
	case "28000":
		kind, hint = errs.Unauthorized, "check the user in database.url, and that pg_hba.conf of the server lets it in from here"
	case "3D000":
		kind, hint = errs.NotFound, "make it with CREATE DATABASE, or correct the name in database.url"
	case "42501":
		kind, hint = errs.Forbidden, "GRANT CONNECT ON DATABASE to the user"
	case "53300":
		hint = "too many connections are open: raise max_connections of the server, or lower database.max_conns"
	case "57P03":
		hint = "it is starting or stopping: try again"
	}
	return errs.New(kind, "postgres: %s refuses user %.60q: %.300s", at, c.User, said.Message).WithHint("%s", hint)
}

// lastLine is what a failed attempt comes down to; pgx lists all of them.
func lastLine(err error) string {
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	last := strings.TrimSpace(lines[len(lines)-1])
	if _, what, ok := strings.Cut(last, ": "); ok && strings.Contains(last, "(") {
		last = what
	}
	return last[:min(len(last), 300)]
}

// server reads what it is and what it lets in.
func (e *Examination) server(ctx context.Context, conn *pgx.Conn) error {
	const query = `
		SELECT current_setting('server_version_num')::int, split_part(current_setting('server_version'), ' ', 1), current_database(), current_user,
		       pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on', current_setting('max_connections')::int,
		       current_setting('superuser_reserved_connections')::int,
		       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::int`
	return conn.QueryRow(ctx, query).Scan(&e.Version, &e.Release, &e.Database, &e.User, &e.ReadOnly, &e.MaxConnections, &e.Reserved, &e.Used)
}

// clock compares the server's clock with ours.
func (e *Examination) clock(ctx context.Context, conn *pgx.Conn) error {
	const query = `SELECT clock_timestamp()`
	var theirs time.Time
	asked := time.Now()
	if err := conn.QueryRow(ctx, query).Scan(&theirs); err != nil {
		return err
	}
	e.Doubt = time.Since(asked) / 2
	e.Offset = theirs.Sub(asked.Add(e.Doubt))
	return nil
}

// schema reads how far the database was migrated.
func (e *Examination) schema(ctx context.Context, conn *pgx.Conn) (err error) {
	if e.Newest, err = newestMigration(migrations.FS); err != nil {
		return err
	}
	migrator, err := rivermigrate.New(riverpgxv5.New(nil), nil)
	if err != nil {
		return err
	}
	for _, m := range migrator.AllVersions() {
		e.NewestQueue = max(e.NewestQueue, m.Version)
	}
	for _, part := range []struct {
		table, query string
		into         any
	}{
		{"goose_db_version", `SELECT COALESCE(max(version_id), 0) FROM goose_db_version WHERE is_applied`, &e.Schema},
		{"river_migration", `SELECT COALESCE(max(version), 0)::int FROM river_migration`, &e.Queue},
	} {
		var there bool
		if err := conn.QueryRow(ctx, `SELECT to_regclass($1) IS NOT NULL AND COALESCE(has_table_privilege(to_regclass($1), 'SELECT'), false)`, part.table).Scan(&there); err != nil {
			return err
		}
		if there {
			if err := conn.QueryRow(ctx, part.query).Scan(part.into); err != nil {
				return err
			}
		}
	}
	return nil
}

// newestMigration is the highest number among the files.
func newestMigration(files fs.FS) (newest int64, err error) {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		number, _, _ := strings.Cut(name, "_")
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return 0, errs.New(errs.Internal, "postgres: migration %s has no number", name)
		}
		newest = max(newest, n)
	}
	if newest == 0 {
		return 0, os.ErrNotExist
	}
	return newest, nil
}

// privileges lists what the user may not do and has to: the tables of a database
// update are emptied with TRUNCATE, and events get a partition each month, which
// only the owner of their table may make.
func (e *Examination) privileges(ctx context.Context, conn *pgx.Conn) error {
	const query = `
		WITH ours AS (
			SELECT c.oid, c.relname::text AS name, c.relowner FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			 WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p') AND EXISTS (SELECT 1 WHERE to_regclass('goose_db_version') IS NOT NULL)
		)
		SELECT what FROM (
			SELECT 1 AS rank, 'CREATE on the schema ' || COALESCE(current_schema(), 'public, which is not in the search_path') AS what
			 WHERE NOT COALESCE(has_schema_privilege(current_schema(), 'CREATE'), false)
			UNION ALL
			SELECT 2, 'TEMPORARY on the database ' || current_database() WHERE NOT has_database_privilege(current_database(), 'TEMPORARY')
			UNION ALL
			SELECT 3, 'ownership of ' || name FROM ours WHERE name = 'finding_event' AND NOT pg_has_role(relowner, 'USAGE')
			UNION ALL
			SELECT 4, p.privilege || ' on ' || name FROM ours, (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE')) p (privilege)
			 WHERE name NOT IN ('goose_db_version', 'river_migration') AND NOT has_table_privilege(oid, p.privilege)
			UNION ALL
			SELECT 5, 'TRUNCATE on ' || name FROM ours WHERE name LIKE 'rematch%' AND NOT has_table_privilege(oid, 'TRUNCATE')
		) denied ORDER BY rank, what LIMIT 20`
	rows, err := conn.Query(ctx, query)
	if err != nil {
		return err
	}
	e.Denied, err = pgx.CollectRows(rows, pgx.RowTo[string])
	return err
}
