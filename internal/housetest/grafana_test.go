package housetest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	metricName = regexp.MustCompile(`\btidewaiter_[a-z0-9_]+`)
	metricRow  = regexp.MustCompile("(?m)^\\| `(tidewaiter_[a-z0-9_]+)` \\| ([a-z]+) \\|")
	runbook    = regexp.MustCompile(`docs/operations\.md#([a-z0-9-]+)`)
)

// Dashboard and alerts live by the names of metrics, which docs/metrics.md lists
// and another test holds to the service.
func TestGrafanaNamesOnlyMetricsThereAre(t *testing.T) {
	document, err := os.ReadFile(filepath.Join(root, "docs", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, row := range metricRow.FindAllStringSubmatch(string(document), -1) {
		known[row[1]] = true
		if row[2] == "histogram" {
			for _, suffix := range []string{"_bucket", "_count", "_sum"} {
				known[row[1]+suffix] = true
			}
		}
	}
	for _, file := range []string{"dashboard.json", "alerts.yaml"} {
		text, err := os.ReadFile(filepath.Join(root, "deploy", "grafana", file))
		if err != nil {
			t.Fatal(err)
		}
		names := metricName.FindAllString(string(text), -1)
		if len(names) < 15 {
			t.Errorf("%s names only %d metrics", file, len(names))
		}
		for _, name := range names {
			if !known[name] {
				t.Errorf("%s names %s, which docs/metrics.md does not have", file, name)
			}
		}
	}
}

// An alert leads to the section that says what to do.
func TestEveryAlertHasARunbook(t *testing.T) {
	alerts, err := os.ReadFile(filepath.Join(root, "deploy", "grafana", "alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	document, err := os.ReadFile(filepath.Join(root, "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]bool{}
	for line := range strings.Lines(string(document)) {
		if title := strings.TrimLeft(line, "#"); title != line {
			sections[strings.ReplaceAll(strings.ToLower(strings.TrimSpace(title)), " ", "-")] = true
		}
	}
	rules := strings.Split(string(alerts), "- alert: ")[1:]
	if len(rules) < 10 {
		t.Errorf("there are only %d alerts", len(rules))
	}
	for _, rule := range rules {
		name, _, _ := strings.Cut(rule, "\n")
		link := runbook.FindStringSubmatch(rule)
		if link == nil || !sections[link[1]] {
			t.Errorf("%s leads to no section of docs/operations.md: %v", name, link)
		}
		for _, field := range []string{"severity:", "summary:", "description:"} {
			if !strings.Contains(rule, field) {
				t.Errorf("%s has no %s", name, field)
			}
		}
	}
}
