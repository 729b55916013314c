package httpserver

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

func TestReady(t *testing.T) {
	good := func(context.Context) error { return nil }
	tests := []struct {
		name   string
		checks []Check
		status int
		want   Readiness
	}{
		{"nothing to check", nil, 200, Readiness{Ready: true, Checks: []CheckResult{}}},
		{"good", []Check{{Name: "a", Check: good}}, 200, Readiness{Ready: true, Checks: []CheckResult{{Name: "a", OK: true}}}},
		{
			"one fails, its words stay inside",
			[]Check{
				{Name: "a", Check: good},
				{Name: "b", Check: func(context.Context) error {
					return &errs.Error{Kind: errs.Unavailable, Op: "ping", Err: errors.New("10.0.0.1 refused"), Hint: "start it"}
				}},
			},
			503,
			Readiness{Checks: []CheckResult{{Name: "a", OK: true}, {Name: "b", Kind: errs.Unavailable, Hint: "start it"}}},
		},
		{
			"one hangs and honours nothing",
			[]Check{{Name: "a", Timeout: time.Millisecond, Check: func(context.Context) error { <-t.Context().Done(); return nil }}},
			503,
			Readiness{Checks: []CheckResult{{Name: "a", Kind: errs.Timeout}}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, _ := serve(Ready(tt.checks...), httptest.NewRequest(http.MethodGet, "/readyz", nil))
			var got Readiness
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || w.Code != tt.status {
				t.Errorf("status %d, want %d (-want +got):\n%s", w.Code, tt.status, diff)
			}
			if strings.Contains(w.Body.String(), "10.0.0.1") {
				t.Error("an internal address is told to anybody")
			}
		})
	}
}

func TestReadyDoesNotWorkForEveryCaller(t *testing.T) {
	var ran atomic.Int64
	h := Ready(Check{Name: "a", Check: func(context.Context) error { ran.Add(1); return nil }}).(*ready)
	for range 10 {
		_, _ = serve(h, httptest.NewRequest(http.MethodGet, "/readyz", nil))
		h.at = time.Now() // so that a slow machine changes nothing
	}
	if ran.Load() != 1 {
		t.Errorf("ten requests ran the check %d times", ran.Load())
	}
	h.at = time.Now().Add(-readyFor)
	_, _ = serve(h, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	if ran.Load() != 2 {
		t.Errorf("an old outcome was served again")
	}
}

func TestAdmin(t *testing.T) {
	h := Admin(prometheus.NewRegistry())
	for path, want := range map[string]int{"/metrics": 200, "/livez": 200, "/debug/pprof/": 200, "/debug/pprof/heap": 200, "/": 404} {
		if w, _ := serve(h, httptest.NewRequest(http.MethodGet, path, nil)); w.Code != want {
			t.Errorf("%s: got %d, want %d", path, w.Code, want)
		}
	}
}
