package postgres_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/pgtest"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
)

// anArchive is random bytes, described.
func anArchive(t *testing.T, size int, built time.Time) (postgres.Archive, []byte) {
	t.Helper()
	content := make([]byte, size)
	random := rand.NewChaCha8([32]byte{byte(size), byte(built.Day())})
	if _, err := random.Read(content); err != nil {
		t.Fatal(err)
	}
	sum := fmt.Sprintf("sha256:%x", sha256.Sum256(content))
	return postgres.Archive{
		Checksum: sum, Database: sum, Digest: sum, Size: int64(size), SchemaVersion: "v6.1.10", Built: built, Source: "file:x",
	}, content
}

var archiveDay = time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)

func TestAnArchiveIsKeptAndReadFromAnywhere(t *testing.T) {
	store := postgres.New(pgtest.New(t))
	a, content := anArchive(t, 9<<20+17, archiveDay)
	if err := store.SaveArchive(t.Context(), a, bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	found, err := store.Archives(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range found {
		found[i].Built = found[i].Built.UTC()
	}
	if diff := cmp.Diff([]postgres.Archive{a}, found); diff != "" {
		t.Error(diff)
	}
	for _, offset := range []int64{0, 1, 4 << 20, 5 << 20, a.Size - 1, a.Size} {
		got, err := io.ReadAll(store.ReadArchive(t.Context(), a, offset))
		if err != nil || !bytes.Equal(got, content[offset:]) {
			t.Errorf("from %d: %d bytes, %v", offset, len(got), err)
		}
	}
}

// cutAfter fails from an offset on, and counts what was read.
type cutAfter struct {
	*bytes.Reader
	at   int64
	read int
}

func (c *cutAfter) ReadAt(p []byte, offset int64) (int, error) {
	if offset >= c.at {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := c.Reader.ReadAt(p, offset)
	c.read += n
	return n, err
}

func TestKeepingAnArchiveGoesOnWhereItWasCutOff(t *testing.T) {
	pool := pgtest.New(t)
	store := postgres.New(pool)
	a, content := anArchive(t, 10<<20, archiveDay)
	if err := store.SaveArchive(t.Context(), a, &cutAfter{Reader: bytes.NewReader(content), at: 8 << 20}); err == nil {
		t.Fatal("an archive that could not be read is kept")
	}
	if _, err := store.Archive(t.Context(), a.Checksum); !errs.Is(err, errs.NotFound) {
		t.Errorf("half an archive is shown: %v", err)
	}
	rest := &cutAfter{Reader: bytes.NewReader(content), at: a.Size}
	if err := store.SaveArchive(t.Context(), a, rest); err != nil {
		t.Fatal(err)
	}
	if rest.read != 2<<20 {
		t.Errorf("%d bytes were read again, want 2 MiB", rest.read)
	}
	// Packed otherwise by another process after it was cut off.
	b, other := anArchive(t, 5<<20, archiveDay.AddDate(0, 0, 1))
	if err := store.SaveArchive(t.Context(), b, &cutAfter{Reader: bytes.NewReader(other), at: 4 << 20}); err == nil {
		t.Fatal("an archive that could not be read is kept")
	}
	again, otherwise := anArchive(t, 6<<20, archiveDay.AddDate(0, 0, 1))
	again.Checksum, again.Database = b.Checksum, b.Database
	if err := store.SaveArchive(t.Context(), again, bytes.NewReader(otherwise)); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(store.ReadArchive(t.Context(), again, 0))
	if err != nil || !bytes.Equal(got, otherwise) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestArchivesNobodyNeedsGo(t *testing.T) {
	pool := pgtest.New(t)
	store := postgres.New(pool)
	kept := map[string]bool{}
	for i, c := range []struct {
		state string // of the build; empty without one
		day   int    // after that of the active build
		kept  bool
	}{{"active", 0, true}, {"held", 1, true}, {"retired", 2, false}, {"candidate", 3, true}, {"", 4, true}, {"", -1, false}} {
		a, content := anArchive(t, 100+i, archiveDay.AddDate(0, 0, c.day))
		if err := store.SaveArchive(t.Context(), a, bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
		if c.kept {
			kept[a.Checksum] = true
		}
		if c.state == "" {
			continue
		}
		_, err := pool.Exec(t.Context(), `
			INSERT INTO vuln_build (checksum, engine, engine_version, config, schema_version, built, state)
			VALUES ($1, 'grype', 'v1', 'x', 'v6', $2, $3)`, a.Checksum, a.Built, c.state)
		if err != nil {
			t.Fatal(err)
		}
	}
	if n, err := store.DropArchives(t.Context()); n != 2 || err != nil {
		t.Errorf("%d archives went (%v), want 2", n, err)
	}
	found, err := store.Archives(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, a := range found {
		got[a.Checksum] = true
	}
	if diff := cmp.Diff(kept, got); diff != "" {
		t.Error(diff)
	}
	var chunks int
	if err := pool.QueryRow(t.Context(), `SELECT count(*) FROM vuln_archive_chunk`).Scan(&chunks); err != nil || chunks != len(kept) {
		t.Errorf("%d chunks are left (%v)", chunks, err)
	}
}

func TestALookForANewerDatabaseIsTakenOnce(t *testing.T) {
	pool := pgtest.New(t)
	store := postgres.New(pool)
	due := func(every time.Duration, want bool, when string) {
		t.Helper()
		if got, err := store.BeginBuildCheck(t.Context(), every); got != want || err != nil {
			t.Errorf("%s: due %v (%v), want %v", when, got, err, want)
		}
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	due(0, false, "never by itself")
	due(time.Hour, true, "the first")
	due(time.Hour, true, "cut off")
	do(store.EndBuildCheck(t.Context(), "unchanged", ""))
	due(time.Hour, false, "just looked")
	do(store.RequestBuildCheck(t.Context()))
	due(0, true, "somebody asked")
	do(store.EndBuildCheck(t.Context(), "failed", "no\x00way"))
	due(0, false, "it was done")
	due(time.Microsecond, true, "long ago")
	if c, err := store.BuildCheck(t.Context()); err != nil || c.Outcome != "failed" || c.Detail == "" || c.EndedAt == nil || c.RequestedAt == nil {
		t.Errorf("check = %+v, %v", c, err)
	}
}
