package vulndb

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

func TestUpdateFailures(t *testing.T) {
	status := func(code int, header ...string) func(*mirror, http.ResponseWriter, *http.Request) bool {
		return func(_ *mirror, w http.ResponseWriter, r *http.Request) bool {
			for i := 0; i+1 < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(code)
			return true
		}
	}
	forArchive := func(f func(*mirror, http.ResponseWriter, *http.Request) bool) func(*mirror, http.ResponseWriter, *http.Request) bool {
		return func(m *mirror, w http.ResponseWriter, r *http.Request) bool {
			return path.Base(r.URL.Path) != "latest.json" && f(m, w, r)
		}
	}
	latest := func(change func(map[string]any)) func(*mirror, http.ResponseWriter, *http.Request) bool {
		return func(m *mirror, w http.ResponseWriter, r *http.Request) bool {
			if path.Base(r.URL.Path) != "latest.json" {
				return false
			}
			raw, _ := os.ReadFile(filepath.Join(m.dir, "latest.json"))
			var doc map[string]any
			_ = json.Unmarshal(raw, &doc)
			change(doc)
			_ = json.NewEncoder(w).Encode(doc)
			return true
		}
	}
	text := func(s string) func(*mirror, http.ResponseWriter, *http.Request) bool {
		return func(_ *mirror, w http.ResponseWriter, r *http.Request) bool {
			_, _ = io.WriteString(w, s)
			return true
		}
	}
	tests := []struct {
		name   string
		answer func(*mirror, http.ResponseWriter, *http.Request) bool
		kind   errs.Kind
		word   string
	}{
		{"nothing there", status(404), errs.NotFound, "v6/latest.json"},
		{"archive not there", forArchive(status(404)), errs.NotFound, "404"},
		{"credential wanted", status(401), errs.Unauthorized, "--vulndb-url"},
		{"refused", status(403), errs.Forbidden, "import"},
		{"too often", status(429, "Retry-After", "7"), errs.RateLimited, "429"},
		{"out of order", status(503), errs.Unavailable, "mirror"},
		{"archive out of order", forArchive(status(500)), errs.Unavailable, "import"},
		{"a login page", text("<html>log in</html>"), errs.Malformed, "latest.json"},
		{"an empty document", text("{}"), errs.Malformed, "empty"},
		{"a document without end", text(strings.Repeat(" ", 2<<20)), errs.TooLarge, "larger"},
		{"another schema", latest(func(d map[string]any) { d["schemaVersion"] = "v7.0.0" }), errs.Unsupported, "v6"},
		{"no checksum", latest(func(d map[string]any) { delete(d, "checksum") }), errs.Malformed, "checksum"},
		{"a weak checksum", latest(func(d map[string]any) { d["checksum"] = "md5:d41d8cd98f00b204e9800998ecf8427e" }), errs.Malformed, "sha256"},
		{"a path above", latest(func(d map[string]any) { d["path"] = "../../secret.tar.zst" }), errs.Malformed, "outside"},
		{"no path", latest(func(d map[string]any) { d["path"] = "" }), errs.Malformed, "outside"},
		{"wrong checksum", latest(func(d map[string]any) { d["checksum"] = "sha256:" + strings.Repeat("0", 64) }), errs.Malformed, "checksum"},
		{"another file in place of the archive", forArchive(text("not an archive")), errs.Malformed, "checksum"},
		{"the connection breaks", forArchive(func(m *mirror, w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Length", "1000000")
			_, _ = w.Write(make([]byte, 1000))
			panic(http.ErrAbortHandler)
		}), errs.Unavailable, "network"},
		{"larger than allowed", forArchive(func(m *mirror, w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Length", "99999999999")
			w.WriteHeader(200)
			return true
		}), errs.TooLarge, "99999999999"},
		{"redirected in circles", func(_ *mirror, w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
			return true
		}, errs.Unavailable, "redirects"},
	}
	m := newMirror(t)
	m.publish(t, sampleDate.Add(time.Hour))
	lib := openLibrary(t, Config{URL: m.URL + "/databases/", MaxBytes: 1 << 30})
	before, err := lib.InstallSample(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m.setAnswer(func(w http.ResponseWriter, r *http.Request) bool { return tt.answer(m, w, r) })
			_, changed, err := lib.Update(t.Context(), nil)
			wantKind(t, err, tt.kind, tt.word)
			if changed {
				t.Error("a failed update says it changed something")
			}
			wantUsable(t, lib, before)
		})
	}
	m.setAnswer(nil)
	if _, changed, err := lib.Update(t.Context(), nil); err != nil || !changed {
		t.Errorf("the update after all failures: changed %v, %v", changed, err)
	}
	wantClean(t, lib)
}

