package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
)

// environment is the lookup of a fixed environment.
func environment(pairs ...string) func(string) (string, bool) {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return func(name string) (string, bool) { v, ok := m[name]; return v, ok }
}

// withoutChoices cuts the list of what could be written: other rooms know it.
func withoutChoices(problem string) string {
	before, _, found := strings.Cut(problem, "one of")
	if !found || !strings.Contains(problem, "webhook") {
		return problem
	}
	return before + "one of …"
}

const minimal = "database: {url: \"postgres://localhost/t\"}\n"

func TestDefaultsAreValidOnceThereIsADatabase(t *testing.T) {
	c := Default()
	c.Database.URL = "postgres://localhost/t"
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	loaded, problems := load([]byte(minimal), "", environment())
	if problems != nil {
		t.Fatal(problems)
	}
	if diff := cmp.Diff(c, loaded); diff != "" {
		t.Errorf("a file with a database only differs from the defaults (-default +loaded):\n%s", diff)
	}
}

func TestLoadReadsEveryKind(t *testing.T) {
	source := `
database: {url: "postgres://u:${PW}@db/t", max_conns: 20}
listen: 127.0.0.1:0
workers:
  enabled: false
  job_timeout: 1h30m
  count: ${N}
limits:
  image_bytes: 3 GiB
  webhook_body: 4096
platforms: [linux/amd64, linux/arm/v7]
registries:
  - &base
    name: prod
    host: Registry.Acme.Example:443
    aliases: [registry.internal:5000]
    endpoint: registry:5000
    auth: {username: robot$x, password: 0123}
    webhook:
      format: distribution
      auth: {kind: bearer, secrets: ["${SECRET}", 'a$${b}']}
  - <<: *base
    name: hub
    host: index.docker.io
    aliases:
    auth: {token: file:token.txt}
    webhook:
      format: ""
`
	dir := t.TempDir()
	write(t, filepath.Join(dir, "token.txt"), "t0ken\r\n")
	c, problems := load([]byte(source), dir, environment("PW", "p$w", "N", "4", "SECRET", "${NOT}"))
	if problems != nil {
		t.Fatal(problems)
	}
	want := Default()
	want.Database = Database{URL: "postgres://u:p$w@db/t", MaxConns: 20}
	want.Listen = "127.0.0.1:0"
	want.Workers.Enabled, want.Workers.JobTimeout, want.Workers.Count = false, 90*time.Minute, 4
	want.Limits.ImageBytes, want.Limits.WebhookBody = 3<<30, 4096
	want.Platforms = []image.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm", Variant: "v7"}}
	want.Registries = []Registry{{
		Name: "prod", Host: "registry.acme.example", Aliases: []string{"registry.internal:5000"}, Endpoint: "registry:5000",
		RequestTimeout: 30 * time.Second,
		Auth:           RegistryAuth{Username: "robot$x", Password: "0123"},
		Webhook:        Webhook{Format: "distribution", Auth: WebhookAuth{Kind: "bearer", Secrets: []Secret{"${NOT}", "a${b}"}}},
		Reconcile:      Reconcile{Interval: 24 * time.Hour, Lister: "catalog"},
	}, {
		Name: "hub", Host: "docker.io", Endpoint: "registry:5000", RequestTimeout: 30 * time.Second,
		Auth: RegistryAuth{Token: "t0ken"}, Reconcile: Reconcile{Interval: 24 * time.Hour, Lister: "catalog"},
	}}
	// Secret hides from cmp's report what differs, so compare what is inside.
	reveal := cmp.Transformer("reveal", Secret.Reveal)
	if diff := cmp.Diff(want, c, reveal); diff != "" {
		t.Errorf("loaded (-want +got):\n%s", diff)
	}
}

