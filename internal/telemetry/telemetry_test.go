package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

func TestContextAttributes(t *testing.T) {
	var out bytes.Buffer
	logger, err := NewLogger(&out, "info", "auto")
	if err != nil {
		t.Fatal(err)
	}
	ctx := With(t.Context(), slog.Int("scan", 1), slog.String("request", "r1"))
	inner := With(ctx, slog.Int("scan", 2), slog.String("digest", "d"))
	logger.InfoContext(ctx, "one")
	logger.With("room", "x").InfoContext(inner, "two", "digest", "own")
	logger.InfoContext(context.Background(), "three")
	logger.DebugContext(ctx, "hidden")
	var got []map[string]any
	for _, line := range strings.Split(strings.TrimSpace(out.String()), "\n") {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("not JSON although no terminal: %q", line)
		}
		delete(m, "time")
		got = append(got, m)
	}
	want := []map[string]any{
		{"level": "INFO", "msg": "one", "scan": 1.0, "request": "r1"},
		{"level": "INFO", "msg": "two", "room": "x", "scan": 2.0, "request": "r1", "digest": "own"},
		{"level": "INFO", "msg": "three"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	if strings.Contains(strings.Split(out.String(), "\n")[1], `"d"`) {
		t.Error("the line's own digest stands beside that of the context")
	}
}

func TestNewLoggerRefusesUnknownWords(t *testing.T) {
	for _, words := range [][2]string{{"loud", ""}, {"", "xml"}} {
		if _, err := NewLogger(os.Stderr, words[0], words[1]); !errs.Is(err, errs.Invalid) {
			t.Errorf("NewLogger(%q): got %v, want kind invalid", words, err)
		}
	}
}

func TestIsTerminal(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	file, err := os.Create(t.TempDir() + "/f")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if IsTerminal(&bytes.Buffer{}) || IsTerminal(null) || IsTerminal(file) {
		t.Error("a buffer, a file or the null device counts as a terminal")
	}
}

func TestBuildOf(t *testing.T) {
	settings := []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.time", Value: "2026-01-02T03:04:05Z"}, {Key: "vcs.modified", Value: "true"}}
	tests := []struct {
		name, version string
		info          debug.BuildInfo
		want          Build
	}{
		{"checkout", "", debug.BuildInfo{GoVersion: "go1", Main: debug.Module{Version: "(devel)"}}, Build{Version: "devel", Go: "go1"}},
		{"installed", "", debug.BuildInfo{GoVersion: "go1", Main: debug.Module{Version: "v1.2.3"}}, Build{Version: "v1.2.3", Go: "go1"}},
		{"release", "v9", debug.BuildInfo{GoVersion: "go1", Settings: settings}, Build{Version: "v9", Revision: "abc-dirty", Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Go: "go1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, buildOf(&tt.info, tt.version)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestReferenceCheck(t *testing.T) {
	reg := NewRegistry(Build{Version: "v1 {\"odd\"}", Go: "go1"})
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tidewaiter_things_total", Help: "Things, \"counted\"."}, []string{"reason", "kind"})
	plain := prometheus.NewGauge(prometheus.GaugeOpts{Name: "tidewaiter_depth", Help: "How deep."})
	reg.MustRegister(vec, plain)
	metrics, err := Metrics(reg)
	if err != nil {
		t.Fatal(err)
	}
	want := []Metric{
		{"tidewaiter_build_info", "gauge", []string{"go", "revision", "version"}, "Always 1; the labels describe the running program."},
		{"tidewaiter_depth", "gauge", nil, "How deep."},
		{"tidewaiter_things_total", "", []string{"kind", "reason"}, "Things, \"counted\"."},
	}
	if diff := cmp.Diff(want, metrics); diff != "" {
		t.Fatalf("metrics (-want +got):\n%s", diff)
	}
	var good []string
	for _, m := range metrics {
		if m.Type == "" {
			m.Type = "counter"
		}
		good = append(good, m.Row()+"\n")
	}
	good[1] = "| `tidewaiter_depth` | gauge | | How deep. And some more words. |\n"
	if problems := CheckReference(strings.Join(good, ""), metrics); len(problems) > 0 {
		t.Errorf("a good table has problems: %q", problems)
	}
	bad := "| `tidewaiter_depth` | counter | | How deep. |\n| `tidewaiter_things_total` | counter | `kind` | Things, \"counted\". |\n| `tidewaiter_gone` | gauge | | x |\n"
	wantProblems := []string{
		"differs: | `tidewaiter_depth` | gauge |  | How deep. |",
		"differs: | `tidewaiter_things_total` | counter | `kind`, `reason` | Things, \"counted\". |",
		"missing: | `tidewaiter_build_info` | gauge | `go`, `revision`, `version` | Always 1; the labels describe the running program. |",
		"no such metric: tidewaiter_gone",
	}
	if diff := cmp.Diff(wantProblems, CheckReference(bad, metrics)); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}
