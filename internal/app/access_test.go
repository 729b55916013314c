package app_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/app"
	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/pgtest"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// newApp sets a service up without running it, and returns what its console says.
func newApp(t *testing.T, database string, options ...option) (a *app.App, console string, err error) {
	t.Helper()
	s := &service{t: t}
	c := s.config(database)
	for _, o := range options {
		o(&c)
	}
	var said strings.Builder
	a, err = app.New(t.Context(), app.Options{Config: c, Logger: testLogger(t), Catalogues: true, Console: &said})
	if err == nil {
		t.Cleanup(a.Close)
	}
	return a, said.String(), err
}

func TestTheFirstTokenIsShownOnce(t *testing.T) {
	database := pgtest.URL(t)
	if _, said, err := newApp(t, database, func(c *config.Config) { c.API.Enabled = false }); err != nil || said != "" {
		t.Errorf("without the API: %q, %v", said, err)
	}
	_, said, err := newApp(t, database)
	if err != nil || !strings.Contains(said, "    tw_") || !strings.Contains(said, "shown this one time") {
		t.Errorf("%q, %v", said, err)
	}
	if _, again, err := newApp(t, database); err != nil || again != "" {
		t.Errorf("again: %q, %v", again, err)
	}
}

func TestTheFirstTokenIsGiven(t *testing.T) {
	given := "given-" + strings.Repeat("aB3$eF6-", 4)
	s := start(t, func(c *config.Config) { c.API.AdminToken = config.Secret(given) })
	s.token = given
	var list report.List[report.Token]
	if status := s.get("/api/v1/tokens?name=initial-admin", &list); status != http.StatusOK || len(list.Items) != 1 || list.Items[0].CreatedBy != report.ActorSystem {
		t.Errorf("%d %+v", status, list)
	}
}

// What a proxy says of its callers counts when it is a trusted one: in the audit
// log, and for limits.
func TestBehindAProxy(t *testing.T) {
	s := start(t, func(c *config.Config) { c.TrustedProxies = []string{"127.0.0.1"} })
	s.call(http.MethodPost, "/api/v1/vulndb/check", nil)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/api/v1/vulndb/check", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+s.token)
	request.Header.Set("X-Forwarded-For", "192.0.2.1, 198.51.100.7")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	var log report.List[report.AuditEntry]
	s.get("/api/v1/audit?action=vulndb.check", &log)
	if len(log.Items) != 2 || log.Items[0].Address != "198.51.100.7" || log.Items[1].Address != "127.0.0.1" || log.Items[0].Request == "" {
		t.Errorf("%+v", log)
	}
}

// Every answer tells browsers to do nothing with it, whoever makes it.
func TestEveryAnswerHasSecurityHeaders(t *testing.T) {
	s := start(t, func(c *config.Config) { c.MetricsToken = "0123456789abcdef" })
	for _, tt := range []struct {
		method, path, token string
		status              int
	}{
		{"GET", "/livez", "", 200}, {"GET", "/readyz", "", 0}, {"GET", "/metrics", "", 401}, {"GET", "/metrics", "0123456789abcdef", 200},
		{"GET", "/nothing", "", 404}, {"GET", "/", "", 404}, {"POST", "/livez", "", 405}, {"GET", "/api/v1/openapi.yaml", "", 200},
		{"GET", "/api/v1/registries", "", 401}, {"GET", "/api/v1/registries", s.token, 200}, {"GET", "/api/v1/nothing", s.token, 404},
		{"PUT", "/api/v1/scans", s.token, 405}, {"POST", "/webhooks/local", "", 401}, {"GET", "/webhooks/local", "", 405}, {"POST", "/webhooks/x", "", 404},
		{"GET", "/api/v1/../../etc/passwd", "", 0},
	} {
		request, err := http.NewRequestWithContext(t.Context(), tt.method, s.url+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if tt.token != "" {
			request.Header.Set("Authorization", "Bearer "+tt.token)
		}
		response, err := http.DefaultTransport.RoundTrip(request) // redirects are answers, too
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if tt.status != 0 && response.StatusCode != tt.status {
			t.Errorf("%s %s: status %d, want %d", tt.method, tt.path, response.StatusCode, tt.status)
		}
		for name, want := range map[string]string{
			"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY",
			"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "Strict-Transport-Security": "",
		} {
			if got := response.Header.Get(name); got != want {
				t.Errorf("%s %s: %s is %q, want %q", tt.method, tt.path, name, got, want)
			}
		}
	}
}
