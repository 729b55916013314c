package main

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// configure chooses ports, writes the configuration and makes an API token.
func (q *quickstart) configure(ctx context.Context, report func(string)) (string, error) {
	var err error
	if q.port, err = choosePort(q.Port, 8080); err != nil {
		return "", err
	}
	if q.RegistryPort, err = choosePort(q.RegistryPort, 5000); err != nil {
		return "", err
	}
	q.host = "localhost:" + strconv.Itoa(q.RegistryPort)
	q.secret, err = keep(filepath.Join(q.Data, "webhook-secret"), func() (string, error) { return rand.Text(), nil })
	if err != nil {
		return "", err
	}
	if err := q.writeConfig(); err != nil {
		return "", err
	}
	q.token, err = keep(q.tokenFile(), func() (string, error) { return q.createToken(ctx, report) })
	return q.configFile(), err
}

func (q *quickstart) configFile() string { return filepath.Join(q.Data, "config.yaml") }
func (q *quickstart) tokenFile() string  { return filepath.Join(q.Data, "token") }
func (q *quickstart) logFile() string    { return filepath.Join(q.Data, "tidewaiter.log") }
func (q *quickstart) vulndbDir() string  { return filepath.Join(q.Data, "vulndb") }

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
cache:
  dir: {{printf "%q" .Layers}}
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
		"Database": q.postgres.URL(), "VulnDB": q.vulndbDir(), "Layers": filepath.Join(q.Data, "layers"), "Secret": q.secret,
		"Listen": net.JoinHostPort("127.0.0.1", strconv.Itoa(q.port)),
		"Host":   q.host, "Alias": net.JoinHostPort("127.0.0.1", strconv.Itoa(q.RegistryPort)),
	})
	return errs.Op("write the configuration", errors.Join(err, f.Close()))
}

// keep returns what an earlier run wrote into the file, or makes it and writes
// it for the next one. Only its owner can read the file.
func keep(file string, create func() (string, error)) (string, error) {
	text, err := os.ReadFile(file)
	if err == nil {
		return strings.TrimSpace(string(text)), nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", errs.Op("read a secret", err)
	}
	secret, err := create()
	if err != nil {
		return "", err
	}
	return secret, errs.Op("keep a secret", os.WriteFile(file, []byte(secret+"\n"), 0o600))
}
