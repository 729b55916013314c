package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/pgtest"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
)

func TestWriteCollected(t *testing.T) {
	done := postgres.Collected{Skipped: []string{"inventory"}, Figures: postgres.Figures{
		"scan": {Rows: 12, Bytes: 3_500_000}, "delivery": {Rows: 1200, Bytes: 120_000},
	}}
	tests := []struct {
		name string
		done postgres.Collected
		dry  bool
		want string
	}{
		{"went", done, false, `TABLE     ROWS  SIZE
delivery  1200  0.1 MB
scan      12    3.5 MB
all       1212  3.6 MB
inventory: others were at it all the time; left for the next collection
`},
		{"would go", postgres.Collected{Figures: postgres.Figures{"sbom": {Rows: 1, Bytes: 50_000_000}}}, true, `TABLE  ROWS THAT WOULD GO  SIZE
sbom   1                   50.0 MB
all    1                   50.0 MB
`},
		{"nothing", postgres.Collected{}, true, "nothing is over for long enough\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			if err := writeCollected(&out, tt.done, tt.dry); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, out.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// The command goes by the file's retention, and only asks when it is told to.
func TestCollectCommand(t *testing.T) {
	url := pgtest.URL(t)
	store, err := postgres.Open(t.Context(), url, postgres.Options{MaxConns: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for _, statement := range []string{
		`INSERT INTO registry (name, host) VALUES ('prod', 'registry.example')`,
		`INSERT INTO delivery (registry_id, dedupe_key, received_at, verdict) VALUES (1, 'old', now() - interval '40 days', 'ignored'), (1, 'new', now(), 'ignored')`,
	} {
		if _, err := store.Pool().Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "tidewaiter.yaml")
	if err := os.WriteFile(file, []byte("retention: {deliveries: 35d}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	collected := func(args ...string) collectedAnswer {
		t.Helper()
		var stdout, stderr bytes.Buffer
		args = append([]string{"collect", "--config", file, "--database-url", url, "-o", "json"}, args...)
		if code := run(context.Background(), args, &stdout, &stderr); code != 0 {
			t.Fatalf("exit code %d: %s", code, stderr.String())
		}
		var answer collectedAnswer
		if err := json.Unmarshal(stdout.Bytes(), &answer); err != nil {
			t.Fatal(err)
		}
		return answer
	}
	for n, step := range []struct {
		args []string
		want int64
	}{{[]string{"--dry-run"}, 1}, {[]string{"--dry-run"}, 1}, {nil, 1}, {nil, 0}} {
		got := collected(step.args...)
		if got.Tables["delivery"].Rows != step.want || got.DryRun != (step.args != nil) {
			t.Errorf("step %d: %+v", n, got)
		}
	}
}
