package app_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/tidewaiter/tidewaiter/internal/app"
	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/oidc/oidctest"
	"github.com/tidewaiter/tidewaiter/internal/pgtest"
	"github.com/tidewaiter/tidewaiter/internal/telemetry"
)

// marks are secrets that can be found again, by what they are.
type marks map[string]string

// new makes one that is long and odd enough for every place.
func (m marks) new(what string) string {
	m[what] = "mk-" + what + "-Zq7Xw4Rt9Lp2Vb6NfS3h"
	return m[what]
}

// forms are how a secret may be written.
func forms(secret string) []string {
	return []string{
		secret, url.QueryEscape(secret), url.PathEscape(secret), hex.EncodeToString([]byte(secret)),
		base64.StdEncoding.EncodeToString([]byte(secret)), base64.RawURLEncoding.EncodeToString([]byte(secret)),
	}
}

// sink is a place that secrets must not get to.
type sink struct {
	name string
	text func() string
}

// check looks for every secret in every sink.
func (m marks) check(t *testing.T, sinks []sink) {
	t.Helper()
	for _, s := range sinks {
		text := s.text()
		if text == "" {
			t.Errorf("%s: there is nothing to look through", s.name)
		}
		for what, secret := range m {
			for _, form := range forms(secret) {
				if at := strings.Index(text, form); at >= 0 {
					t.Errorf("%s holds the secret %q: …%s…", s.name, what, text[max(0, at-200):min(len(text), at+len(form)+50)])
					break
				}
			}
		}
	}
}

// transcript is a writer for many.
type transcript struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (r *transcript) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.Write(p)
}

func (r *transcript) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.String()
}

// strongroom is a service with every kind of secret, which are used well and badly.
type strongroom struct {
	*service
	marks   marks
	answers transcript // whatever the service said
	log     transcript
	traces  *traces
	config  config.Config
	issuer  *oidctest.Issuer
	people  string // a good token of the issuer
}

// TestSecretsStayWhereTheyBelong greps what the service leaves behind.
func TestSecretsStayWhereTheyBelong(t *testing.T) {
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
	g := &strongroom{service: &service{t: t}, marks: marks{}, issuer: oidctest.Start(t), traces: collectTraces(t)}
	g.people = g.issuer.Sign(g.issuer.Claims("tw", "alice", "security"))
	g.marks["a person's token"] = g.people
	t.Setenv("HTTP_PROXY", "http://proxyuser:"+g.marks.new("proxy-password")+"@127.0.0.1:9")
	t.Setenv("HTTPS_PROXY", "http://proxyuser:"+g.marks["proxy-password"]+"@127.0.0.1:9")
	g.start()
	g.marks["the API token"] = g.token
	g.pushed(vulnerable(t), "demo/shop", "1.0")
	g.askWell()
	g.askBadly()
	g.knock()
	g.failToPull()
	g.traces.until(t, "is of a scan that was refused", func(s *tracev1.Span) bool { return s.Name == "scan" && attributeOf(s, "error.type") == "unauthorized" })
	shown, err := g.config.YAML()
	if err != nil {
		t.Fatal(err)
	}
	g.marks.check(t, []sink{
		{"the log", g.log.String},
		{"answers of the service", g.answers.String},
		{"/metrics", func() string {
			_, body := g.ask(http.MethodGet, "/metrics", g.config.MetricsToken.Reveal(), "")
			return body
		}},
		{"traces", g.traces.text},
		{"config show", func() string { return string(shown) }},
		{"the database", g.dump},
	})
	for _, want := range []string{"/webhooks/", "level\":\"DEBUG\"", "unauthorized", "token:test"} {
		if !strings.Contains(g.log.String()+g.dump(), want) {
			t.Errorf("nothing tells of %s: the test looks in the wrong place", want)
		}
	}
}

// text is everything that was sent.
func (c *traces) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all strings.Builder
	for _, s := range c.spans {
		all.WriteString(s.String() + "\n")
	}
	return all.String()
}

