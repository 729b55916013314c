package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/app"
	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/pgtest"
	"github.com/tidewaiter/tidewaiter/internal/telemetry"
)

// TestServe starts the service as a person would, asks it, and stops it as a
// signal would.
func TestServe(t *testing.T) {
	t.Setenv("TIDEWAITER_DATABASE_URL", pgtest.Empty(t))
	t.Setenv("TIDEWAITER_VULNDB_AUTO_UPDATE", "false")
	ctx, signal := context.WithCancel(t.Context())
	logs, stderr := io.Pipe()
	code := make(chan int, 1)
	go func() {
		args := []string{"serve", "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--vulndb-dir=" + t.TempDir(), "--log-format=json"}
		code <- run(ctx, args, io.Discard, stderr)
		_ = stderr.Close()
	}()
	lines := bufio.NewScanner(logs)
	address := logged(t, lines, "serving")["address"].(string)
	go func() { _, _ = io.Copy(io.Discard, logs) }()
	for path, want := range map[string]int{"/livez": 200, "/api/v1/repositories": 401, "/metrics": 404, "/debug/pprof/": 404} {
		answer, err := http.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("%s: got %d, want %d", path, answer.StatusCode, want)
		}
	}
	signal()
	if got := <-code; got != 0 {
		t.Errorf("exit code %d after a signal, want 0", got)
	}
}

// logged reads log lines until one with the message comes.
func logged(t *testing.T, lines *bufio.Scanner, message string) map[string]any {
	t.Helper()
	var before strings.Builder
	for lines.Scan() {
		var line map[string]any
		if err := json.Unmarshal(lines.Bytes(), &line); err == nil && line["msg"] == message {
			return line
		}
		before.WriteString(lines.Text() + "\n")
	}
	t.Fatalf("no line %q among\n%s", message, before.String())
	return nil
}

// TestMetricsReference holds docs/metrics.md to what the service registers.
func TestMetricsReference(t *testing.T) {
	document, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	c := config.Default()
	c.Database.URL = config.Secret(pgtest.URL(t))
	c.VulnDB.Dir, c.VulnDB.AutoUpdate = t.TempDir(), false
	c.Listen, c.AdminListen = "127.0.0.1:0", "127.0.0.1:0"
	c.Registries = []config.Registry{{
		Name: "prod", Host: "registry.example",
		Webhook: config.Webhook{Format: "generic", Auth: config.WebhookAuth{Kind: "bearer", Secrets: []config.Secret{"s3cret"}}},
	}}
	reg := telemetry.NewRegistry(telemetry.Build{Version: "v1"})
	service, err := app.New(t.Context(), app.Options{Config: c, Registry: reg, Catalogues: true})
	if err != nil {
		t.Fatal(err)
	}
	defer service.Close()
	metrics, err := telemetry.Metrics(reg)
	if err != nil {
		t.Fatal(err)
	}
	if len(metrics) < 10 {
		t.Fatalf("only %d metrics are registered", len(metrics))
	}
	for _, problem := range telemetry.CheckReference(string(document), metrics) {
		t.Errorf("docs/metrics.md: %s", problem)
	}
}
