package vulndb

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/anchore/syft/syft/pkg"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

func TestImportFormats(t *testing.T) {
	db := database(t)
	archive := tarball(t, file("import.json", []byte("{}")), file("./"+v6.VulnerabilityDBFileName, db))
	zst, gz := buildSample(t, "a.tar.zst"), buildSample(t, "a.tar.gz")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, v6.VulnerabilityDBFileName), db, 0o644); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join(dir, v6.VulnerabilityDBFileName))
	if err != nil {
		t.Fatal(err)
	}
	bare := checksumOf(t, want)
	tests := []struct {
		name, path, checksum string
		archived             bool
	}{
		{"tar.zst", zst.Archive, zst.Checksum, true},
		{"tar.gz", gz.Archive, gz.Checksum, true},
		{"tar.xz", save(t, "a.tar.xz", xzipped(t, archive)), bare, true},
		{"plain tar", save(t, "a.tar", archive), bare, true},
		{"named wrongly", save(t, "a.tar.zst", gzipped(t, archive)), bare, true},
		{"compressed database", save(t, "vulnerability.db.gz", gzipped(t, db)), bare, true},
		{"database file", save(t, "some.db", db), bare, false},
		{"directory with a database", dir, bare, false},
		{"directory with latest.json", filepath.Dir(zst.Archive), zst.Checksum, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			lib := openLibrary(t, Config{})
			in, err := lib.Import(t.Context(), tt.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if in.Checksum != tt.checksum {
				t.Errorf("checksum %s, want %s", in.Checksum, tt.checksum)
			}
			if !in.Built.Equal(sampleDate) {
				t.Errorf("built %v, want %v", in.Built, sampleDate)
			}
			if (in.Archive != "") != tt.archived {
				t.Errorf("archive checksum %q", in.Archive)
			}
			wantUsable(t, lib, in)
			wantClean(t, lib)
		})
	}
}

// wantUsable fails unless in is current and answers like a sample, with
// indexes.
func wantUsable(t *testing.T, lib *Library, in Installed) {
	t.Helper()
	current, err := lib.Current()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(in, current); diff != "" {
		t.Errorf("current is another build (-want +got):\n%s", diff)
	}
	if !in.Sample || in.SchemaVersion != "v6.1.10" || in.Bytes == 0 {
		t.Errorf("installed %+v", in)
	}
	got := find(t, openReader(t, in), question{kind: pkg.NpmPkg, name: "lodash", ver: "4.17.20"})
	if diff := cmp.Diff([]string{"GHSA-35jh-r3h4-6jhm github:language:javascript fixed 4.17.21"}, got); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	if n := count(t, in, `SELECT count(*) FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL`); n < 10 {
		t.Errorf("%d indexes: the database was not indexed", n)
	}
}

func TestImportOverridesAge(t *testing.T) {
	lib := openLibrary(t, Config{})
	newer := buildDated(t, sampleDate.Add(24*time.Hour))
	older := buildDated(t, sampleDate.Add(-24*time.Hour))
	for _, r := range []BuildReport{newer, older} {
		if _, err := lib.Import(t.Context(), r.Archive, nil); err != nil {
			t.Fatal(err)
		}
	}
	current, err := lib.Current()
	if err != nil {
		t.Fatal(err)
	}
	if current.Checksum != older.Checksum {
		t.Error("importing an older database did not make it current")
	}
	all, err := lib.List()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, in := range all {
		got = append(got, in.Checksum)
	}
	if diff := cmp.Diff([]string{newer.Checksum, older.Checksum}, got); diff != "" {
		t.Errorf("list is not newest first (-want +got):\n%s", diff)
	}
}

