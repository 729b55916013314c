package signals_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/promqltest"
)

// story is what an alert is tried with: series in the notation of promtool, at what
// time it is looked at, and the labels of what fires.
type story struct {
	fires  string
	silent string
	step   time.Duration // between samples; 1 minute
	at     time.Duration // 2 hours
	labels []string      // "name=value", of one that fires
}

var stories = map[string]story{
	"TidewaiterDown": {
		fires:  `up{job="tidewaiter",instance="a"} 0x200`,
		silent: `up{job="tidewaiter",instance="a"} 1x200` + "\n" + `up{job="other",instance="b"} 0x200`,
		labels: []string{"instance=a"},
	},
	"TidewaiterAbsent": {
		fires:  `up{job="other"} 1x200`,
		silent: `tidewaiter_build_info{version="v1"} 1x200`,
	},
	"TidewaiterQueueOld": {
		fires:  `tidewaiter_scan_oldest_due_seconds{instance="a"} 0+60x200`,
		silent: `tidewaiter_scan_oldest_due_seconds{instance="a"} 30x200`,
	},
	"TidewaiterQueueStuck": {
		fires: `tidewaiter_scan_oldest_due_seconds{instance="a"} 0+60x200
			tidewaiter_scans{instance="a",state="running"} 0x200`,
		silent: `tidewaiter_scan_oldest_due_seconds{instance="a"} 0+60x200
			tidewaiter_scans{instance="a",state="running"} 2x200`,
	},
	"TidewaiterScansFail": {
		fires: `tidewaiter_scan_attempts_total{instance="a",outcome="end",kind="none"} 0+8x200
			tidewaiter_scan_attempts_total{instance="a",outcome="end",kind="forbidden"} 0+2x200`,
		silent: `tidewaiter_scan_attempts_total{instance="a",outcome="end",kind="none"} 0+8x200
			tidewaiter_scan_attempts_total{instance="a",outcome="end",kind="too_large"} 0+8x200
			tidewaiter_scan_attempts_total{instance="a",outcome="retry",kind="unavailable"} 0+8x200`,
		labels: []string{"kind=forbidden"},
	},
	"TidewaiterDatabaseMissing": {
		fires:  `tidewaiter_vulndb_built_timestamp_seconds{instance="a"} 0x200`,
		silent: `tidewaiter_vulndb_built_timestamp_seconds{instance="a"} 0x200` + "\n" + `tidewaiter_vulndb_built_timestamp_seconds{instance="b"} 5x200`,
	},
	"TidewaiterDatabaseOld": {
		fires:  `tidewaiter_vulndb_old{instance="a"} 1x200`,
		silent: `tidewaiter_vulndb_old{instance="a"} 0x200`,
	},
	"TidewaiterDatabaseSample": {
		fires:  `tidewaiter_vulndb_sample{instance="a"} 1x200`,
		silent: `tidewaiter_vulndb_sample{instance="a"} 0x200`,
	},
	"TidewaiterDatabaseUpdatesFail": {
		fires:  `tidewaiter_vulndb_update_failures_total{instance="a",kind="unavailable"} 0+0.1x400`,
		silent: `tidewaiter_vulndb_update_failures_total{instance="a",kind="unavailable"} 2x400`,
		at:     6 * time.Hour, labels: []string{"kind=unavailable"},
	},
	"TidewaiterBuildHeld": {
		fires:  `tidewaiter_vulndb_builds{instance="a",state="held"} 1x200`,
		silent: `tidewaiter_vulndb_builds{instance="a",state="held"} 0x200` + "\n" + `tidewaiter_vulndb_builds{instance="a",state="candidate"} 1x200`,
	},
	"TidewaiterEndpointSilent": {
		fires:  `tidewaiter_webhook_silent{instance="a",registry="prod"} 1x200`,
		silent: `tidewaiter_webhook_silent{instance="a",registry="prod"} 0x200`,
		labels: []string{"registry=prod"},
	},
	"TidewaiterWebhookUnauthorized": {
		fires:  `tidewaiter_webhook_rejected_total{instance="a",registry="prod",reason="unauthorized"} 0+1x200`,
		silent: `tidewaiter_webhook_rejected_total{instance="a",registry="prod",reason="malformed"} 0+1x200`,
		labels: []string{"registry=prod"},
	},
	"TidewaiterWebhookNotStored": {
		fires:  `tidewaiter_webhook_rejected_total{instance="a",registry="prod",reason="unavailable"} 0+1x200`,
		silent: `tidewaiter_webhook_rejected_total{instance="a",registry="prod",reason="unavailable"} 7x200`,
		labels: []string{"registry=prod"},
	},
	"TidewaiterCoverageLow": {
		fires:  `tidewaiter_coverage_ratio{instance="a",registry="prod"} 0.9x200`,
		silent: `tidewaiter_coverage_ratio{instance="a",registry="prod"} 0.999x200`,
		labels: []string{"registry=prod"},
	},
	"TidewaiterFreshnessLow": {
		fires:  `tidewaiter_freshness_ratio{instance="a"} 0.3x200`,
		silent: `tidewaiter_freshness_ratio{instance="a"} 0.97x200`,
	},
	"TidewaiterPullErrors": {
		fires: `tidewaiter_registry_requests_total{instance="a",registry="prod",via="registry",outcome="ok"} 0+5x200
			tidewaiter_registry_requests_total{instance="a",registry="prod",via="registry",outcome="failed"} 0+5x200`,
		silent: `tidewaiter_registry_requests_total{instance="a",registry="prod",via="registry",outcome="ok"} 0+5x200
			tidewaiter_registry_requests_total{instance="a",registry="prod",via="registry",outcome="unauthorized"} 0+5x200`,
		labels: []string{"registry=prod"},
	},
	"TidewaiterRateLimited": {
		fires:  `tidewaiter_registry_requests_total{instance="a",registry="prod",via="registry",outcome="rate_limited"} 0+1x200`,
		silent: `tidewaiter_registry_requests_total{instance="a",registry="prod",via="registry",outcome="rate_limited"} 40x200`,
		labels: []string{"registry=prod"},
	},
	"TidewaiterReconcileLate": {
		fires: `tidewaiter_reconcile_last_success_timestamp_seconds{instance="a",registry="prod"} 3600x200`,
		// Never compared is no alarm of this rule: 0 stands for that.
		silent: `tidewaiter_reconcile_last_success_timestamp_seconds{instance="a",registry="prod"} 400000x200
			tidewaiter_reconcile_last_success_timestamp_seconds{instance="a",registry="other"} 0x200`,
		step: time.Hour, at: 120 * time.Hour, labels: []string{"registry=prod"},
	},
	"TidewaiterCollectLate": {
		fires:  `tidewaiter_collect_last_success_timestamp_seconds{instance="a"} 3600x200`,
		silent: `tidewaiter_collect_last_success_timestamp_seconds{instance="a"} 400000x200`,
		step:   time.Hour, at: 120 * time.Hour,
	},
	"TidewaiterNotificationsFail": {
		fires: `tidewaiter_notify_attempts_total{instance="a",channel="ops",outcome="sent"} 0+1x200
			tidewaiter_notify_oldest_waiting_seconds{instance="a",channel="ops"} 0+60x200`,
		silent: `tidewaiter_notify_attempts_total{instance="a",channel="ops",outcome="retried"} 0+1x200
			tidewaiter_notify_oldest_waiting_seconds{instance="a",channel="ops"} 20x200`,
		labels: []string{"channel=ops"},
	},
	"TidewaiterRequestsFail": {
		fires: `tidewaiter_http_requests_total{instance="a",method="POST",route="/webhooks/",status="202"} 0+5x200
			tidewaiter_http_requests_total{instance="a",method="POST",route="/webhooks/",status="503"} 0+1x200`,
		silent: `tidewaiter_http_requests_total{instance="a",method="POST",route="/webhooks/",status="202"} 0+5x200
			tidewaiter_http_requests_total{instance="a",method="GET",route="GET /readyz",status="503"} 0+5x200`,
	},
	"TidewaiterPostgresSlow": {
		fires: `tidewaiter_postgres_query_seconds_bucket{instance="a",outcome="ok",le="5"} 0+1x200
			tidewaiter_postgres_query_seconds_bucket{instance="a",outcome="ok",le="30"} 0+10x200
			tidewaiter_postgres_query_seconds_bucket{instance="a",outcome="ok",le="+Inf"} 0+10x200`,
		silent: `tidewaiter_postgres_query_seconds_bucket{instance="a",outcome="ok",le="0.1"} 0+10x200
			tidewaiter_postgres_query_seconds_bucket{instance="a",outcome="ok",le="30"} 0+10x200
			tidewaiter_postgres_query_seconds_bucket{instance="a",outcome="ok",le="+Inf"} 0+10x200`,
	},
}

