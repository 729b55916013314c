package localpostgres

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ulikunitz/xz"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// download is what the repository of programs serves: a zip that holds a
// tar.xz, here with two small scripts in it.
func download(t *testing.T) []byte {
	t.Helper()
	var packed bytes.Buffer
	compressor, err := xz.NewWriter(&packed)
	if err != nil {
		t.Fatal(err)
	}
	archive := tar.NewWriter(compressor)
	for name, text := range map[string]string{
		"bin/initdb":   "#!/bin/sh\n",
		"bin/postgres": "#!/bin/sh\necho 'postgres (PostgreSQL) 17.5'\n",
	} {
		header := &tar.Header{Name: name, Mode: 0o755, Size: int64(len(text)), Typeflag: tar.TypeReg}
		check(t, archive.WriteHeader(header))
		_, err := io.WriteString(archive, text)
		check(t, err)
	}
	check(t, archive.Close())
	check(t, compressor.Close())

	var jar bytes.Buffer
	z := zip.NewWriter(&jar)
	w, err := z.Create("postgres.txz")
	check(t, err)
	_, err = w.Write(packed.Bytes())
	check(t, err)
	check(t, z.Close())
	return jar.Bytes()
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// repository serves body with the checksum of sumOf and counts the requests.
func repository(t *testing.T, body, sumOf []byte) (url string, requests *atomic.Int64) {
	t.Helper()
	requests = new(atomic.Int64)
	sum := sha256.Sum256(sumOf)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if strings.HasSuffix(r.URL.Path, ".sha256") {
			_, _ = io.WriteString(w, hex.EncodeToString(sum[:]))
			return
		}
		_, _ = w.Write(body)
	}))
	t.Cleanup(s.Close)
	return s.URL, requests
}

func TestFetchOnceThenFromCache(t *testing.T) {
	jar := download(t)
	url, requests := repository(t, jar, jar)
	set := fetchSettings{cache: filepath.Join(t.TempDir(), "cache"), repository: url}
	for range 2 {
		p, err := fetch(t.Context(), set, nil, func(string) {})
		if err != nil {
			t.Fatal(err)
		}
		if p.version != "17.5" {
			t.Errorf("version: got %q, want 17.5", p.version)
		}
	}
	if n := requests.Load(); n != 2 {
		t.Errorf("requests: got %d, want 2: the archive and its checksum, once", n)
	}
}

func TestFetchFailureSaysWhatToInstall(t *testing.T) {
	jar := download(t)
	damaged, _ := repository(t, jar, []byte("another file"))
	gone := httptest.NewServer(nil)
	gone.Close()
	for _, test := range []struct {
		name string
		set  fetchSettings
	}{
		{"no network", fetchSettings{repository: gone.URL}},
		{"checksum of another file", fetchSettings{repository: damaged}},
		{"version without a download", fetchSettings{major: 9}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.set.cache = t.TempDir()
			_, err := fetch(t.Context(), test.set, []string{"12.1"}, func(string) {})
			if !errs.Is(err, errs.NotFound) || !strings.Contains(errs.Hint(err), "apt-get install postgresql") {
				t.Errorf("got %v (hint %q), want not_found that names the package", err, errs.Hint(err))
			}
			if err != nil && !strings.Contains(err.Error(), "12.1") {
				t.Errorf("%v: does not name the version that was found", err)
			}
		})
	}
}

func TestNewestFirst(t *testing.T) {
	dirs := []string{"/usr/lib/postgresql/9/bin", "/usr/lib/postgresql/16/bin", "/usr/lib/postgresql/15/bin"}
	slices.SortFunc(dirs, newestFirst)
	if want := "/usr/lib/postgresql/16/bin"; dirs[0] != want {
		t.Errorf("first: got %s, want %s", dirs[0], want)
	}
}