func TestImportTwiceIsOneBuild(t *testing.T) {
	lib := openLibrary(t, Config{})
	path := buildSample(t, "a.tar.gz").Archive
	first, err := lib.Import(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	second, err := lib.Import(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("the second import changed the build (-first +second):\n%s", diff)
	}
}

// TestReplicasAgree copies a build directory from one library to another: it
// keeps its name although its file has indexes by now, and loses it when the
// file is not the one the name is of.
func TestReplicasAgree(t *testing.T) {
	one := openLibrary(t, Config{})
	in, err := one.Import(t.Context(), buildSample(t, "a.tar.zst").Archive, nil)
	if err != nil {
		t.Fatal(err)
	}
	two, err := openLibrary(t, Config{}).Import(t.Context(), in.Dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	ignore := cmpopts.IgnoreFields(Installed{}, "Dir", "Source", "InstalledAt", "Archive")
	if diff := cmp.Diff(in, two, ignore); diff != "" {
		t.Errorf("replicas disagree (-one +two):\n%s", diff)
	}
	if err := setBuilt(filepath.Join(in.Dir, v6.VulnerabilityDBFileName), sampleDate.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	changed, err := openLibrary(t, Config{}).Import(t.Context(), in.Dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if changed.Checksum == in.Checksum {
		t.Error("a changed database kept the name of the old one")
	}
}

func TestImportRefusals(t *testing.T) {
	db := database(t)
	lib := openLibrary(t, Config{MaxBytes: int64(len(db)) + 1<<16})
	before, err := lib.Import(t.Context(), save(t, "good.db", db), nil)
	if err != nil {
		t.Fatal(err)
	}
	mirror := buildSample(t, "v6.tar.gz")
	if err := os.WriteFile(mirror.Archive, []byte("changed since"), 0o644); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		path string
		kind errs.Kind
		word string
	}{
		{"no such file", filepath.Join(t.TempDir(), "none.tar.gz"), errs.Invalid, "no such file"},
		{"empty directory", t.TempDir(), errs.Invalid, "latest.json"},
		{"archive that latest.json does not describe", filepath.Dir(mirror.Archive), errs.Malformed, "checksum"},
		{"empty file", save(t, "empty.db", nil), errs.Malformed, "neither"},
		{"text", save(t, "a.tar.gz", []byte("<html>Please log in</html>")), errs.Malformed, "neither"},
		{"cut off database", save(t, "a.db", db[:len(db)/2]), errs.Malformed, "cut off"},
		{"cut off archive", save(t, "a.tar.gz", half(gzipped(t, tarball(t, file(v6.VulnerabilityDBFileName, db))))), errs.Malformed, "ends early"},
		{"another SQLite database", save(t, "a.db", otherDatabase(t, `CREATE TABLE person (name text)`)), errs.Unsupported, "schema v6"},
		{"another schema", save(t, "a.db", changedDatabase(t, db, `UPDATE db_metadata SET model = 5`)), errs.Unsupported, "schema v6"},
		{"no date", save(t, "a.db", changedDatabase(t, db, `DELETE FROM db_metadata`)), errs.Unsupported, "v6"},
		{"a trigger", save(t, "a.db", changedDatabase(t, db,
			`CREATE TRIGGER t AFTER INSERT ON blobs BEGIN DELETE FROM blobs; END`)), errs.Malformed, "triggers"},
		{"a view in place of a table", save(t, "a.db", changedDatabase(t, db,
			`DROP TABLE epss_handles; CREATE VIEW epss_handles AS SELECT 1`)), errs.Malformed, "views"},
		{"too large", save(t, "a.db", append(db, make([]byte, 1<<17)...)), errs.TooLarge, "larger"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := lib.Import(t.Context(), tt.path, nil)
			wantKind(t, err, tt.kind, tt.word)
			wantUsable(t, lib, before)
			wantClean(t, lib)
		})
	}
}

func TestImportEndsWithItsContext(t *testing.T) {
	lib := openLibrary(t, Config{})
	path := buildSample(t, "a.tar.gz").Archive
	for _, stage := range []string{"unpacking", "indexing"} {
		t.Run(stage, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			_, err := lib.Import(ctx, path, func(s string, done, total int64) {
				if s == stage {
					cancel()
				}
			})
			wantKind(t, err, errs.Canceled, "canceled")
			wantClean(t, lib)
			if _, err := lib.Current(); !errs.Is(err, errs.NotFound) {
				t.Errorf("after a canceled import: %v", err)
			}
		})
	}
}

// TestConcurrentImports lets several libraries over one directory import at
// once, each as another process would.
func TestConcurrentImports(t *testing.T) {
	dir := t.TempDir()
	paths := []string{buildDated(t, sampleDate).Archive, buildDated(t, sampleDate.Add(time.Hour)).Archive}
	var wg sync.WaitGroup
	for i := range 6 {
		lib := openLibrary(t, Config{Dir: dir})
		wg.Go(func() {
			if _, err := lib.Import(t.Context(), paths[i%2], nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	lib := openLibrary(t, Config{Dir: dir})
	all, err := lib.List()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 2 {
		t.Errorf("%d builds, want 2", len(all))
	}
	for _, in := range all {
		if got := find(t, openReader(t, in), question{kind: pkg.NpmPkg, name: "lodash", ver: "4.17.20"}); len(got) != 1 {
			t.Errorf("build %s answers %v", in.Checksum, got)
		}
	}
	if _, err := lib.Current(); err != nil {
		t.Error(err)
	}
	wantClean(t, lib)
}

func TestPrune(t *testing.T) {
	lib := openLibrary(t, Config{})
	var names []string // oldest first; the first is made current again at the end
	for _, day := range []int{0, 1, 2, 3} {
		r := buildDated(t, sampleDate.AddDate(0, 0, day))
		if _, err := lib.Import(t.Context(), r.Archive, nil); err != nil {
			t.Fatal(err)
		}
		names = append(names, r.Checksum)
	}
	wantKind(t, lib.Remove(t.Context(), names[3]), errs.Conflict, "current")
	if err := lib.Remove(t.Context(), names[1]); err != nil {
		t.Fatal(err)
	}
	wantKind(t, lib.Remove(t.Context(), names[1]), errs.NotFound, "not in the library")
	gone, err := lib.Prune(t.Context(), 1, names[0], names[2])
	if err != nil || len(gone) != 0 {
		t.Fatalf("pruned %+v (%v), and they are needed", gone, err)
	}
	gone, err = lib.Prune(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	if len(gone) != 1 || gone[0].Checksum != names[0] {
		t.Errorf("pruned %+v, want the oldest", gone)
	}
	if gone, err = lib.Prune(t.Context(), 0); err != nil || len(gone) != 1 || gone[0].Checksum != names[2] {
		t.Errorf("pruned %+v (%v), want all but the current one", gone, err)
	}
	if in, err := lib.Current(); err != nil || in.Checksum != names[3] {
		t.Errorf("current %+v (%v)", in, err)
	}
	wantClean(t, lib)
}

func TestEmptyLibrary(t *testing.T) {
	lib := openLibrary(t, Config{Dir: filepath.Join(t.TempDir(), "not", "there")})
	_, err := lib.Current()
	wantKind(t, err, errs.NotFound, "tidewaiter vulndb update")
	wantKind(t, err, errs.NotFound, "tidewaiter vulndb import")
	if all, err := lib.List(); err != nil || len(all) != 0 {
		t.Errorf("list %v (%v)", all, err)
	}
	_, err = lib.Get("sha256:../../etc")
	wantKind(t, err, errs.Invalid, "not a checksum")
}

func TestCurrentPointsToNothing(t *testing.T) {
	lib := openLibrary(t, Config{})
	in, err := lib.InstallSample(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(in.Dir); err != nil {
		t.Fatal(err)
	}
	_, err = lib.Current()
	wantKind(t, err, errs.NotFound, "tidewaiter vulndb update")
	again, err := lib.InstallSample(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	wantUsable(t, lib, again)
}

// TestDamagedBuild: a build whose description is lost is told of and replaced.
func TestDamagedBuild(t *testing.T) {
	lib := openLibrary(t, Config{})
	in, err := lib.InstallSample(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(in.Dir, buildFile), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = lib.Current()
	wantKind(t, err, errs.Malformed, buildFile)
	again, err := lib.InstallSample(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	wantUsable(t, lib, again)
	wantClean(t, lib)
}

func TestOpenRefusals(t *testing.T) {
	tests := []struct {
		name string
		cfg  Config
		word string
	}{
		{"no directory", Config{}, "--vulndb-dir"},
		{"a directory SQLite cannot open", Config{Dir: "/tmp/what?"}, "?"},
		{"not an address", Config{Dir: "x", URL: "grype.example"}, "http"},
		{"a file", Config{Dir: "x", URL: "file:///etc/passwd"}, "http"},
		{"no CA file", Config{Dir: "x", CAFile: filepath.Join(t.TempDir(), "none")}, "CA file"},
		{"a CA file without certificates", Config{Dir: "x", CAFile: save(t, "ca", []byte("hello"))}, "PEM"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Open(tt.cfg)
			wantKind(t, err, errs.Invalid, tt.word)
		})
	}
}
