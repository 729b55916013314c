package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/httpserver"
)

func openEndpoint(format string) Endpoint {
	return Endpoint{
		Registry: "prod", Host: "registry.acme.test", Aliases: []string{"inner:5000"},
		Format: format, Auth: Auth{Kind: AuthNone},
	}
}

// TestAnswers goes through the answers of docs/webhooks.md.
func TestAnswers(t *testing.T) {
	event := `{"id":"1","action":"push","target":{"repository":"a/b","tag":"1","digest":"` + digestA + `"}}`
	batch := func(n int) string {
		return `{"events":[` + strings.TrimSuffix(strings.Repeat(event+",", n), ",") + `]}`
	}
	deep := func(n int) string { return `{"x":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}` }
	tests := []struct {
		name, format, registry, body string
		status                       int
		detail                       string
	}{
		{"unknown endpoint", "generic", "other", `{}`, 404, "no such endpoint"},
		{"path below the endpoint", "generic", "prod/x", `{}`, 404, "no such endpoint"},
		{"no endpoint", "generic", "", `{}`, 404, "no such endpoint"},
		{"body of 5 MB", "generic", "prod", strings.Repeat(" ", 5<<20), 413, "larger than 1048576 bytes"},
		{"empty body", "distribution", "prod", "", 400, "empty"},
		{"white space", "distribution", "prod", " \n", 400, "empty"},
		{"not JSON", "harbor", "prod", `type=PUSH_ARTIFACT`, 400, "not JSON"},
		{"half of JSON", "generic", "prod", `{"image":`, 400, "not JSON"},
		{"more than JSON", "generic", "prod", `{"image":"a/b"} {}`, 400, "not JSON"},
		{"deep", "generic", "prod", deep(maxDepth), 400, "nests deeper"},
		{"very deep", "distribution", "prod", strings.Repeat(`{"a":`, 100_000), 400, "nests deeper"},
		{"just not too deep", "distribution", "prod", deep(maxDepth - 1), 202, ""},
		{"array", "distribution", "prod", `[]`, 422, "not a JSON object"},
		{"null", "distribution", "prod", `null`, 422, "not a JSON object"},
		{"events are no array", "distribution", "prod", `{"events":{}}`, 422, `"events" is not an array`},
		{"too many events", "distribution", "prod", batch(maxEvents + 1), 422, "more than 5000"},
		{"as many events as may be", "distribution", "prod", batch(maxEvents), 202, ""},
		{"resources are no array", "harbor", "prod", `{"type":"PUSH_ARTIFACT","event_data":{"resources":"x"}}`, 422, "event_data.resources"},
		{"time is no number", "harbor", "prod", `{"type":"PUSH_ARTIFACT","occur_at":"now","event_data":{}}`, 202, ""},
		{"image is no string", "generic", "prod", `{"image":1}`, 422, `"image" cannot hold a number`},
		{"field misspelt", "generic", "prod", `{"imgae":"a/b:1"}`, 422, `"image", "images" and "name" are missing`},
		{"bad reference", "generic", "prod", `{"images":["a/b:1","A B"]}`, 422, `"images[1]"`},
		{"empty reference", "generic", "prod", `{"images":[""]}`, 422, `"images[0]"`},
		{"long reference", "generic", "prod", `{"image":"` + strings.Repeat("a", 2000) + `"}`, 422, "longer than 1024"},
		{"bad digest", "generic", "prod", `{"image":"a/b@sha256:12"}`, 422, `"image"`},
		{"foreign host", "generic", "prod", `{"image":"ghcr.io/a/b:1"}`, 422, `"ghcr.io"`},
		{"no events", "distribution", "prod", `{"events":null}`, 202, ""},
		{"ping to harbor", "harbor", "prod", `{"hello":"there"}`, 202, ""},
		{"ping to generic", "generic", "prod", `{"event":"ping"}`, 202, ""},
		{"empty list", "generic", "prod", `{"images":[]}`, 202, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := post(mustHandler(t, &keeper{}, openEndpoint(tt.format)), tt.registry, tt.body)
			if w.Code != tt.status {
				t.Fatalf("status %d, want %d: %s", w.Code, tt.status, w.Body)
			}
			if tt.status != http.StatusAccepted {
				checkProblem(t, w, tt.detail)
			}
		})
	}
}

func checkProblem(t *testing.T, w *httptest.ResponseRecorder, detail string) {
	t.Helper()
	var p httpserver.Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Status != w.Code {
		t.Errorf("problem %s: %v", w.Body, err)
	}
	if ct := w.Header().Get("Content-Type"); ct != httpserver.ProblemType {
		t.Errorf("content type %q", ct)
	}
	if !strings.Contains(p.Detail, detail) {
		t.Errorf("detail %q does not say %q", p.Detail, detail)
	}
}

func TestOnlyPost(t *testing.T) {
	h := mustHandler(t, &keeper{}, openEndpoint("generic"))
	for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, "/webhooks/prod", nil))
		if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "POST" {
			t.Errorf("%s: status %d, Allow %q", method, w.Code, w.Header().Get("Allow"))
		}
	}
}

// TestNeverRedirects: a sender follows with a GET and counts that as success.
func TestNeverRedirects(t *testing.T) {
	h := mustHandler(t, &keeper{}, openEndpoint("generic"))
	for _, path := range []string{"//webhooks/prod", "/webhooks/prod/", "/webhooks/../webhooks/prod", "/webhooks//prod"} {
		r := httptest.NewRequest("POST", "/", strings.NewReader("{}"))
		r.URL.Path = path
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusNotFound {
			t.Errorf("%s: status %d", path, w.Code)
		}
	}
}

