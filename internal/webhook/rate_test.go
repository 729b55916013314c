package webhook

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidewaiter/tidewaiter/internal/httpserver"
)

// unread fails the test when anybody reads it.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, io.EOF
}

func TestAnAddressThatSendsTooMuch(t *testing.T) {
	other := openEndpoint("generic")
	other.Registry = "other"
	registry := prometheus.NewRegistry()
	metrics, err := NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	told := ""
	handler, err := NewHandler([]Endpoint{openEndpoint("generic"), other}, &keeper{}, metrics, WithRate(1),
		WithRejections(func(registry string, status int, reason, _ string) { told = registry + " " + reason }))
	if err != nil {
		t.Fatal(err)
	}
	send := func(path, from string, body io.Reader) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/webhooks/"+path, body)
		r.RemoteAddr = from
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}
	const event = `{"image": "a/b:1"}`
	for range rateBurst {
		if w := send("prod", "198.51.100.1:1", strings.NewReader(event)); w.Code != http.StatusAccepted {
			t.Fatalf("status %d within the burst: %s", w.Code, w.Body)
		}
	}
	w := send("prod", "198.51.100.1:2", unread{t})
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" || told != "prod rate_limited" {
		t.Errorf("status %d, Retry-After %q, told %q", w.Code, w.Header().Get("Retry-After"), told)
	}
	if text := exposition(t, registry); !strings.Contains(text, `tidewaiter_webhook_rejected_total{reason="rate_limited",registry="prod"} 1`) {
		t.Errorf("it is not counted:\n%s", text)
	}
	for path, from := range map[string]string{"prod": "198.51.100.2:1", "other": "198.51.100.1:1"} {
		if w := send(path, from, strings.NewReader(event)); w.Code != http.StatusAccepted {
			t.Errorf("%s from %s: status %d", path, from, w.Code)
		}
	}
	for range 2 * rateBurst {
		w = send("nowhere", "198.51.100.1:1", unread{t})
	}
	if w.Code != http.StatusTooManyRequests {
		t.Errorf("paths that are none: status %d", w.Code)
	}
}

// exposition is what scrapers get.
func exposition(t *testing.T, registry *prometheus.Registry) string {
	t.Helper()
	w := httptest.NewRecorder()
	httpserver.Metrics(registry).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	return w.Body.String()
}
