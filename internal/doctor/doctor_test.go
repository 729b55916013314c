package doctor_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/doctor"
	"github.com/tidewaiter/tidewaiter/internal/pgtest"
)

// unconfined reports whether a finding says that worker processes cannot be fenced
// off: where the tests run that may be so, and the doctor has to say it.
func unconfined(f doctor.Finding) bool {
	return f.Check == "worker processes" && f.Status == doctor.Warn && strings.Contains(f.Found, "cannot fence them off")
}

func TestAGoodInstallationIsAllGood(t *testing.T) {
	found := install(t).look()
	seen := map[string]bool{}
	for _, f := range found {
		seen[f.Check] = true
		if f.Status != doctor.OK && !unconfined(f) {
			t.Errorf("%s: %s: %s (%s)", f.Check, f.Status, f.Found, f.Fix)
		}
	}
	for _, check := range []string{
		"configuration", "database", "migrations", "clock", "vulnerability database", "vulnerability database updates", "worker processes", "address listen",
		"address admin_listen", "certificate of listen", "public_url", "disk vulndb.dir", "disk temp_dir", "disk cache.dir", "registry prod", "webhook prod", "channel ops",
	} {
		if !seen[check] {
			t.Errorf("nothing is said of %s", check)
		}
	}
}

// broken are set-ups with one thing wrong each: what is found, and what the fix
// names.
var broken = []struct {
	name   string
	spoil  func(in *installation)
	check  string
	status doctor.Status
	found  string
	fix    string
}{
	{"environment variable not set", func(in *installation) { delete(in.env, "WEBHOOK_SECRET") },
		"configuration", doctor.Fail, "environment variable WEBHOOK_SECRET is not set", "set WEBHOOK_SECRET in the environment"},
	{"file with a secret missing", func(in *installation) { in.values["dburl"] = "file:/nowhere/url" },
		"configuration", doctor.Fail, "database.url", "make the file"},
	{"unknown key", func(in *installation) { in.values["more"] = "registrys: []" },
		"configuration", doctor.Fail, "registrys", "docs/configuration.md"},
	{"certificate without its key", func(in *installation) {
		_, in.values["key"] = certificate(in.t, in.dir, "other.example", time.Now().Add(time.Hour))
	}, "configuration", doctor.Fail, "private key does not match", "put the key that belongs to the certificate"},
	{"certificate expired", func(in *installation) {
		in.values["cert"], in.values["key"] = certificate(in.t, in.dir, "tidewaiter.example", time.Now().Add(-time.Hour))
	}, "certificate of listen", doctor.Fail, "expired", "renew"},
	{"certificate about to expire", func(in *installation) {
		in.values["cert"], in.values["key"] = certificate(in.t, in.dir, "tidewaiter.example", time.Now().Add(24*time.Hour))
	}, "certificate of listen", doctor.Warn, "expires on", "renew"},

	{"password of the database", func(in *installation) {
		u, err := url.Parse(in.database)
		in.must(err)
		u.User = url.UserPassword(u.User.Username(), "pw-that-is-wrong-777")
		in.env["DATABASE_URL"] = u.String()
	}, "database", doctor.Fail, "refuses user", "check user and password in database.url"},
	{"no Postgres there", func(in *installation) {
		in.env["DATABASE_URL"] = "postgres://owner:pw-of-nobody-888@" + closedPort(in.t) + "/tidewaiter"
	}, "database", doctor.Fail, "cannot connect", "database.url"},
	{"no such database", func(in *installation) {
		u, err := url.Parse(in.database)
		in.must(err)
		u.Path = "/no_such_database"
		in.env["DATABASE_URL"] = u.String()
	}, "database", doctor.Fail, "no_such_database", "CREATE DATABASE"},
	{"user who may not write", func(in *installation) { in.env["DATABASE_URL"] = stranger(in) },
		"database", doctor.Fail, "ownership of finding_event", "owner of the schema"},
	{"more connections than there are", func(in *installation) { in.values["conns"] = "9999" },
		"database", doctor.Fail, "database.max_conns is 9999", "lower database.max_conns"},
	{"no schema", func(in *installation) { in.env["DATABASE_URL"] = pgtest.Empty(in.t) },
		"migrations", doctor.Fail, "no schema", "tidewaiter migrate"},
	{"schema behind", func(in *installation) {
		in.sql(`DELETE FROM goose_db_version WHERE version_id = (SELECT max(version_id) FROM goose_db_version)`)
	}, "migrations", doctor.Fail, "behind", "tidewaiter migrate"},
	{"schema ahead", func(in *installation) {
		in.sql(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, true)`)
	},
		"migrations", doctor.Fail, "newer version", "run the newer version"},

	{"password of the registry", func(in *installation) { in.env["REGISTRY_PASSWORD"] = "pw-that-is-wrong-999" },
		"registry prod", doctor.Fail, "401", "check auth of registry prod"},
	{"registry without TLS", func(in *installation) { in.values["plain"] = "false" },
		"registry prod", doctor.Fail, "does not speak TLS", "set plain_http"},
	{"registry with TLS", func(in *installation) {
		in.values["registry"] = host(secure(in.t, nil))
	}, "registry prod", doctor.Fail, "speaks TLS", "remove plain_http"},
	{"registry of an unknown authority", func(in *installation) {
		in.values["registry"], in.values["plain"] = host(secure(in.t, nil)), "false"
	}, "registry prod", doctor.Fail, "not trusted", "ca_file"},
	{"registry whose certificate expired", func(in *installation) {
		cert, key := certificate(in.t, in.dir, "registry.example", time.Now().Add(-time.Hour))
		pair, err := tls.LoadX509KeyPair(cert, key)
		in.must(err)
		in.values["registry"], in.values["plain"], in.values["ca"] = host(secure(in.t, &pair)), "false", `ca_file: "`+cert+`"`
	}, "registry prod", doctor.Fail, "expired", "renew the certificate"},
	{"registry that hangs", func(in *installation) {
		in.values["registry"], in.timeout = silent(in.t), 2*time.Second
	}, "registry prod", doctor.Fail, "did not answer", "firewall"},
	{"registry that is not there", func(in *installation) { in.values["registry"] = closedPort(in.t) },
		"registry prod", doctor.Fail, "cannot reach", "check host"},
	{"something else than a registry", func(in *installation) {
		in.values["registry"] = host(serve(in.t, http.NotFoundHandler()))
	}, "registry prod", doctor.Fail, "404", "check host and endpoint"},
	{"registry with another clock", func(in *installation) {
		in.values["registry"] = host(serve(in.t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
		})))
	}, "clock", doctor.Fail, "registry prod", "NTP"},

	{"directory below a file", func(in *installation) {
		path := filepath.Join(in.dir, "occupied")
		in.must(os.WriteFile(path, nil, 0o600))
		in.values["vulndb"] = filepath.Join(path, "vulndb")
	}, "disk vulndb.dir", doctor.Fail, "cannot be written to", "vulndb.dir"},
	{"file system nobody writes to", func(in *installation) { in.values["cache"] = "/proc/tidewaiter" },
		"disk cache.dir", doctor.Fail, "cannot be written to", "cache.dir"},
	{"disk full", func(in *installation) { in.free = func(string) (uint64, error) { return 1000, nil } },
		"disk temp_dir", doctor.Fail, "work stops", "make room"},
	{"disk nearly full", func(in *installation) { in.free = func(string) (uint64, error) { return 1 << 30, nil } },
		"disk vulndb.dir", doctor.Warn, "there should be", "make room"},

	{"database too old", func(in *installation) {
		in.sql(`UPDATE vuln_build SET built = now() - interval '30 days'`)
	}, "vulnerability database", doctor.Fail, "30 days ago", "tidewaiter vulndb"},
	{"sample in force", func(in *installation) { in.sql(`UPDATE vuln_build SET sample = true`) },
		"vulnerability database", doctor.Warn, "sample", "tidewaiter vulndb update"},
	{"a build is held", func(in *installation) {
		in.sql(`INSERT INTO vuln_build (checksum, engine, engine_version, config, schema_version, built, source, sample, state)
		        SELECT 'sha256:b', engine, engine_version, config, schema_version, built, source, sample, 'held' FROM vuln_build`)
	}, "vulnerability database", doctor.Warn, "waits for a person", "tidewaiter vulndb diff"},
	{"no database and none fetched", func(in *installation) {
		in.sql(`DELETE FROM vuln_build`)
		in.values["update"] = "false"
	}, "vulnerability database", doctor.Fail, "there is none", "tidewaiter vulndb import"},
	{"source of databases is wrong", func(in *installation) { in.values["mirror"] = serve(in.t, http.NotFoundHandler()).URL },
		"vulnerability database updates", doctor.Fail, "404", "mirror"},

	{"images read inside the service", func(in *installation) { in.values["isolation"] = "none" },
		"worker processes", doctor.Warn, "isolation is none", "set workers.isolation"},
	{"port taken", func(in *installation) { in.values["listen"] = host(serve(in.t, http.NotFoundHandler())) },
		"address listen", doctor.Fail, "in use by another program", "another address with listen"},
	{"no address of this machine", func(in *installation) { in.values["listen"] = "192.0.2.1:8080" },
		"address listen", doctor.Fail, "no address of this machine", "leave the host out"},
	{"public address without TLS", func(in *installation) { in.values["public"] = "http://tidewaiter.example" },
		"public_url", doctor.Warn, "no TLS", "https://"},
	{"certificate for another name", func(in *installation) { in.values["public"] = "https://other.example" },
		"certificate of listen", doctor.Warn, "not for other.example", "public_url"},

	{"secret of an example", func(in *installation) { in.env["WEBHOOK_SECRET"] = "change-me" },
		"webhook prod", doctor.Fail, "examples", "openssl rand"},
	{"secret too short", func(in *installation) { in.env["WEBHOOK_SECRET"] = "qhGfW7ab" },
		"webhook prod", doctor.Warn, "8 characters", "openssl rand"},
	{"one secret for two", func(in *installation) {
		in.values["more"] = `
  - name: other
    host: ` + closedPort(in.t) + `
    plain_http: true
    webhook: {format: generic, auth: {kind: bearer, secrets: ["${WEBHOOK_SECRET}"]}}`
	}, "webhooks", doctor.Warn, "other, prod have the same secret", "a secret of its own"},
	{"nothing was ever delivered", func(in *installation) { in.sql(`DELETE FROM delivery`) },
		"webhook prod", doctor.Warn, "nothing was ever delivered", "https://tidewaiter.example/webhooks/prod"},
	{"receiver of messages is not there", func(in *installation) { in.values["channel"] = "http://" + closedPort(in.t) + "/hook" },
		"channel ops", doctor.Fail, "cannot be reached", "channel"},
	{"service that is not ready", func(in *installation) {
		in.server = serve(in.t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
			_ = json.NewEncoder(w).Encode(map[string]any{"ready": false, "checks": []any{map[string]any{"name": "postgres", "ok": false, "kind": "unavailable"}}})
		})).URL
	}, "server", doctor.Fail, "postgres (unavailable)", "log"},
	{"no service there", func(in *installation) { in.server = "http://" + closedPort(in.t) },
		"server", doctor.Fail, "connection refused", "--server"},
}

func TestBrokenInstallationsAreFound(t *testing.T) {
	for _, tt := range broken {
		t.Run(tt.name, func(t *testing.T) {
			in := install(t)
			in.values["isolation"] = "none" // starting one takes seconds
			tt.spoil(in)
			found := in.look()
			if !has(found, tt.check, tt.status, tt.found, tt.fix) {
				t.Errorf("no finding %q of %s that says %q and to do %q among%s", tt.status, tt.check, tt.found, tt.fix, list(found))
			}
			for name, secret := range in.env {
				if u, err := url.Parse(secret); err == nil && u.User != nil {
					secret, _ = u.User.Password()
				}
				if len(secret) >= 6 && strings.Contains(list(found), secret) {
					t.Errorf("%s is told:%s", name, list(found))
				}
			}
		})
	}
}

func has(found []doctor.Finding, check string, status doctor.Status, text, fix string) bool {
	for _, f := range found {
		if f.Check == check && f.Status == status && strings.Contains(f.Found, text) && strings.Contains(f.Fix, fix) {
			return true
		}
	}
	return false
}

func list(found []doctor.Finding) string {
	var b strings.Builder
	for _, f := range doctor.WorstFirst(found) {
		fmt.Fprintf(&b, "\n  %s %s: %s -> %s", f.Status, f.Check, f.Found, f.Fix)
	}
	return b.String()
}

// One thing that is wrong hides nothing else: what does not need it is looked at.
func TestAProblemOfTheConfigurationHidesNothingElse(t *testing.T) {
	in := install(t)
	delete(in.env, "WEBHOOK_SECRET")
	in.values["listen"] = host(serve(t, http.NotFoundHandler()))
	found := in.look()
	if !has(found, "address listen", doctor.Fail, "in use", "") || !has(found, "database", doctor.OK, "Postgres", "") || !has(found, "registry prod", doctor.Skipped, "", "") {
		t.Errorf("got%s", list(found))
	}
}

func TestAServiceThatRunsIsNoTakenPort(t *testing.T) {
	in := install(t)
	in.values["cert"], in.values["key"] = "", ""
	in.values["listen"] = host(serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"live":true}`) })))
	if found := in.look(); !has(found, "address listen", doctor.OK, "in use by Tidewaiter", "") {
		t.Errorf("got%s", list(found))
	}
}

