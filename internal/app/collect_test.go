package app

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/pgtest"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
)

// A collector collects when it is time, tells what went, and leaves it to others
// where they were faster.
func TestACollectorCollectsWhenItIsTime(t *testing.T) {
	store, err := postgres.Open(t.Context(), pgtest.URL(t), postgres.Options{MaxConns: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	old := func() {
		t.Helper()
		for _, statement := range []string{
			`INSERT INTO registry (name, host) VALUES ('prod', 'registry.example') ON CONFLICT DO NOTHING`,
			`INSERT INTO delivery (registry_id, dedupe_key, received_at, verdict) SELECT id, 'old', now() - interval '100 days', 'ignored' FROM registry`,
		} {
			if _, err := store.Pool().Exec(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
	}
	var log bytes.Buffer
	c := config.Default()
	registry := prometheus.NewRegistry()
	collected := func() (n float64) {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "tidewaiter_collect_rows_total" {
				n += f.GetMetric()[0].GetCounter().GetValue()
			}
		}
		return n
	}
	first := &collector{store: store, retention: Retention(c), every: c.Retention.Interval,
		metrics: newCollectMetrics(registry), logger: slog.New(slog.NewTextHandler(&log, nil))}
	second := *first
	old()
	first.collect(t.Context())
	if n := collected(); n != 1 {
		t.Errorf("%v deliveries went, want 1", n)
	}
	if text := log.String(); !strings.Contains(text, "collected what was over") || !strings.Contains(text, "rows=1") || !strings.Contains(text, "delivery=1") {
		t.Errorf("the log says %q", text)
	}
	last, err := store.LastCollected(t.Context())
	if err != nil || time.Since(last) > time.Minute {
		t.Errorf("last collected at %v, %v", last, err)
	}
	log.Reset()
	old()
	second.collect(t.Context()) // not yet
	if n := collected(); n != 1 || log.Len() > 0 {
		t.Errorf("collected before its time: %v deliveries, %q", n, log.String())
	}
}

func TestRetentionOfTheConfiguration(t *testing.T) {
	c := config.Default()
	got := Retention(c)
	want := postgres.Retention{
		Untagged: c.Retention.Untagged, Gone: c.Retention.Gone, Documents: c.Retention.Documents, History: c.Retention.History, Events: c.Retention.Events,
		Deliveries: c.Retention.Deliveries, Scans: c.Retention.Scans, Reconciliations: c.Retention.Reconciliations, Audit: c.Retention.Audit,
	}
	if got != want || got.Untagged != 90*24*time.Hour || got.Gone == got.Untagged || got.Events == got.History {
		t.Errorf("%+v", got)
	}
}
