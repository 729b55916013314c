package httpserver

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"testing"
)

var nothing = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })

func TestHoldToRate(t *testing.T) {
	handler := HoldToRate(NewLimiter(0.001, 2))(nothing)
	ask := func(from string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.RemoteAddr = from
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}
	for range 2 {
		if w := ask("198.51.100.1:1"); w.Code != http.StatusNoContent {
			t.Fatalf("status %d within the burst", w.Code)
		}
	}
	if w := ask("198.51.100.1:2"); w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
		t.Errorf("status %d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
	}
	if w := ask("198.51.100.2:1"); w.Code != http.StatusNoContent {
		t.Errorf("another address: status %d", w.Code)
	}
}

func TestNeedBearer(t *testing.T) {
	for _, tt := range []struct {
		token, header string
		want          int
	}{
		{"", "", 204}, {"", "Bearer x", 204},
		{"secret", "", 401}, {"secret", "Bearer", 401}, {"secret", "Bearer ", 401}, {"secret", "Bearer secret2", 401},
		{"secret", "Basic secret", 401}, {"secret", "Bearer secret", 204}, {"secret", "bearer  secret", 204},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.Header.Set("Authorization", tt.header)
		w := httptest.NewRecorder()
		NeedBearer(tt.token)(nothing).ServeHTTP(w, r)
		if w.Code != tt.want {
			t.Errorf("token %q, header %q: status %d, want %d", tt.token, tt.header, w.Code, tt.want)
		}
	}
}

func TestStrictTransportOnlyOverTLS(t *testing.T) {
	for _, over := range []*tls.ConnectionState{nil, {}} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.TLS = over
		w := httptest.NewRecorder()
		SecurityHeaders(nothing).ServeHTTP(w, r)
		if got := w.Header().Get("Strict-Transport-Security"); (got != "") != (over != nil) {
			t.Errorf("TLS %v: %q", over != nil, got)
		}
	}
}
