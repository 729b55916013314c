package httpserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

func TestProblemOf(t *testing.T) {
	internal := errors.New("dial tcp 10.1.2.3:5432: connection refused")
	tests := []struct {
		name string
		err  error
		want Problem
	}{
		{
			"what the caller did is told in full",
			errs.Op("api: scan", errs.New(errs.Invalid, "image: bad reference").WithHint("write host/name")),
			Problem{Status: 400, Kind: errs.Invalid, Detail: "api: scan: image: bad reference", Hint: "write host/name"},
		},
		{
			"what failed behind us only by operation",
			errs.Wrap(errs.Unavailable, "postgres: list tags", internal),
			Problem{Status: 503, Kind: errs.Unavailable, Detail: "postgres: list tags"},
		},
		{"our own fault not at all", fmt.Errorf("cannot: %w", internal), Problem{Status: 500, Kind: errs.Internal}},
		{"our own fault with words", errs.Wrap(errs.Internal, "secret op", internal), Problem{Status: 500, Kind: errs.Internal}},
		{
			"a body cut off by the limit", fmt.Errorf("read: %w", &http.MaxBytesError{Limit: 10}),
			Problem{Status: 413, Kind: errs.TooLarge, Detail: "read: http: request body too large"},
		},
		{"bytes that are not text", errs.New(errs.NotFound, "tag a\xffb"), Problem{Status: 404, Kind: errs.NotFound, Detail: "tag a\uFFFDb"}},
		{"long", errs.New(errs.NotFound, "%s", strings.Repeat("é", 2000)), Problem{Status: 404, Kind: errs.NotFound, Detail: strings.Repeat("é", 1000) + "…"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.want.Type = "urn:tidewaiter:problem:" + string(tt.want.Kind)
			tt.want.Title = tt.want.Kind.Meaning().Title
			if diff := cmp.Diff(tt.want, ProblemOf(tt.err)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestWriteProblem(t *testing.T) {
	limited := &errs.Error{Kind: errs.RateLimited, Op: "api: tokens", RetryAfter: 1500 * time.Millisecond}
	tests := []struct {
		name   string
		err    error
		set    http.Header
		status int
		want   http.Header
	}{
		{"pause rounded up", limited, nil, 429, http.Header{"Retry-After": {"2"}, "Www-Authenticate": nil}},
		{"challenge", errs.New(errs.Unauthorized, "no token"), nil, 401, http.Header{"Www-Authenticate": {`Bearer realm="tidewaiter"`}}},
		{"challenge of the handler", errs.New(errs.Unauthorized, "no"), http.Header{"Www-Authenticate": {"Basic"}}, 401, http.Header{"Www-Authenticate": {"Basic"}}},
		{"headers of the answer that did not come", errs.New(errs.NotFound, "no"), http.Header{"Etag": {"x"}, "Cache-Control": {"max-age=9"}}, 404, http.Header{"Etag": nil, "Cache-Control": {"no-store"}}},
		{"no error", nil, nil, 500, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			for k, v := range tt.set {
				w.Header()[k] = v
			}
			WriteProblem(w, httptest.NewRequest(http.MethodGet, "/", nil), tt.err)
			if w.Code != tt.status || w.Header().Get("Content-Type") != ProblemType {
				t.Errorf("got %d %q, want %d %q", w.Code, w.Header().Get("Content-Type"), tt.status, ProblemType)
			}
			for k, v := range tt.want {
				if diff := cmp.Diff(v, w.Header().Values(k)); diff != "" {
					t.Errorf("header %s (-want +got):\n%s", k, diff)
				}
			}
			var p Problem
			if err := json.NewDecoder(w.Body).Decode(&p); err != nil || p.Status != tt.status {
				t.Errorf("body: %+v, %v", p, err)
			}
		})
	}
}

func TestWriteProblemHeadHasNoBody(t *testing.T) {
	w := httptest.NewRecorder()
	WriteProblem(w, httptest.NewRequest(http.MethodHead, "/", nil), errs.New(errs.NotFound, "no"))
	if body, _ := io.ReadAll(w.Body); len(body) > 0 || w.Code != 404 {
		t.Errorf("got %d %q, want 404 without a body", w.Code, body)
	}
}

func TestRouterProblems(t *testing.T) {
	w := httptest.NewRecorder()
	NotFound(w, httptest.NewRequest(http.MethodGet, "/nowhere", nil))
	if w.Code != 404 || !strings.Contains(w.Body.String(), "/nowhere") {
		t.Errorf("NotFound: %d %s", w.Code, w.Body)
	}
	w = httptest.NewRecorder()
	MethodNotAllowed(w, httptest.NewRequest("BREW", "/", nil))
	if w.Code != 405 || !strings.Contains(w.Body.String(), `"status":405`) {
		t.Errorf("MethodNotAllowed: %d %s", w.Code, w.Body)
	}
}
