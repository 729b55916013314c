package webhook

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	sampleSecret = "dev-sample-secret"
	digestA      = "sha256:3f3931e52092c1ae8c738e604b575af7a5db9d0ccffe22348d5e59c7789626b9"
)

var sampleTime = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// keeper is a Sink that keeps what it is given, or fails with err.
type keeper struct {
	mu       sync.Mutex
	items    []Item
	registry string
	calls    int
	err      error
}

func (k *keeper) Accept(_ context.Context, registry string, items []Item) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls++
	if k.err != nil {
		return k.err
	}
	k.registry = registry
	k.items = append(k.items, items...)
	return nil
}

func (k *keeper) kept() []Item {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]Item(nil), k.items...)
}

func withClock(now time.Time) Option {
	return func(h *handler) { h.now = func() time.Time { return now } }
}

func mustHandler(t testing.TB, sink Sink, endpoints ...Endpoint) http.Handler {
	t.Helper()
	h, err := NewHandler(endpoints, sink, Metrics{}, withClock(sampleTime))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// post sends a body to an endpoint; headers are name, value pairs.
func post(h http.Handler, registry, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/webhooks/"+registry, strings.NewReader(body))
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func readFile(t testing.TB, elem ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sampleEndpoint reads the endpoint the samples of a format are sent to.
func sampleEndpoint(t testing.TB, format string) Endpoint {
	t.Helper()
	var e Endpoint
	if err := json.Unmarshal(readFile(t, "testdata", format, "endpoint.json"), &e); err != nil {
		t.Fatal(err)
	}
	switch e.Auth.Kind {
	case AuthSNS:
		e.Auth.Certificate = string(readFile(t, "testdata", format, "certificate.pem"))
	case AuthOIDC:
		e.Auth.JWKS = string(readFile(t, "testdata", format, "issuer.jwks"))
	}
	return e
}

// sampleClock is when the samples of a format arrive: "received" of its
// endpoint.json, or just sampleTime.
func sampleClock(t testing.TB, format string) time.Time {
	t.Helper()
	e := struct{ Received time.Time }{sampleTime}
	if err := json.Unmarshal(readFile(t, "testdata", format, "endpoint.json"), &e); err != nil {
		t.Fatal(err)
	}
	return e.Received
}

// sampleCases lists the names of a format's samples.
func sampleCases(t testing.TB, format string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", format, "*.headers"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []string
	for _, f := range files {
		cases = append(cases, strings.TrimSuffix(filepath.Base(f), ".headers"))
	}
	return cases
}

func sampleBody(t testing.TB, format, name string) []byte {
	t.Helper()
	return readFile(t, "testdata", format, name+".json")
}

// sampleRequest builds the request of a sample, sent to an endpoint.
func sampleRequest(t testing.TB, format, name, registry string) *http.Request {
	t.Helper()
	raw := append(readFile(t, "testdata", format, name+".headers"), '\n')
	raw = append(raw, sampleBody(t, format, name)...)
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	target := "/webhooks/" + registry
	if r.URL.RawQuery != "" {
		target += "?" + r.URL.RawQuery
	}
	sent := httptest.NewRequest(r.Method, target, bytes.NewReader(signSample(t, format, body)))
	sent.Header = r.Header
	return sent
}

// refuses sends bodies to a format and compares the status of the answers;
// nothing of a refused request may reach the sink.
func refuses(t *testing.T, format string, bodies map[string]int) {
	t.Helper()
	for body, want := range bodies {
		sink := &keeper{}
		w := post(mustHandler(t, sink, openEndpoint(format)), "prod", body)
		if w.Code != want || sink.calls != 0 {
			t.Errorf("%.80s: status %d, want %d, %d calls of the sink: %s", body, w.Code, want, sink.calls, w.Body)
		}
	}
}