func TestSinkFailureAsksToComeAgain(t *testing.T) {
	tests := []struct {
		name  string
		err   error
		after string
	}{
		{"plain", errors.New("dial 10.0.0.1: refused"), "5"},
		{"internal", errs.New(errs.Internal, "postgres: bug"), "5"},
		{"invalid", errs.New(errs.Invalid, "no such registry"), "5"},
		{"unavailable with a pause", &errs.Error{Kind: errs.Unavailable, Op: "postgres: full", RetryAfter: 30 * time.Second}, "30"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := post(mustHandler(t, &keeper{err: tt.err}, openEndpoint("generic")), "prod", `{"image":"a/b:1"}`)
			if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != tt.after {
				t.Errorf("status %d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
			}
			if strings.Contains(w.Body.String(), "10.0.0.1") {
				t.Errorf("the answer tells an inner address: %s", w.Body)
			}
		})
	}
}

func TestNothingReachesTheSinkUnlessAllIsWell(t *testing.T) {
	for _, body := range []string{`{}`, `{"images":["a/b:1","//"]}`, `[1]`, strings.Repeat("x", 2<<20)} {
		sink := &keeper{}
		post(mustHandler(t, sink, openEndpoint("generic")), "prod", body)
		if sink.calls != 0 {
			t.Errorf("%.40s: the sink was called", body)
		}
	}
}

func TestBodyLimitIsASetting(t *testing.T) {
	e := openEndpoint("generic")
	e.MaxBody = 20
	h := mustHandler(t, &keeper{}, e)
	if w := post(h, "prod", `{"image":"a/bcde:1"}`); w.Code != http.StatusAccepted {
		t.Errorf("20 bytes: %d %s", w.Code, w.Body)
	}
	if w := post(h, "prod", `{"image":"a/bcdef:1"}`); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("21 bytes: %d", w.Code)
	}
}

// TestLargeBodyOverTheWire: the answer arrives although the sender is not done.
func TestLargeBodyOverTheWire(t *testing.T) {
	server := httptest.NewServer(mustHandler(t, &keeper{}, openEndpoint("generic")))
	defer server.Close()
	endless := io.LimitReader(zeros{}, 1<<30)
	response, err := http.Post(server.URL+"/webhooks/prod", "application/json", endless)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("status %d", response.StatusCode)
	}
}

// TestStrangersKeepOutStrangersAlone: bodies that never end, sent by whoever likes
// to an endpoint that verifies them, do not cost a push of a sender that is known.
func TestStrangersKeepOutStrangersAlone(t *testing.T) {
	known, signed := openEndpoint("generic"), openEndpoint("ghcr")
	known.Auth = Auth{Kind: AuthBearer, Secrets: []string{"s3cret"}}
	signed.Registry, signed.Auth = "signed", Auth{Kind: AuthHMACSHA256, Secrets: []string{"s3cret"}}
	h := mustHandler(t, &keeper{}, known, signed)
	for range maxReading {
		body, end := io.Pipe()
		defer func() { _ = end.Close() }()
		go h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/webhooks/signed", body))
		if _, err := end.Write([]byte(" ")); err != nil { // it is being read
			t.Fatal(err)
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/webhooks/signed", strings.NewReader("{}")))
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("one stranger more is answered %d", w.Code)
	}
	w = httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "/webhooks/prod", strings.NewReader(`{"image":"a/b:1"}`))
	r.Header.Set("Authorization", "Bearer s3cret")
	if h.ServeHTTP(w, r); w.Code != http.StatusAccepted {
		t.Errorf("the sender that is known is answered %d %s", w.Code, w.Body)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// TestForeignHostIsLogged: the log names the host that may be a missing alias.
func TestForeignHostIsLogged(t *testing.T) {
	var log bytes.Buffer
	h, err := NewHandler([]Endpoint{openEndpoint("distribution")}, &keeper{}, Metrics{},
		WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	if err != nil {
		t.Fatal(err)
	}
	post(h, "prod", `{"events":[{"action":"push","target":{"repository":"a/b","tag":"1"},"request":{"host":"elsewhere:5000"}}]}`)
	if !strings.Contains(log.String(), "host=elsewhere:5000") {
		t.Errorf("log: %s", log.String())
	}
}

func TestNewHandlerRefuses(t *testing.T) {
	bad := openEndpoint("distribution")
	bad.Auth.Kind = ""
	for name, endpoints := range map[string][]Endpoint{
		"an invalid endpoint":     {bad},
		"the same endpoint twice": {openEndpoint("generic"), openEndpoint("harbor")},
	} {
		if _, err := NewHandler(endpoints, &keeper{}, Metrics{}); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func BenchmarkReceive(b *testing.B) {
	h := mustHandler(b, discard{}, sampleEndpoint(b, "distribution"))
	for _, name := range []string{"push-tag", "batch"} {
		body := string(sampleBody(b, "distribution", name))
		b.Run(fmt.Sprintf("%s-%dB", name, len(body)), func(b *testing.B) {
			for b.Loop() {
				if w := post(h, "prod", body, "Authorization", "Bearer "+sampleSecret); w.Code != http.StatusAccepted {
					b.Fatal(w.Code)
				}
			}
		})
	}
}
