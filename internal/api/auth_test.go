package api_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidewaiter/tidewaiter/internal/api"
	"github.com/tidewaiter/tidewaiter/internal/api/apitest"
	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/postgres/postgrestest"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

func TestEveryRouteButTheDocumentNeedsAToken(t *testing.T) {
	all := newBench(t, postgrestest.New(t))
	for path, item := range apitest.Document(t).Paths.Map() {
		// Each with a handler of its own: guessing is held to a rate.
		b := serve(t, all.World, newHandler(t, all.World))
		for method := range item.Operations() {
			path := strings.ReplaceAll(path, "{id}", "1")
			for _, token := range []string{"", "tw_" + strings.Repeat("x", 43), "%00", all.token + "x"} {
				got := b.do(method, path, token, "", "")
				if path == "/openapi.yaml" {
					if got.status != http.StatusOK || !strings.Contains(string(got.body), "openapi: 3.1") {
						t.Errorf("the document: status %d", got.status)
					}
					continue
				}
				got.refused(t, errs.Unauthorized, "")
				if got.header.Get("WWW-Authenticate") == "" {
					t.Errorf("%s %s: no challenge", method, path)
				}
			}
		}
	}
}

func TestSchemesThatAreNotBearer(t *testing.T) {
	b := newBench(t, postgrestest.New(t))
	for _, header := range []string{"Basic dXNlcjpwYXNz", "Bearer", "Bearer ", b.token, "Token " + b.token} {
		request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, api.Prefix+"/registries", nil)
		request.Header.Set("Authorization", header)
		answer := httptest.NewRecorder()
		b.handler.ServeHTTP(answer, request)
		if answer.Code != http.StatusUnauthorized {
			t.Errorf("%q: status %d, want 401", header, answer.Code)
		}
	}
}

// A token of one team reads nothing of the others on any route, and cannot tell
// what is hidden from what does not exist.
func TestTokensSeeTheirPrefixOnly(t *testing.T) {
	b := newBench(t, postgrestest.Harbour(t))
	token := b.newToken("team", report.ScopeTriage, postgrestest.Host+"/team/")
	secret := postgrestest.Host + "/other/secret"
	for _, path := range []string{
		"/registries", "/repositories", "/scans", "/deliveries", "/packages?name=log4j-core",
		"/vulnerabilities/CVE-2021-44228/images", "/vulnerabilities/CVE-2021-44228",
		"/coverage", "/coverage/repositories",
	} {
		got := b.do("GET", path, token, "", "")
		if got.status != 200 || strings.Contains(string(got.body), "other/secret") || strings.Contains(string(got.body), `"sboms`) {
			t.Errorf("%s: status %d, shows what is hidden: %s", path, got.status, got.body)
		}
	}
	for _, path := range []string{
		"/tags?repository=" + secret, "/image?ref=" + secret + ":1", "/findings?ref=" + secret + ":1",
		"/findings?repository=" + secret, "/sbom?ref=" + secret + ":1", "/scans?repository=" + secret, "/image?ref=sboms/team/app:ci", "/trace?ref=" + secret + ":1",
		"/coverage/manifests?repository=" + secret,
	} {
		hidden := b.do("GET", path, token, "", "").refused(t, errs.NotFound, "")
		missing := b.do("GET", strings.ReplaceAll(path, "other/secret", "other/nobody"), token, "", "").refused(t, errs.NotFound, "")
		if strings.ReplaceAll(hidden.Detail, "secret", "nobody") != missing.Detail {
			t.Errorf("%s: %q tells it from what is missing: %q", path, hidden.Detail, missing.Detail)
		}
	}
	scans := into[report.List[report.Scan]](t, b.get("/scans", "repository", secret))
	b.do("GET", "/scans/"+jsonNumber(scans.Items[0].ID), token, "", "").refused(t, errs.NotFound, "")
	b.do("POST", "/scans", token, "application/json", `{"image": "`+secret+`:1"}`).refused(t, errs.NotFound, "")
	b.do("POST", "/sboms?repository=team/app", token, "application/json", `{}`).refused(t, errs.NotFound, "")
	if got := b.do("POST", "/scans", token, "application/json", `{"image": "alias.example.com:5000/team/app:1.0"}`); got.status != http.StatusAccepted {
		t.Errorf("its own repository under an alias: status %d: %s", got.status, got.body)
	}
}