func TestAlertsFireWhenTheyShould(t *testing.T) {
	told := map[string]bool{}
	for _, rule := range alerts(t) {
		told[rule.Alert] = true
		s, ok := stories[rule.Alert]
		if !ok {
			t.Errorf("nobody tried whether %s fires", rule.Alert)
			continue
		}
		t.Run(rule.Alert, func(t *testing.T) {
			found := s.ask(t, s.fires, rule.Expr)
			if len(found) != 1 {
				t.Errorf("it fires %d times: %v", len(found), found)
			}
			for _, want := range s.labels {
				name, value, _ := strings.Cut(want, "=")
				if len(found) == 1 && found[0].Metric.Get(name) != value {
					t.Errorf("what fires has the labels %v, want %s", found[0].Metric, want)
				}
			}
			if found := s.ask(t, s.silent, rule.Expr); len(found) != 0 {
				t.Errorf("it fires without a reason: %v", found)
			}
		})
	}
	for name := range stories {
		if !told[name] {
			t.Errorf("there is no alert %s", name)
		}
	}
}

// ask evaluates an expression over series.
func (s story) ask(t *testing.T, series, expr string) promql.Vector {
	t.Helper()
	step, at := s.step, s.at
	if step == 0 {
		step = time.Minute
	}
	if at == 0 {
		at = 2 * time.Hour
	}
	var load strings.Builder
	fmt.Fprintf(&load, "load %dm\n", step/time.Minute)
	for line := range strings.Lines(series) {
		fmt.Fprintf(&load, "  %s\n", strings.TrimSpace(line))
	}
	store := promqltest.LoadedStorage(t, load.String())
	defer func() { _ = store.Close() }()
	engine := promqltest.NewTestEngineWithOpts(t, promql.EngineOpts{
		MaxSamples: 1_000_000, Timeout: time.Minute, LookbackDelta: 5 * time.Minute, EnableNegativeOffset: true, EnableAtModifier: true, Parser: language,
	})
	query, err := engine.NewInstantQuery(context.Background(), store, nil, expr, time.Unix(0, 0).Add(at))
	if err != nil {
		t.Fatal(err)
	}
	defer query.Close()
	result := query.Exec(t.Context())
	vector, err := result.Vector()
	if err != nil {
		t.Fatalf("%v: %v", err, result.Err)
	}
	return append(promql.Vector(nil), vector...)
}
