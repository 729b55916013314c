package main

import (
	"bytes"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/cmd/quickstart/internal/console"
	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/localpostgres"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// newRun is a run with a data directory whose name needs quoting in YAML.
func newRun(t *testing.T) *quickstart {
	t.Helper()
	data := filepath.Join(t.TempDir(), `a "new" dir: with spaces`)
	if err := os.Mkdir(data, 0o755); err != nil {
		t.Fatal(err)
	}
	return &quickstart{options: options{Data: data}, out: console.Plain(&bytes.Buffer{}), postgres: &localpostgres.Server{}}
}

func TestConfigurationIsAccepted(t *testing.T) {
	q := newRun(t)
	q.port, q.RegistryPort, q.host, q.secret = 8080, 5000, "localhost:5000", "a \"quoted\" secret"
	if err := q.writeConfig(); err != nil {
		t.Fatal(err)
	}
	got, err := config.Load(q.configFile(), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	if got.VulnDB.Dir != q.vulndbDir() || got.Listen != "127.0.0.1:8080" {
		t.Errorf("vulndb.dir %q, listen %q", got.VulnDB.Dir, got.Listen)
	}
	if len(got.Registries) != 1 || got.Registries[0].Host != q.host || !got.Registries[0].PlainHTTP {
		t.Errorf("registries: %+v", got.Registries)
	}
	if secrets := got.Registries[0].Webhook.Auth.Secrets; len(secrets) != 1 || secrets[0].Reveal() != q.secret {
		t.Error("the webhook's secret did not come through")
	}
	info, err := os.Stat(q.configFile())
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the configuration holds secrets and has mode %v", info.Mode())
	}
}

func TestSecretsAreKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	made := 0
	create := func() (string, error) { made++; return "first", nil }
	for range 2 {
		if got, err := keep(file, create); err != nil || got != "first" {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	if made != 1 {
		t.Errorf("made %d times", made)
	}
	failed := filepath.Join(t.TempDir(), "failed")
	if _, err := keep(failed, func() (string, error) { return "", os.ErrInvalid }); !errors.Is(err, os.ErrInvalid) {
		t.Errorf("got %v, want the cause", err)
	}
	if _, err := os.Stat(failed); err == nil {
		t.Error("a secret that could not be made left a file behind")
	}
}

func TestChoosePort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().(*net.TCPAddr).Port
	if _, err := choosePort(taken, 0); !errs.Is(err, errs.Conflict) {
		t.Errorf("a port that was asked for and is in use: got %v, want a conflict", err)
	}
	port, err := choosePort(0, taken)
	if err != nil || port == taken || port == 0 {
		t.Errorf("usual port in use: got %d, %v, want another one", port, err)
	}
}

func TestProgramThatWasNamed(t *testing.T) {
	path, _, err := program(t.Context(), "/opt/tidewaiter", t.TempDir(), func(string) {})
	if err != nil || path != "/opt/tidewaiter" {
		t.Errorf("got %q, %v", path, err)
	}
}

func TestCheckoutIsFound(t *testing.T) {
	root, ok := checkout(t.Context())
	if !ok {
		t.Fatal("the source is not found from inside it")
	}
	if _, err := os.Stat(filepath.Join(root, "cmd", "quickstart")); err != nil {
		t.Error(err)
	}
}

func TestToolReportsTheLastWords(t *testing.T) {
	var seen []string
	_, err := tool(t.Context(), func(s string) { seen = append(seen, s) }, "/bin/sh", "-c", "echo one >&2; printf '10%%\\r20%%\\r\\n' >&2; exit 3")
	if diff := cmp.Diff([]string{"one", "10%", "20%"}, seen); diff != "" {
		t.Errorf("reported (-want +got):\n%s", diff)
	}
	if err == nil || !strings.Contains(err.Error(), "20%") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("error does not say what went wrong: %v", err)
	}
}

func TestToolsSeeNoneOfOurVariables(t *testing.T) {
	t.Setenv("TIDEWAITER_DATABASE_URL", "postgres://elsewhere/")
	out, err := tool(t.Context(), func(string) {}, "/bin/sh", "-c", `echo "[$TIDEWAITER_DATABASE_URL]"`)
	if err != nil || strings.TrimSpace(out) != "[]" {
		t.Errorf("got %q, %v: the user's database would be written to", out, err)
	}
}

func TestChildIsStopped(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	c, err := startChild(shell("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done"), log)
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return logEnd(log) == "up" })
	if err := c.stop(time.Minute); err != nil {
		t.Fatal(err)
	}
	if got := logEnd(log); got != "up\nbye" {
		t.Errorf("log: got %q", got)
	}
}

func TestFindingsTable(t *testing.T) {
	score := 0.975
	var out bytes.Buffer
	printFindings(&out, []report.Finding{
		{
			Severity: "critical", Vulnerability: "CVE-2021-44228", KnownExploited: true, EPSS: &score, SuggestedVersion: "2.15.0",
			Package: report.Package{Type: "java-archive", Name: "log4j-core", Version: "2.14.1"},
		},
		{
			Severity: "high", Vulnerability: "CVE-2023-0001", FixState: "wont-fix",
			Package: report.Package{Type: "deb", Name: "evil\x1b[2J\u202e", Version: "1"},
		},
	})
	want := strings.Join([]string{
		"SEVERITY  VULNERABILITY   PACKAGE            TYPE          FIXED IN  EPSS   EXPLOITED",
		"critical  CVE-2021-44228  log4j-core 2.14.1  java-archive  2.15.0    97.5%  yes",
		"high      CVE-2023-0001   evil?[2J? 1        deb           wont-fix  -      -",
		"",
	}, "\n")
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}