func TestWorst(t *testing.T) {
	tests := map[doctor.Status][]doctor.Finding{
		doctor.OK:   nil,
		doctor.Warn: {{Status: doctor.OK}, {Status: doctor.Warn}, {Status: doctor.Skipped}},
		doctor.Fail: {{Status: doctor.Warn}, {Status: doctor.Fail}},
	}
	for want, found := range tests {
		if got := doctor.Worst(found); got != want {
			t.Errorf("the worst of %v is %s", found, got)
		}
	}
}

// closedPort is an address where nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	var listen net.ListenConfig
	l, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// silent is an address where somebody takes connections and never says a word.
func silent(t *testing.T) string {
	t.Helper()
	var listen net.ListenConfig
	l, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

// secure is a registry with TLS, with the certificate or one of an authority
// nobody knows.
func secure(t *testing.T, certificate *tls.Certificate) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	if certificate != nil {
		server.TLS = &tls.Config{Certificates: []tls.Certificate{*certificate}}
	}
	server.Config.ErrorLog = nil
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

// stranger makes a user who may connect and read, and nothing else.
func stranger(in *installation) string {
	in.t.Helper()
	const password = "pw-of-the-stranger-333"
	name := fmt.Sprintf("stranger_%d", time.Now().UnixNano())
	in.sql(`CREATE ROLE ` + name + ` LOGIN PASSWORD '` + password + `'`)
	in.sql(`GRANT SELECT ON ALL TABLES IN SCHEMA public TO ` + name)
	u, err := url.Parse(in.database)
	in.must(err)
	in.t.Cleanup(func() {
		ctx := context.WithoutCancel(in.t.Context())
		dropRole(ctx, in, name)
	})
	u.User = url.UserPassword(name, password)
	return u.String()
}