func TestLoadTellsEveryProblem(t *testing.T) {
	tests := []struct {
		name, source string
		want         []string
	}{
		{"not YAML", "listen: [", []string{"line 1: not valid YAML: "}},
		{"secret near a syntax error stays out", "database:\n  url: \"postgres://u:hunter2@h/t\n", []string{"line 2: not valid YAML: could not find end character of double-quoted text"}},
		{"an unquoted reference", "api: {enabled: ${X}}\n", []string{"line 1: not valid YAML: ',' or '}' must be specified; inside { } and [ ] a value with ${…} needs quotes"}},
		{"a list at the top", "- a\n", []string{`line 1: expected keys, one per line, as "database: …"`}},
		{"two documents", "listen: :1\n---\nlisten: :2\n", []string{"line 3: the file holds more than one document: keep one and remove the --- line"}},
		{
			"all reading problems at once", `
databse: {}
listen: {a: b}
listen: :9
workers:
  count: many
  cuont: 3
  job_timeout: 30
limits: {image_bytes: 20GB, webhook_body: -1}
platforms: linux
receiver: {enabled: yes}
`,
			[]string{
				"database.url: empty; set it in the configuration file or in TIDEWAITER_DATABASE_URL, as postgres://user:password@host:5432/tidewaiter",
				"line 2: databse: unknown key; known here: database, listen, admin_listen, public_url, trusted_proxies, forwarded_header, metrics_token, tls, log, telemetry, receiver, workers, api, vulndb, events, retention, notify, temp_dir, cache, ca_file, limits, platforms, registries",
				"line 3: listen: expected one value (text)",
				"line 4: listen: given twice, first on line 3",
				`line 6: workers.count: "many" is not a whole number`,
				"line 7: workers.cuont: unknown key; known here: enabled, count, job_timeout, shutdown_grace, max_attempts, isolation, images_per_process",
				`line 8: workers.job_timeout: "30" is not a duration: write a number with a unit, as 30s, 15m, 1h30m or 90d`,
				`line 9: limits.image_bytes: "20GB" is not a size: write a whole number with B, KiB, MiB, GiB or TiB, as 20GiB`,
				`line 9: limits.webhook_body: "-1" is not a size: write a whole number with B, KiB, MiB, GiB or TiB, as 20GiB`,
				"line 10: platforms: expected a list, one entry per line that begins with a hyphen",
				`line 11: receiver.enabled: "yes" is neither true nor false`,
			},
		},
		{
			"references", `
database: {url: "postgres://u:${NO_SUCH}@h/t"}
registries:
  - name: a
    host: a.example
    auth: {token: "file:/no/such/file"}
    webhook: {auth: {secrets: ["${1X}", "${OPEN"]}}
`,
			[]string{
				"line 2: database.url: environment variable NO_SUCH is not set",
				"line 6: registries[0].auth.token: secret file: open /no/such/file: no such file or directory",
				"line 7: registries[0].webhook.auth.secrets[0]: a variable is written ${NAME} with letters, digits and underscores; for a plain ${ write $${",
				"line 7: registries[0].webhook.auth.secrets[1]: a variable is written ${NAME} with letters, digits and underscores; for a plain ${ write $${",
				"line 7: registries[0].webhook.format: empty",
			},
		},
		{
			"all stages in one run", `
database: {url: nonsense, max_conns: many}
lisen: ":1"
tls: {cert_file: [a], key_file: /no/key.pem}
admin_listen: ":99999"
workers: {count: 0, job_timeout: 30}
platforms: [linux, linux/amd64, linux/amd64]
registries:
  - name: a
    host: https://a.example
    auth: {username: u, password: "${NO_SUCH}"}
    webhook: {format: generic, auth: {kind: bearer, header: X-Y, secrets: [" "]}}
  - nothing
  - name: [b]
    host: b.example
    request_timeout: 0s
    ca_file: /no/ca.pem
`,
			[]string{
				"line 2: database.max_conns: \"many\" is not a whole number",
				"line 2: database.url: neither a postgres:// URL nor keywords as host=…",
				"line 3: lisen: unknown key; known here: database, listen, admin_listen, public_url, trusted_proxies, forwarded_header, metrics_token, tls, log, telemetry, receiver, workers, api, vulndb, events, retention, notify, temp_dir, cache, ca_file, limits, platforms, registries",
				"line 4: tls.cert_file: expected one value (text)",
				`line 5: admin_listen: port "99999" is not a number from 0 to 65535`,
				`line 6: workers.job_timeout: "30" is not a duration: write a number with a unit, as 30s, 15m, 1h30m or 90d`,
				"line 6: workers.count: 0 is not between 1 and 1000",
				`line 7: platforms[0]: "linux" is not a platform: write os/architecture or os/architecture/variant, as linux/amd64`,
				"line 7: platforms[2]: linux/amd64 is given twice",
				`line 10: registries[0].host: "https://a.example" is not a host: write it without scheme and path, as registry.example or registry.example:5000`,
				"line 11: registries[0].auth.password: environment variable NO_SUCH is not set",
				"line 12: registries[0].webhook.auth.header: has no meaning for kind bearer",
				"line 12: registries[0].webhook.auth.secrets[0]: starts or ends with white space",
				`line 13: registries[1]: expected keys, one per line, as "name: …"`,
				"line 14: registries[2].name: expected one value (text)",
				"line 16: registries[2].request_timeout: 0s is less than 1ns",
				"line 17: registries[2].ca_file: open /no/ca.pem: no such file or directory",
			},
		},
		{"unknown alias", minimal + "log: *nothing\n", []string{`line 2: log: there is no anchor "nothing" above`}},
		{"alias of itself", minimal + "log: &a\n  level: *a\n", []string{"line 3: log.level: expected one value (text)"}},
		{"merge of itself", minimal + "log: &a\n  <<: *a\n", []string{"line 3: log: << takes the alias of a mapping, as <<: *name"}},
		{"nothing at all", "", []string{"database.url: empty; set it in the configuration file or in TIDEWAITER_DATABASE_URL, as postgres://user:password@host:5432/tidewaiter"}},
		{
			"all checks at once", `
database: {url: nonsense, max_conns: 1}
listen: "8080"
admin_listen: ":99999"
tls: {cert_file: /no/cert.pem}
log: {level: loud}
receiver: {enabled: false}
workers: {enabled: false, count: 0}
api: {enabled: false, rate_per_second: 0}
vulndb: {dir: "", url: ftp://x/, update_interval: 1s, ca_file: /no/ca.pem}
limits: {webhook_body: 26MiB, layers: 0}
platforms: [linux/amd64, linux/amd64]
cache: {max_bytes: 10KiB}
`,
			[]string{
				"receiver.enabled, workers.enabled and api.enabled are all false: there is nothing to do",
				"line 2: database.url: neither a postgres:// URL nor keywords as host=…",
				"line 2: database.max_conns: 1 is not between 4 and 10000",
				`line 3: listen: "8080" is not host:port; write :8080 to listen on every address`,
				`line 4: admin_listen: port "99999" is not a number from 0 to 65535`,
				"line 5: tls: cert_file and key_file belong together",
				`line 6: log.level: "loud" is none of debug, info, warn, error`,
				"line 8: workers.count: 0 is not between 1 and 1000",
				"line 9: api.rate_per_second: 0 is not between 1 and 1000000",
				"line 10: vulndb.dir: empty",
				"line 10: vulndb.url: not an https:// or http:// address",
				"line 10: vulndb.update_interval: 1s is less than 1m0s",
				"line 10: vulndb.ca_file: open /no/ca.pem: no such file or directory",
				"line 11: limits.webhook_body: 26MiB is not between 1KiB and 25MiB",
				"line 11: limits.layers: 0 is not between 1 and 100000",
				"line 12: platforms[1]: linux/amd64 is given twice",
				"line 13: cache.max_bytes: 10KiB is not between 1MiB and 1024TiB",
			},
		},
		{
			"registries", minimal + `registries:
  - name: sboms
    host: https://registry.example/
  - name: Prod_1
    host: registry
    aliases: [a.example, A.example:443, ""]
    plain_http: true
    ca_file: /no/ca.pem
    auth: {username: u, token: t}
  - name: ok
    host: docker.io
    endpoint: http://x
    trusted_hosts: [ok.example, "a b"]
  - name: ok
    host: registry-1.docker.io
    webhook: {auth: {kind: bearer}}
  - name: hook
    host: hook.example
    webhook:
      format: distribution
      auth: {kind: bearer, secrets: []}
  - name: hook2
    host: hook2.example
    webhook: {format: smoke}
  - name: hook3
    host: hook3.example
    webhook: {format: generic, auth: {kind: hmac-sha256, secrets: [""]}}
`,
			[]string{
				`line 3: registries[0].name: "sboms" is the name uploaded SBOMs have; choose another`,
				`line 4: registries[0].host: "https://registry.example/" is not a host: write it without scheme and path, as registry.example or registry.example:5000`,
				`line 5: registries[1].name: "Prod_1": use lower-case letters, digits and hyphens between them, at most 63`,
				`line 6: registries[1].host: "registry" has neither a dot nor a port: in an image reference it would be read as a repository of Docker Hub`,
				`line 7: registries[1].aliases[1]: "a.example" is registries[1].aliases[0] already; a host can belong to one registry, once`,
				"line 7: registries[1].aliases[2]: empty",
				"line 9: registries[1].ca_file: plain_http is true, so there is no certificate to check",
				"line 9: registries[1].ca_file: open /no/ca.pem: no such file or directory",
				"line 10: registries[1].auth: choose one of docker_config, username with password, token, and keychain",
				"line 10: registries[1].auth: username and password belong together",
				`line 13: registries[2].endpoint: "http://x" is not a host: write it without scheme and path, as registry.example or registry.example:5000`,
				`line 14: registries[2].trusted_hosts[1]: "a b" is not a host: write it without scheme and path, as registry.example or registry.example:5000`,
				`line 15: registries[3].name: "ok" is the name of registries[2] already`,
				`line 16: registries[3].host: "docker.io" is registries[2].host already; a host can belong to one registry, once`,
				"line 17: registries[3].webhook.format: empty",
				"line 22: registries[4].webhook.auth.secrets: 0 given, want one, or two while rotating",
				`line 25: registries[5].webhook.format: "smoke" is not known; use one of …`,
				"line 25: registries[5].webhook.auth.kind: is missing; name one of …",
				"line 28: registries[6].webhook.auth.secrets[0]: is empty",
			},
		},
		{"a webhook without a format", minimal + "registries: [{name: a, host: a.example, webhook: {auth: {kind: bearer}}}]\n", []string{"line 2: registries[0].webhook.format: empty"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, problems := load([]byte(tt.source), "", environment())
			var got []string
			for _, p := range problems {
				got = append(got, withoutChoices(p.String()))
			}
			if len(tt.want) == 1 && strings.HasSuffix(tt.want[0], ": ") && len(got) == 1 {
				if !strings.HasPrefix(got[0], tt.want[0]) {
					t.Errorf("got %q, want it to begin with %q", got[0], tt.want[0])
				}
				return
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func TestColonsInsideBraces(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "s.txt"), "s3cret")
	source := minimal + `registries: [{name: a, host: a.example:5000, aliases: [b.example:5000, "c:1", d:2,é.example:5], auth: {token: file:s.txt},
  webhook: {format: generic, auth: {kind: bearer, secrets: [file:s.txt]}}}]
`
	c, problems := load([]byte(source), dir, environment())
	if problems != nil {
		t.Fatal(problems)
	}
	r := c.Registries[0]
	got := []any{r.Aliases, r.Auth.Token.Reveal(), r.Webhook.Auth.Secrets[0].Reveal()}
	if diff := cmp.Diff([]any{[]string{"b.example:5000", "c:1", "d:2", "é.example:5"}, "s3cret", "s3cret"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	_, problems = load([]byte(minimal+"registries: [{name: a, host: a.example, aliases: [{b: c}, b: c]}]"), dir, environment())
	if len(problems) != 2 {
		t.Errorf("mappings in a list of hosts: got %v, want two problems", problems)
	}
}

func TestAliasesCannotGrowWithoutBound(t *testing.T) {
	source := "log: &a\n  <<: *a\n" + strings.Repeat("  <<: *a\n", 9)
	_, problems := load([]byte(source), "", environment())
	if len(problems) == 0 || len(problems) > maxProblems {
		t.Fatalf("a mapping that holds itself ten times over has %d problems", len(problems))
	}
}

func TestEnvironmentOverridesTheFile(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "url"), "postgres://from-file/t\n")
	source := minimal + "listen: :1\nworkers: {count: 3}\n"
	c, problems := load([]byte(source), dir, environment(
		"TIDEWAITER_DATABASE_URL", "file:"+filepath.Join(dir, "url"), "TIDEWAITER_LISTEN", "",
		"TIDEWAITER_WORKERS_COUNT", "7", "TIDEWAITER_API_ENABLED", "false", "TIDEWAITER_LOG_LEVEL", "debug"))
	if problems != nil {
		t.Fatal(problems)
	}
	got := []any{c.Database.URL.Reveal(), c.Listen, c.Workers.Count, c.API.Enabled, c.Log.Level}
	if diff := cmp.Diff([]any{"postgres://from-file/t", ":1", 7, false, "debug"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	_, problems = load([]byte(source), dir, environment("TIDEWAITER_WORKERS_COUNT", "x", "TIDEWAITER_LISTEN", "nowhere"))
	want := `TIDEWAITER_WORKERS_COUNT (for workers.count): "x" is not a whole number
TIDEWAITER_LISTEN (for listen): "nowhere" is not host:port; write :8080 to listen on every address`
	if diff := cmp.Diff(want, problems.Error()); diff != "" {
		t.Errorf("values from the environment have no line (-want +got):\n%s", diff)
	}
	_, problems = load([]byte(minimal+"workers: {count: many}\n"), dir, environment("TIDEWAITER_WORKERS_COUNT", "0"))
	want = `TIDEWAITER_WORKERS_COUNT (for workers.count): 0 is not between 1 and 1000
line 2: workers.count: "many" is not a whole number`
	if diff := cmp.Diff(want, problems.Error()); diff != "" {
		t.Errorf("wrong in both (-want +got):\n%s", diff)
	}
}

// An error never blames a file that is not there, or that does not hold the
// value.
func TestErrorsNameWhereTheValueCameFrom(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.yaml")
	write(t, path, minimal)
	flags := WithFlags(map[string]string{"TIDEWAITER_VULNDB_URL": "vulndb-url"})
	good := []string{"TIDEWAITER_DATABASE_URL", "postgres://h/t"}
	tests := []struct {
		name, path string
		env        []string
		want       string
	}{
		{"a flag", path, []string{"TIDEWAITER_VULNDB_URL", "foo"}, "config: --vulndb-url (for vulndb.url): not an https:// or http:// address"},
		{"a flag, and no file", "", append(good, "TIDEWAITER_VULNDB_URL", "foo"), "config: --vulndb-url (for vulndb.url): not an https:// or http:// address"},
		{"a variable", path, []string{"TIDEWAITER_LOG_LEVEL", "loud"}, `config: TIDEWAITER_LOG_LEVEL (for log.level): "loud" is none of debug, info, warn, error`},
		{"nothing", "", nil, "config: flags and environment: database.url: empty; "},
	}
	for _, tt := range tests {
		_, err := Load(tt.path, environment(tt.env...), flags)
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	if got := title(DefaultPath, false, Problems{{Path: "database.url"}}); got != "config: no configuration file at "+DefaultPath {
		t.Errorf("without the file at its default place: %q", got)
	}
}

func TestLoadFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "t.yaml")
	write(t, path, minimal+"registries: [{name: a, host: a.example, auth: {docker_config: auth.json}}]\n")
	_, err := Load(path, environment())
	var problems Problems
	if !errs.Is(err, errs.Invalid) || !errors.As(err, &problems) || !strings.Contains(err.Error(), filepath.Join(dir, "auth.json")) {
		t.Errorf("got %v, want one problem about auth.json beside the file", err)
	}
	write(t, filepath.Join(dir, "auth.json"), "{}")
	c, err := Load(path, environment())
	if err != nil || c.Registries[0].Auth.DockerConfig != filepath.Join(dir, "auth.json") {
		t.Errorf("got %v, %v", c.Registries, err)
	}
	if _, err := Load(filepath.Join(dir, "none.yaml"), environment()); !errs.Is(err, errs.NotFound) || errs.Hint(err) == "" {
		t.Errorf("missing file: got %v, want kind not_found with a hint", err)
	}
	if _, err := Load("", environment("TIDEWAITER_DATABASE_URL", "postgres://h/t")); err != nil {
		t.Errorf("no file: %v", err)
	}
	write(t, path, strings.Repeat("#", maxFile+1))
	if _, err := Load(path, environment()); !errs.Is(err, errs.TooLarge) {
		t.Errorf("huge file: got %v, want kind too_large", err)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
