package postgres

import (
	"context"
	"io"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// archiveChunk is how much of an archive one row holds.
const archiveChunk = 4 << 20

// Archive describes a packed vulnerability database.
type Archive struct {
	Checksum      string // names the build
	Database      string // of the database file inside
	Digest        string // of the packed bytes
	Size          int64  // packed
	SchemaVersion string
	Built         time.Time
	Source        string
	Sample        bool
}

// Archives lists those that are whole, newest data first.
func (s *Store) Archives(ctx context.Context) ([]Archive, error) {
	const query = `
		SELECT checksum, database, digest, size, schema_version, built, source, sample
		  FROM vuln_archive WHERE complete ORDER BY built DESC, checksum`
	rows, err := s.pool.Query(ctx, query)
	if err != nil {
		return nil, wrap("list archives", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[Archive])
	return found, wrap("list archives", err)
}

// Archive returns one that is whole; kind NotFound without it.
func (s *Store) Archive(ctx context.Context, checksum string) (Archive, error) {
	const query = `
		SELECT checksum, database, digest, size, schema_version, built, source, sample
		  FROM vuln_archive WHERE complete AND checksum = $1`
	rows, err := s.pool.Query(ctx, query, checksum)
	if err != nil {
		return Archive{}, wrap("read archive", err)
	}
	found, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Archive])
	return found, wrap("read archive", err)
}

// SaveArchive keeps an archive, chunk by chunk. It goes on where another attempt
// with the same bytes was cut off, and starts over when they are others. One that
// is whole stays as it is. Only one process may do it at a time.
func (s *Store) SaveArchive(ctx context.Context, a Archive, content io.ReaderAt) error {
	const chunk = `
		INSERT INTO vuln_archive_chunk (checksum, number, content)
		SELECT checksum, $3, $4 FROM vuln_archive WHERE checksum = $1 AND digest = $2 AND NOT complete
		ON CONFLICT (checksum, number) DO UPDATE SET content = EXCLUDED.content`
	next, complete, err := s.beginArchive(ctx, a)
	if err != nil || complete {
		return err
	}
	buffer := make([]byte, archiveChunk)
	for offset := int64(next) * archiveChunk; offset < a.Size; offset += archiveChunk {
		part := buffer[:min(archiveChunk, a.Size-offset)]
		if _, err := content.ReadAt(part, offset); err != nil {
			return errs.Wrap(errs.Internal, "postgres: read archive", err)
		}
		tag, err := s.pool.Exec(ctx, chunk, a.Checksum, a.Digest, int(offset/archiveChunk), part)
		if err != nil {
			return wrap("save archive", err)
		}
		if tag.RowsAffected() == 0 {
			return errs.New(errs.Canceled, "postgres: archive of build %s is not wanted any more", a.Checksum)
		}
	}
	return s.completeArchive(ctx, a)
}

// beginArchive makes the row and returns the number of the first chunk that is
// missing.
func (s *Store) beginArchive(ctx context.Context, a Archive) (next int, complete bool, err error) {
	const other = `DELETE FROM vuln_archive WHERE checksum = $1 AND digest <> $2 AND NOT complete`
	const insert = `
		INSERT INTO vuln_archive (checksum, database, digest, size, schema_version, built, source, sample)
		VALUES (@checksum, @database, @digest, @size, @schema, @built, @source, @sample) ON CONFLICT DO NOTHING`
	const progress = `
		SELECT a.complete, COALESCE((SELECT max(c.number) + 1 FROM vuln_archive_chunk c WHERE c.checksum = a.checksum), 0)
		  FROM vuln_archive a WHERE a.checksum = $1`
	err = s.inTx(ctx, "begin archive", func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, other, a.Checksum, a.Digest); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, insert, pgx.NamedArgs{"checksum": a.Checksum, "database": a.Database, "digest": a.Digest, "size": a.Size,
			"schema": a.SchemaVersion, "built": a.Built, "source": a.Source, "sample": a.Sample})
		if err != nil {
			return err
		}
		return tx.QueryRow(ctx, progress, a.Checksum).Scan(&complete, &next)
	})
	return next, complete, err
}

// completeArchive lets others see an archive, once all of it is there.
func (s *Store) completeArchive(ctx context.Context, a Archive) error {
	const update = `
		UPDATE vuln_archive a SET complete = true
		 WHERE checksum = $1 AND digest = $2
		   AND size = (SELECT sum(length(c.content)) FROM vuln_archive_chunk c WHERE c.checksum = a.checksum)`
	tag, err := s.pool.Exec(ctx, update, a.Checksum, a.Digest)
	if err == nil && tag.RowsAffected() == 0 {
		return errs.New(errs.Internal, "postgres: archive of build %s is not whole", a.Checksum)
	}
	return wrap("complete archive", err)
}

// ReadArchive reads the packed bytes from an offset on. Reading fails with kind
// NotFound when the archive goes away meanwhile.
func (s *Store) ReadArchive(ctx context.Context, a Archive, offset int64) io.Reader {
	return &archiveReader{ctx: ctx, store: s, archive: a, offset: offset}
}

type archiveReader struct {
	ctx     context.Context
	store   *Store
	archive Archive
	offset  int64
	rest    []byte // of the chunk that was read last
}

// Read fetches one chunk at a time.
func (r *archiveReader) Read(p []byte) (int, error) {
	const query = `
		SELECT c.content FROM vuln_archive_chunk c JOIN vuln_archive a USING (checksum)
		 WHERE c.checksum = $1 AND a.digest = $2 AND c.number = $3`
	if len(r.rest) == 0 {
		if r.offset >= r.archive.Size {
			return 0, io.EOF
		}
		var content []byte
		row := r.store.pool.QueryRow(r.ctx, query, r.archive.Checksum, r.archive.Digest, int(r.offset/archiveChunk))
		if err := row.Scan(&content); err != nil {
			return 0, wrap("read archive", err)
		}
		skip := r.offset % archiveChunk
		if skip >= int64(len(content)) {
			return 0, errs.New(errs.Malformed, "postgres: chunk %d of archive %s is too short", r.offset/archiveChunk, r.archive.Checksum)
		}
		r.rest = content[skip:]
	}
	n := copy(p, r.rest)
	r.rest, r.offset = r.rest[n:], r.offset+int64(n)
	return n, nil
}

// DropArchives removes what no replica can need any more: archives of builds that
// are neither candidate, active nor held. One that no process judged with yet
// stays while its data is newer than that of the active build. It returns how
// many went.
func (s *Store) DropArchives(ctx context.Context) (int64, error) {
	const drop = `
		DELETE FROM vuln_archive a
		 WHERE NOT EXISTS (SELECT 1 FROM vuln_build b WHERE b.checksum = a.checksum AND b.state IN ('candidate', 'active', 'held'))
		   AND (EXISTS (SELECT 1 FROM vuln_build b WHERE b.checksum = a.checksum)
		        OR EXISTS (SELECT 1 FROM vuln_build b WHERE b.state = 'active' AND (b.sample < a.sample OR b.sample = a.sample AND b.built > a.built)))`
	tag, err := s.pool.Exec(ctx, drop)
	return tag.RowsAffected(), wrap("drop archives", err)
}