// TestUpdateHidesStatusWords has a server that writes its own status line.
func TestUpdateHidesStatusWords(t *testing.T) {
	for line, want := range map[string]string{"503 \x1b[31mcall us": ": 503 Service Unavailable", "599 call us": ": 599"} {
		t.Run(line[:3], func(t *testing.T) {
			m := newMirror(t)
			m.setAnswer(func(w http.ResponseWriter, _ *http.Request) bool {
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return true
				}
				_, _ = io.WriteString(conn, "HTTP/1.1 "+line+"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
				conn.Close()
				return true
			})
			_, _, err := m.library(t).Update(t.Context(), nil)
			wantKind(t, err, errs.Unavailable, want)
			if strings.Contains(err.Error(), "call us") {
				t.Errorf("the error repeats the server: %v", err)
			}
		})
	}
}

func TestRetryAfterIsKept(t *testing.T) {
	m := newMirror(t)
	m.setAnswer(func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(429)
		return true
	})
	_, _, err := m.library(t).Update(t.Context(), nil)
	if got := errs.RetryAfter(err); got != 7*time.Second {
		t.Errorf("retry after %v, want 7s", got)
	}
}

// TestResume breaks a download in the middle; the next one fetches the rest.
func TestResume(t *testing.T) {
	m := newMirror(t)
	report := m.publish(t, sampleDate)
	archive, err := os.ReadFile(report.Archive)
	if err != nil {
		t.Fatal(err)
	}
	cut := len(archive) / 2
	broken := func(w http.ResponseWriter, r *http.Request) bool {
		if path.Base(r.URL.Path) == "latest.json" {
			return false
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(archive)))
		_, _ = w.Write(archive[:cut])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	tests := []struct {
		name   string
		damage func(t *testing.T, part string)
		want   []string // ranges of the second attempt's requests for the archive
	}{
		{"goes on", func(*testing.T, string) {}, []string{"bytes=" + strconv.Itoa(cut) + "-"}},
		{"the part is damaged", func(t *testing.T, part string) {
			if err := os.WriteFile(part, make([]byte, cut), 0o644); err != nil {
				t.Fatal(err)
			}
		}, []string{"bytes=" + strconv.Itoa(cut) + "-", ""}},
		{"the part is too long", func(t *testing.T, part string) {
			if err := os.WriteFile(part, make([]byte, len(archive)+10), 0o644); err != nil {
				t.Fatal(err)
			}
		}, []string{"bytes=" + strconv.Itoa(len(archive)+10) + "-", ""}},
		{"the part is whole", func(t *testing.T, part string) {
			if err := os.WriteFile(part, archive, 0o644); err != nil {
				t.Fatal(err)
			}
		}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			lib := m.library(t)
			m.setAnswer(broken)
			_, _, err := lib.Update(t.Context(), nil)
			wantKind(t, err, errs.Unavailable, "network")
			parts, err := filepath.Glob(lib.path(downloadsDir, "*"+partSuffix))
			if err != nil || len(parts) != 1 {
				t.Fatalf("parts %v (%v)", parts, err)
			}
			tt.damage(t, parts[0])
			m.setAnswer(nil)
			m.asked()
			in, changed, err := lib.Update(t.Context(), nil)
			if err != nil || !changed || in.Checksum != report.Checksum {
				t.Fatalf("update gave %+v, %v, %v", in, changed, err)
			}
			var ranges []string
			for _, r := range m.asked()[1:] {
				_, rng, _ := strings.Cut(r, " ")
				ranges = append(ranges, rng)
			}
			if strings.Join(ranges, "|") != strings.Join(tt.want, "|") {
				t.Errorf("ranges %q, want %q", ranges, tt.want)
			}
			wantClean(t, lib)
		})
	}
}

// TestSlowServer waits on both requests for a server that never answers.
func TestSlowServer(t *testing.T) {
	for _, slow := range []string{"latest.json", ".tar.zst"} {
		t.Run(slow, func(t *testing.T) {
			m := newMirror(t)
			m.publish(t, sampleDate)
			stuck, release := make(chan struct{}, 10), make(chan struct{})
			m.setAnswer(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, slow) {
					return false
				}
				stuck <- struct{}{}
				<-release
				return true
			})
			defer close(release)

			lib := m.library(t)
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				<-stuck
				cancel()
			}()
			_, _, err := lib.Update(ctx, nil)
			wantKind(t, err, errs.Canceled, "canceled")

			lib = openLibrary(t, Config{URL: m.URL + "/databases", CheckTimeout: 200 * time.Millisecond, DownloadTimeout: 200 * time.Millisecond})
			_, _, err = lib.Update(t.Context(), nil)
			wantKind(t, err, errs.Timeout, "slow")
		})
	}
}

func TestUnreachable(t *testing.T) {
	m := newMirror(t)
	m.Close()
	_, _, err := m.library(t).Update(t.Context(), nil)
	wantKind(t, err, errs.Unavailable, "tidewaiter vulndb import")
	wantKind(t, err, errs.Unavailable, "HTTPS_PROXY")
	wantKind(t, err, errs.Unavailable, "--vulndb-url")
}
