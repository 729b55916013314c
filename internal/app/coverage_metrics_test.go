package app

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/postgres/postgrestest"
)

// samples lists what a registry of metrics shows, as "name{values} value".
func samples(t *testing.T, reg *prometheus.Registry) (out []string) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			out = append(out, fmt.Sprintf("%s{%s} %g", f.GetName(), strings.Join(labels, ","), m.GetGauge().GetValue()))
		}
	}
	return out
}

func TestCoverageMetrics(t *testing.T) {
	w := postgrestest.Harbour(t)
	w.Deliver("main", postgres.Delivery{DedupeKey: "new", Action: "push", Repository: "team/new", Tag: "1"})
	reg := prometheus.NewRegistry()
	b := newBookkeeper(w.Store, reg, slog.New(slog.DiscardHandler))
	if got := samples(t, reg); len(got) != 0 {
		t.Errorf("before the first count: %v", got)
	}
	b.count(t.Context())
	got := samples(t, reg)
	for _, want := range []string{
		"tidewaiter_coverage_manifests{registry=main,state=done} 7", "tidewaiter_coverage_manifests{registry=main,state=failed} 1",
		"tidewaiter_coverage_manifests{registry=main,state=queued} 1", "tidewaiter_coverage_manifests{registry=main,state=gone} 0",
		"tidewaiter_coverage_manifests{registry=sboms,state=done} 1", "tidewaiter_coverage_unresolved{registry=main} 1",
		fmt.Sprintf("tidewaiter_coverage_ratio{registry=main} %g", 10.0/12), "tidewaiter_coverage_ratio{registry=sboms} 1",
		"tidewaiter_webhook_usual_gap_seconds{gap=longest,registry=main} 0",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("no sample %s in\n%s", want, strings.Join(got, "\n"))
		}
	}
	for _, name := range []string{"tidewaiter_coverage_oldest_answer_timestamp_seconds{registry=main} 1", "tidewaiter_webhook_last_delivery_timestamp_seconds{registry=main} 1"} {
		if !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, name) }) {
			t.Errorf("no time %s", name)
		}
	}
	if slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "tidewaiter_webhook_silent") }) {
		t.Error("an endpoint without history is judged")
	}
	if _, err := w.Pool.Exec(t.Context(), `
		INSERT INTO delivery (registry_id, dedupe_key, received_at, verdict)
		SELECT 1, 'hour ' || n, now() - make_interval(hours => n), 'accepted' FROM generate_series(3, 300) n;
		DELETE FROM delivery WHERE dedupe_key NOT LIKE 'hour %'`); err != nil {
		t.Fatal(err)
	}
	b.count(t.Context())
	if got := samples(t, reg); !slices.Contains(got, "tidewaiter_webhook_silent{registry=main} 1") || !slices.Contains(got, "tidewaiter_webhook_usual_gap_seconds{gap=median,registry=main} 3600") {
		t.Errorf("an hourly endpoint that is silent for three hours: %v", got)
	}
}