// start runs the service with every setting that holds a secret.
func (g *strongroom) start() {
	g.t.Helper()
	c := g.service.config(g.databaseURL())
	m := g.marks
	m["the registry's webhook secret"] = secret
	c.Registries[0].Auth = config.RegistryAuth{Username: "puller", Password: config.Secret(m.new("registry-password"))}
	locked := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("WWW-Authenticate", `Basic realm="`+r.Host+`"`)
		http.Error(w, "who are you, "+r.Header.Get("Authorization")+"?", http.StatusUnauthorized) // it repeats what it got
	}))
	g.t.Cleanup(locked.Close)
	_, port, _ := strings.Cut(strings.TrimPrefix(locked.URL, "http://"), ":")
	for i, kind := range []struct{ name, format, auth, header string }{
		{"header", "harbor", "header", "X-Secret"}, {"basic", "zot", "basic", ""}, {"query", "quay", "query", ""},
		{"path", "dockerhub", "path", ""}, {"hmac", "ghcr", "hmac-sha256", ""},
	} {
		value := m.new("webhook-" + kind.name)
		if kind.auth == "basic" {
			value = "hook:" + value
			m["webhook-basic-pair"] = value
		}
		r := config.Registry{Name: kind.name, Host: fmt.Sprintf("%s.example.com", kind.name), RequestTimeout: 5 * time.Second,
			Webhook: config.Webhook{Format: kind.format, Auth: config.WebhookAuth{Kind: kind.auth, Header: kind.header, Secrets: []config.Secret{config.Secret(value)}}}}
		if i == 0 {
			r.Host, r.PlainHTTP = "127.0.0.1:"+port, true
			r.Auth = config.RegistryAuth{Username: "locked", Password: config.Secret(m.new("locked-password"))}
		}
		if i == 1 {
			r.Auth = config.RegistryAuth{Token: config.Secret(m.new("registry-token"))}
		}
		c.Registries = append(c.Registries, r)
	}
	closed := "http://127.0.0.1:9"
	key := base64.StdEncoding.EncodeToString([]byte(m.new("signing-key")))
	c.Notify.Channels = []config.NotifyChannel{
		{Name: "hook", Type: "webhook", URL: config.Secret(closed + "/" + m.new("hook-path") + "?key=" + m.new("hook-query")),
			Secrets: []config.Secret{config.Secret("whsec_" + key)}, Authorization: config.Secret("Bearer " + m.new("hook-authorization"))},
		{Name: "chat", Type: "slack", URL: config.Secret(closed + "/services/" + m.new("slack-path"))},
		{Name: "mail", Type: "email", Email: config.NotifyEmail{Host: "127.0.0.1", Port: 9, TLS: "none", From: "a@example.com", To: []string{"b@example.com"}}},
	}
	c.Notify.Rules = []config.NotifyRule{{Name: "all", Enabled: true, Channels: []string{"hook", "chat", "mail"}, MinSeverity: "low", Limit: 10}}
	m["signing-key-encoded"] = key
	m["registry-pair"], m["locked-pair"] = "puller:"+m["registry-password"], "locked:"+m["locked-password"]
	m["proxy-pair"] = "proxyuser:" + m["proxy-password"]
	c.VulnDB.URL = config.URL("http://mirror:" + m.new("mirror-password") + "@vulndb.example.com/db?sig=" + m.new("mirror-query"))
	c.VulnDB.AutoUpdate, c.VulnDB.UpdateInterval = true, time.Hour
	c.API.AdminToken = config.Secret(m.new("admin-token"))
	c.Telemetry.OTLPEndpoint, c.Telemetry.OTLPHeaders = config.URL(g.traces.URL), config.Secret("x-key="+m.new("collector-key"))
	c.MetricsToken = config.Secret(m.new("metrics-token"))
	c.API.OIDC = []config.OIDC{{Name: "corp", Issuer: g.issuer.URL, Audience: "tw", UsernameClaim: "sub", GroupsClaim: "groups", CAFile: g.issuer.CAFile,
		Rules: []config.OIDCRule{{Groups: []string{"security"}, Scope: "admin"}}}}
	if err := c.Validate(); err != nil {
		g.t.Fatal(err)
	}
	g.config = c
	logger := slog.New(telemetry.NewHandler(slog.NewJSONHandler(&g.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	a, err := app.New(g.t.Context(), app.Options{Config: c, Logger: logger, Catalogues: true, Console: &g.log})
	if err != nil {
		g.t.Fatal(err)
	}
	if err := a.Listen(g.t.Context()); err != nil {
		g.t.Fatal(err)
	}
	g.runUntilCleanup(a)
	g.meet("http://"+a.Addr(), c.Database.URL.Reveal())
}

// databaseURL is a database of the test with a user and a password of its own.
func (g *strongroom) databaseURL() string {
	g.t.Helper()
	database, err := url.Parse(pgtest.URL(g.t))
	if err != nil {
		g.t.Fatal(err)
	}
	owner, err := pgxpool.New(g.t.Context(), database.String())
	if err != nil {
		g.t.Fatal(err)
	}
	user := strings.ReplaceAll(strings.TrimPrefix(database.Path, "/"), "-", "_") + "_secrets"
	database.User = url.UserPassword(user, g.marks.new("database-password"))
	g.t.Cleanup(func() {
		defer owner.Close()
		if _, err := owner.Exec(context.Background(), `REASSIGN OWNED BY `+user+` TO CURRENT_USER; DROP OWNED BY `+user+`; DROP ROLE `+user); err != nil {
			g.t.Error(err)
		}
	})
	if _, err := owner.Exec(g.t.Context(), `CREATE ROLE `+user+` LOGIN SUPERUSER PASSWORD '`+g.marks["database-password"]+`'`); err != nil {
		g.t.Fatal(err)
	}
	return database.String()
}

// ask sends a request and keeps the answer, headers too.
func (g *strongroom) ask(method, path, token, body string, headers ...string) (int, string) {
	g.t.Helper()
	request, err := http.NewRequestWithContext(g.t.Context(), method, g.url+path, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := direct().Do(request)
	if cutOff(err, body) {
		return 0, ""
	}
	if err != nil {
		g.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if cutOff(err, body) {
		return 0, ""
	}
	if err != nil {
		g.t.Fatal(err)
	}
	_, _ = fmt.Fprintf(&g.answers, "%d %v\n%s\n", response.StatusCode, response.Header, answer)
	return response.StatusCode, string(answer)
}

// cutOff reports whether a service that refused a request closed the connection
// while a large body was still being sent: there is no answer to look at then.
func cutOff(err error, body string) bool {
	return len(body) > 4<<10 && (errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE))
}

// direct asks without the proxy that the test sets.
func direct() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
}

// reads are paths of the API.
func (g *strongroom) reads() []string {
	ref := url.QueryEscape(g.registry.Host() + "/demo/shop:1.0")
	return []string{
		"/registries", "/repositories", "/image?ref=" + ref, "/findings?ref=" + ref, "/sbom?ref=" + ref, "/scans", "/deliveries", "/coverage",
		"/coverage/repositories", "/trace?ref=" + ref, "/vulndb", "/notifications", "/reconciliations", "/tokens", "/audit", "/events", "/export/findings",
	}
}

func (g *strongroom) askWell() {
	for _, token := range []string{g.token, g.people, g.config.API.AdminToken.Reveal()} {
		for _, path := range g.reads() {
			if status, body := g.ask(http.MethodGet, "/api/v1"+path, token, ""); status != http.StatusOK {
				g.t.Errorf("%s: %d %s", path, status, body)
			}
		}
	}
	for _, channel := range []string{"hook", "chat", "mail"} {
		if status, body := g.ask(http.MethodPost, "/api/v1/notifications/channels/"+channel+"/test", g.token, ""); status != http.StatusOK {
			g.t.Errorf("%s: %d %s", channel, status, body)
		}
	}
	g.ask(http.MethodPost, "/api/v1/vulndb/check", g.token, "")
}

// askBadly puts secrets where people put them by mistake.
func (g *strongroom) askBadly() {
	token := g.token
	expired := g.issuer.Claims("tw", "alice", "security")
	expired["exp"] = time.Now().Add(-time.Hour).Unix()
	for _, given := range []string{token + "x", token[:20], g.issuer.Sign(expired), g.people + "x", "", "mk-guess"} {
		g.ask(http.MethodGet, "/api/v1/registries", given, "")
	}
	g.marks["an expired token"] = g.issuer.Sign(expired)
	g.ask(http.MethodGet, "/api/v1/registries?token="+token, "", "")
	g.ask(http.MethodGet, "/api/v1/registries?access_token="+g.people, token, "")
	g.ask(http.MethodGet, "/api/v1/registries", "", "", "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("me:"+token)))
	g.ask(http.MethodDelete, "/api/v1/tokens/"+token, token, "")
	g.ask(http.MethodGet, "/api/v1/"+token, token, "")
	g.ask(http.MethodGet, "/"+token, "", "")
	g.ask(http.MethodPost, "/api/v1/scans", token, `{"image": "x/y:1", "token": "`+token+`"}`)
	g.ask(http.MethodGet, "/metrics", "wrong", "")
}

// knock sends webhooks with the secrets, right and wrong, and bodies that break.
func (g *strongroom) knock() {
	m := g.marks
	body := `{"events": [{"id": "1", "action": "push"`
	for _, path := range []string{
		"/webhooks/query?token=" + m["webhook-query"], "/webhooks/query?token=" + m["webhook-query"] + "x", "/webhooks/query?secret=" + m["webhook-query"],
		"/webhooks/path/" + m["webhook-path"], "/webhooks/path/" + m["webhook-path"] + "/x", "/webhooks/nowhere/" + m["webhook-path"],
		"/webhooks/local", "/webhooks/header", "/webhooks/basic", "/webhooks/hmac",
	} {
		for _, headers := range [][]string{
			{"Authorization", "Bearer " + secret}, {"X-Secret", m["webhook-header"]}, {"X-Secret", m["webhook-header"] + "x"},
			{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(m["webhook-basic-pair"]))},
			{"X-Hub-Signature-256", "sha256=" + m["webhook-hmac"]},
		} {
			for _, content := range []string{"", body, "{}", `{"a": "` + strings.Repeat("x", 200<<10) + `"}`} {
				g.ask(http.MethodPost, path, "", content, headers...)
			}
		}
	}
}

// failToPull has images scanned that cannot be had, with credentials that are
// refused and through a proxy that is not there.
func (g *strongroom) failToPull() {
	for _, host := range []string{g.config.Registries[1].Host, "basic.example.com"} {
		status, body := g.ask(http.MethodPost, "/api/v1/scans", g.token, `{"image": "`+host+`/team/app:1"}`)
		if status != http.StatusAccepted {
			g.t.Fatalf("%d %s", status, body)
		}
	}
	g.until(`count(*) = 2 FROM scan WHERE tag = '1' AND attempt > 0 AND reason <> ''`)
	g.ask(http.MethodGet, "/api/v1/scans", g.token, "")
	g.ask(http.MethodGet, "/api/v1/trace?ref="+url.QueryEscape(g.config.Registries[1].Host+"/team/app:1"), g.token, "")
	g.ask(http.MethodPost, "/api/v1/reconciliations", g.token, `{"registry": "header"}`)
	g.until(`EXISTS (SELECT 1 FROM reconciliation WHERE state = 'failed')`)
	g.ask(http.MethodGet, "/api/v1/reconciliations", g.token, "")
	g.until(`EXISTS (SELECT 1 FROM notification_attempt)`)
	g.ask(http.MethodGet, "/api/v1/notifications", g.token, "")
	g.ask(http.MethodGet, "/readyz", "", "")
	g.until(`EXISTS (SELECT 1 FROM webhook_rejection)`)
}

// dump is every row of every table.
func (g *strongroom) dump() string {
	g.t.Helper()
	const tables = `SELECT quote_ident(table_schema) || '.' || quote_ident(table_name) FROM information_schema.tables
	                 WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1`
	rows, err := g.pool.Query(context.Background(), tables)
	if err != nil {
		g.t.Fatal(err)
	}
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			g.t.Fatal(err)
		}
		names = append(names, name)
	}
	if err := rows.Err(); err != nil || len(names) < 30 {
		g.t.Fatalf("%d tables, %v", len(names), err)
	}
	var all strings.Builder
	for _, name := range names {
		var content string
		query := fmt.Sprintf(`SELECT COALESCE(string_agg(t::text, E'\n'), '') FROM %s t`, name)
		if err := g.pool.QueryRow(context.Background(), query).Scan(&content); err != nil {
			g.t.Fatal(err)
		}
		_, _ = fmt.Fprintf(&all, "%s:\n%s\n", name, content)
	}
	return all.String()
}
