package notify_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// message reads what a webhook was sent.
func message(t *testing.T, r received) report.News {
	t.Helper()
	var event struct {
		Type string      `json:"type"`
		Data report.News `json:"data"`
	}
	if err := json.Unmarshal(r.body, &event); err != nil {
		t.Fatal(err)
	}
	return event.Data
}

func TestThreeThousandImagesMakeOneMessage(t *testing.T) {
	f := newFleet(t)
	f.build(100, 3000)
	hook := newReceiver(t, nil)
	n := notifier(t, f, everything(), hook.webhook(t))
	start := time.Now()
	f.adopt("CVE-2026-0001", vuln.SeverityCritical)
	round(t, n)
	t.Logf("told after %s", time.Since(start))
	sent := hook.got()
	if len(sent) != 1 {
		t.Fatalf("%d messages, want one", len(sent))
	}
	news := message(t, sent[0])
	if news.Kind != report.NewsGrouped || news.Counts.Findings != 100 || news.Counts.Repositories != 100 {
		t.Errorf("%s, %+v", news.Kind, news.Counts)
	}
	reach := news.Groups[0].Reach
	if reach == nil || reach.Repositories != 100 || reach.Images != 3000 || reach.Tags != 3000 || len(reach.Examples) != 5 || !reach.Truncated {
		t.Fatalf("reach %+v", reach)
	}
	if s := reach.Shared; s == nil || s.Images != 3000 || s.Layers != 2 || s.Size != 32<<20 || s.Base != "registry.example.com/base/debian:12" {
		t.Errorf("shared %+v", s)
	}
	v := news.Groups[0].Vulnerability
	if v.ID != "CVE-2026-0001" || v.Package != "libssl3" || v.FixVersion != "3.0.15-1" || len(v.Versions) != 1 || v.Versions[0] != "3.0.11-1" {
		t.Errorf("vulnerability %+v", v)
	}
	if want := "https://tidewaiter.example/api/v1/vulnerabilities/CVE-2026-0001/images"; news.Link != want || !news.Truncated {
		t.Errorf("link %q, truncated %v", news.Link, news.Truncated)
	}
	// A build that says the same makes no events, and nobody is told.
	round(t, n)
	if again := hook.got(); len(again) != 1 {
		t.Errorf("%d messages after a second run", len(again))
	}
}
