package vulndb

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"database/sql"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/anchore/grype/grype/distro"
	"github.com/anchore/grype/grype/search"
	"github.com/anchore/grype/grype/version"
	"github.com/anchore/grype/grype/vulnerability"
	"github.com/anchore/syft/syft/pkg"
	"github.com/ulikunitz/xz"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// openLibrary opens a library, in a fresh directory unless cfg names one.
func openLibrary(t *testing.T, cfg Config) *Library {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	lib, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return lib
}

// openReader opens a build as the matcher does.
func openReader(t *testing.T, in Installed) v6.Reader {
	t.Helper()
	r, err := v6.NewReader(v6.Config{DBDirPath: in.Dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// question asks a database about one version of one package.
type question struct {
	os   distro.Type // empty for language packages
	rel  string
	kind pkg.Type
	name string
	ver  string
}

// find answers "id namespace fix-state version" for what affects the package.
func find(t *testing.T, r v6.Reader, q question) []string {
	t.Helper()
	format := version.ParseFormat(string(q.kind))
	criteria := []vulnerability.Criteria{search.ByPackageName(q.name), search.ByVersion(*version.New(q.ver, format))}
	if q.os != "" {
		criteria = append(criteria, search.ByDistro(*distro.New(q.os, q.rel, "")))
	} else {
		criteria = append(criteria, search.ByEcosystem("", q.kind))
	}
	found, err := v6.NewVulnerabilityProvider(r).FindVulnerabilities(criteria...)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, v := range found {
		out = append(out, strings.TrimSpace(strings.Join([]string{v.ID, v.Namespace, string(v.Fix.State), strings.Join(v.Fix.Versions, ",")}, " ")))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// buildSample writes an archive of the sample, named as asked for.
func buildSample(t *testing.T, name string) BuildReport {
	t.Helper()
	report, err := Build(t.Context(), BuildOptions{Sample: true, Out: filepath.Join(t.TempDir(), name)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// database returns the bytes of a database as delivered: without indexes.
func database(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	if _, err := writeSample(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, v6.VulnerabilityDBFileName))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// tarEntry is a file in a test's archive.
type tarEntry struct {
	tar.Header
	content []byte
}

func file(name string, content []byte) tarEntry {
	return tarEntry{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(content))}, content}
}

// tarball packs entries, without compression.
func tarball(t *testing.T, entries ...tarEntry) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, e := range entries {
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func gzipped(t *testing.T, raw []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	return compressed(t, &buf, gzip.NewWriter(&buf), raw)
}

func xzipped(t *testing.T, raw []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w, err := xz.NewWriter(&buf)
	if err != nil {
		t.Fatal(err)
	}
	return compressed(t, &buf, w, raw)
}

func compressed(t *testing.T, buf *bytes.Buffer, w io.WriteCloser, raw []byte) []byte {
	t.Helper()
	if _, err := w.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// save writes a file into a fresh directory and returns its path.
func save(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// wantKind fails unless err is of the kind and its text and hint name the word.
func wantKind(t *testing.T, err error, kind errs.Kind, word string) {
	t.Helper()
	if !errs.Is(err, kind) {
		t.Fatalf("error %v is %q, want %q", err, errs.KindOf(err), kind)
	}
	if text := err.Error() + " " + errs.Hint(err); !strings.Contains(text, word) {
		t.Errorf("error and hint %q do not mention %q", text, word)
	}
}

// wantClean fails when an operation left something in the working directories.
func wantClean(t *testing.T, lib *Library) {
	t.Helper()
	for _, dir := range []string{stagingDir, downloadsDir} {
		entries, err := os.ReadDir(lib.path(dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			t.Errorf("%s was left in %s", e.Name(), dir)
		}
	}
}

// buildDated writes an archive of the sample with another date, and so with
// another name.
func buildDated(t *testing.T, built time.Time) BuildReport {
	t.Helper()
	report, err := Build(t.Context(), BuildOptions{Sample: true, Built: built, Out: t.TempDir()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// count runs a query for a number on an installed build.
func count(t *testing.T, in Installed, query string) (n int) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(in.Dir, v6.VulnerabilityDBFileName)+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow(query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// otherDatabase makes an SQLite database of its own.
func otherDatabase(t *testing.T, statements string) []byte {
	t.Helper()
	return changedDatabase(t, nil, statements)
}

// changedDatabase runs statements on a copy of a database.
func changedDatabase(t *testing.T, raw []byte, statements string) []byte {
	t.Helper()
	path := save(t, "changed.db", raw)
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(statements); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	raw, err = os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func checksumOf(t *testing.T, raw []byte) string {
	t.Helper()
	sum, err := fileChecksum(save(t, "x", raw))
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

func half(raw []byte) []byte { return raw[:len(raw)/2] }