func TestScopes(t *testing.T) {
	b := newBench(t, postgrestest.Harbour(t))
	read := b.newToken("reader", report.ScopeRead)
	if got := b.do("GET", "/registries", read, "", ""); got.status != 200 {
		t.Errorf("reading: status %d", got.status)
	}
	b.do("POST", "/scans", read, "application/json", `{"image": "`+appRef+`"}`).refused(t, errs.Forbidden, "")
	b.do("POST", "/sboms?repository=a/b", read, "application/json", `{}`).refused(t, errs.Forbidden, "")
}

func TestATokenIsHeldToItsRate(t *testing.T) {
	registry := prometheus.NewRegistry()
	b := newBench(t, postgrestest.New(t), func(o *api.Options) {
		o.RatePerSecond, o.RateBurst, o.Registerer = 0.001, 3, registry
	})
	for range 3 {
		if got := b.get("/registries"); got.status != 200 {
			t.Fatalf("status %d within the burst", got.status)
		}
	}
	got := b.get("/registries")
	got.refused(t, errs.RateLimited, "")
	if got.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	if got := b.do("GET", "/registries", b.newToken("other", report.ScopeRead), "", ""); got.status != 200 {
		t.Errorf("another token: status %d, want its own rate", got.status)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "tidewaiter_api_rejected_total" {
			if m := f.GetMetric()[0]; m.GetCounter().GetValue() != 1 || m.GetLabel()[0].GetValue() != "rate_limited" {
				t.Errorf("metric = %v, want one rate_limited", m)
			}
			return
		}
	}
	t.Error("the rejection is not counted")
}

// Guessing tokens is slowed down by address, without locking out a token that
// was good before.
func TestGuessingIsHeldToARate(t *testing.T) {
	b := newBench(t, postgrestest.New(t))
	if got := b.get("/registries"); got.status != 200 {
		t.Fatal(got.status)
	}
	limited := false
	for range 200 {
		if got := b.do("GET", "/registries", "tw_"+strings.Repeat("x", 43), "", ""); got.status == http.StatusTooManyRequests {
			limited = true
			break
		}
	}
	if !limited {
		t.Error("200 guesses in a row were let through")
	}
	if got := b.get("/registries"); got.status != 200 {
		t.Errorf("a good token from the same address: status %d", got.status)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	if _, err := api.New(api.Options{}); !errs.Is(err, errs.Internal) {
		t.Errorf("no options: %v, want an error", err)
	}
}

// Logs and metrics around the handler label requests by the route's template.
func TestThePatternIsLeftInTheRequest(t *testing.T) {
	b := newBench(t, postgrestest.New(t))
	for path, want := range map[string]string{
		"/scans/12": "/api/v1/scans/{id}", "/vulnerabilities/CVE-1/images": "/api/v1/vulnerabilities/{id}/images", "/nothing": "",
	} {
		request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, api.Prefix+path, nil)
		answer := httptest.NewRecorder()
		b.handler.ServeHTTP(answer, request)
		if request.Pattern != want {
			t.Errorf("%s: pattern %q, want %q", path, request.Pattern, want)
		}
	}
}

func TestUnknownPathsAndMethods(t *testing.T) {
	b := newBench(t, postgrestest.New(t))
	for _, tt := range []struct {
		method, path string
		want         int
	}{{"GET", "/nothing", 404}, {"DELETE", "/scans", 405}, {"GET", "/sboms", 405}} {
		request := httptest.NewRequestWithContext(t.Context(), tt.method, api.Prefix+tt.path, nil)
		answer := httptest.NewRecorder()
		b.handler.ServeHTTP(answer, request)
		if answer.Code != tt.want || answer.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s: status %d, %s", tt.method, tt.path, answer.Code, answer.Header().Get("Content-Type"))
		}
	}
}
