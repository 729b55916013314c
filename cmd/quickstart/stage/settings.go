package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"text/template"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// secrets are made once per data directory.
type secrets struct {
	Webhook string `json:"webhook"` // what the registry proves itself with
	Token   string `json:"token"`   // of the API; empty until it is made
}

func (s secrets) webhookHeader() http.Header {
	return http.Header{"Authorization": {"Bearer " + s.Webhook}}
}

// configure chooses ports, writes the configuration and makes an API token.
func (q *quickstart) configure(ctx context.Context, report func(string)) (string, error) {
	if err := q.loadSecrets(); err != nil {
		return "", err
	}
	var err error
	if q.port, err = choosePort(q.Port, 8080); err != nil {
		return "", err
	}
	if q.RegistryPort, err = choosePort(q.RegistryPort, 5000); err != nil {
		return "", err
	}
	q.host = "localhost:" + strconv.Itoa(q.RegistryPort)
	if err := q.writeConfig(); err != nil {
		return "", err
	}
	if q.secrets.Token == "" {
		report("making an API token")
		if err := q.createToken(ctx, report); err != nil {
			return "", err
		}
	}
	return q.configFile(), nil
}

func (q *quickstart) configFile() string  { return filepath.Join(q.Data, "config.yaml") }
func (q *quickstart) secretsFile() string { return filepath.Join(q.Data, "secrets.json") }
func (q *quickstart) tokenFile() string   { return filepath.Join(q.Data, "token") }
func (q *quickstart) logFile() string     { return filepath.Join(q.Data, "tidewaiter.log") }
func (q *quickstart) vulndbDir() string   { return filepath.Join(q.Data, "vulndb") }

// choosePort returns the wanted port; without a wish the usual one, or a free
// one when that is in use.
func choosePort(wanted, usual int) (int, error) {
	if wanted != 0 {
		if !free(wanted) {
			return 0, errs.New(errs.Conflict, "port %d is in use", wanted).WithHint("choose another one, or none to take a free one")
		}
		return wanted, nil
	}
	if free(usual) {
		return usual, nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, errs.Op("find a free port", err)
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return 0, errs.Op("find a free port", err)
	}
	return strconv.Atoi(port)
}

// free reports whether nobody listens on a port of this machine.
func free(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	_ = l.Close()
	return true
}

// configTemplate is a configuration as anybody would write it by hand; printf
// %q makes a string that YAML reads as the same string.
var configTemplate = template.Must(template.New("config").Parse(`# Written by the quickstart at each start. "tidewaiter config example" prints
# one with every key.
database:
  url: {{printf "%q" .Database}}
listen: {{printf "%q" .Listen}}
log:
  format: text
vulndb:
  dir: {{printf "%q" .VulnDB}}
  auto_update: false   # the quickstart looks for a newer one at each start
registries:
  - name: local
    host: {{printf "%q" .Host}}
    aliases: [{{printf "%q" .Alias}}]
    endpoint: {{printf "%q" .Alias}}
    plain_http: true   # it listens on loopback only
    webhook:
      format: distribution
      auth:
        kind: bearer
        secrets: [{{printf "%q" .Secret}}]
`))

func (q *quickstart) writeConfig() error {
	f, err := os.OpenFile(q.configFile(), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return errs.Op("write the configuration", err)
	}
	err = configTemplate.Execute(f, map[string]string{
		"Database": q.postgres.URL(), "VulnDB": q.vulndbDir(), "Secret": q.secrets.Webhook,
		"Listen": net.JoinHostPort("127.0.0.1", strconv.Itoa(q.port)),
		"Host":   q.host, "Alias": net.JoinHostPort("127.0.0.1", strconv.Itoa(q.RegistryPort)),
	})
	return errs.Op("write the configuration", errors.Join(err, f.Close()))
}

// loadSecrets reads the secrets of an earlier run or makes new ones.
func (q *quickstart) loadSecrets() error {
	text, err := os.ReadFile(q.secretsFile())
	if errors.Is(err, os.ErrNotExist) {
		q.secrets = secrets{Webhook: rand.Text()}
		return q.saveSecrets()
	}
	if err == nil {
		err = json.Unmarshal(text, &q.secrets)
	}
	return errs.Op("read "+q.secretsFile(), err)
}

func (q *quickstart) saveSecrets() error {
	text, err := json.Marshal(q.secrets)
	if err == nil {
		err = os.WriteFile(q.secretsFile(), append(text, '\n'), 0o600)
	}
	return errs.Op("write "+q.secretsFile(), err)
}
