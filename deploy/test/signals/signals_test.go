// Package signals_test holds what watches Tidewaiter to what Tidewaiter says of
// itself: the dashboard and the alerts in deploy/grafana to the metrics and labels
// in docs/metrics.md, and each alert to series that fire it and series that do not.
package signals_test

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

const root = "../../.."

// language is PromQL without what has to be switched on.
var language = parser.NewParser(parser.Options{})

var row = regexp.MustCompile("(?m)^\\| `(tidewaiter_[a-z0-9_]+)` \\| ([a-z]+) \\| ([^|]*)\\|")

// metrics are the labels of each metric, with those that Prometheus adds.
func metrics(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string][]string{}
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		all := []string{"job", "instance"}
		for label := range strings.SplitSeq(m[3], ",") {
			if label = strings.Trim(strings.TrimSpace(label), "`"); label != "" {
				all = append(all, label)
			}
		}
		known[m[1]] = all
		if m[2] == "histogram" {
			known[m[1]+"_bucket"], known[m[1]+"_sum"], known[m[1]+"_count"] = append(slices.Clone(all), "le"), all, all
		}
	}
	if len(known) < 40 {
		t.Fatalf("docs/metrics.md has only %d metrics", len(known))
	}
	for _, other := range []string{"up", "process_resident_memory_bytes", "process_cpu_seconds_total", "go_goroutines"} {
		known[other] = []string{"job", "instance"}
	}
	return known
}

// check holds an expression to the metrics: every name and every label in it.
func check(t *testing.T, where, expr string, known map[string][]string) {
	t.Helper()
	parsed, err := language.ParseExpr(expr)
	if err != nil {
		t.Errorf("%s: %v in %s", where, err, expr)
		return
	}
	var present []string // labels of whatever is selected
	var wanted []string  // labels that results are grouped by
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			all, ok := known[n.Name]
			if !ok {
				t.Errorf("%s: there is no metric %q", where, n.Name)
				return nil
			}
			present = append(present, all...)
			for _, m := range n.LabelMatchers {
				if m.Name != model.MetricNameLabel && !slices.Contains(all, m.Name) {
					t.Errorf("%s: %s has no label %q", where, n.Name, m.Name)
				}
			}
		case *parser.AggregateExpr:
			wanted = append(wanted, n.Grouping...)
		case *parser.BinaryExpr:
			if n.VectorMatching != nil {
				wanted = append(wanted, n.VectorMatching.MatchingLabels...)
			}
		}
		return nil
	})
	for _, label := range wanted {
		if !slices.Contains(present, label) {
			t.Errorf("%s: nothing in %s has the label %q", where, expr, label)
		}
	}
}

func alerts(t *testing.T) []rulefmt.Rule {
	t.Helper()
	file := filepath.Join(root, "deploy", "grafana", "alerts.yaml")
	groups, problems := rulefmt.ParseFile(file, false, model.LegacyValidation, language, slog.New(slog.DiscardHandler))
	for _, problem := range problems {
		t.Error(problem)
	}
	if groups == nil {
		t.FailNow()
	}
	var all []rulefmt.Rule
	for _, g := range groups.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) < 10 {
		t.Fatalf("there are only %d alerts", len(all))
	}
	return all
}

func TestAlertsNameWhatThereIs(t *testing.T) {
	known := metrics(t)
	for _, rule := range alerts(t) {
		check(t, rule.Alert, rule.Expr, known)
		if severity := rule.Labels["severity"]; severity != "warning" && severity != "critical" {
			t.Errorf("%s has the severity %q", rule.Alert, severity)
		}
		if rule.For == 0 {
			t.Errorf("%s fires at once: a scrape that is missed would wake somebody", rule.Alert)
		}
	}
}

// dashboard is as much of one as is checked.
type dashboard struct {
	Panels []struct {
		ID      int
		Title   string
		Type    string
		GridPos struct{ X, Y, W, H int }
		Targets []struct{ Expr string }
	}
	Templating struct {
		List []struct {
			Name       string
			Type       string
			Definition string
		}
	}
}

// variables are filled in as Grafana does with All chosen.
var variables = strings.NewReplacer("$__rate_interval", "5m", "$job", ".+", "$registry", ".+")

func TestDashboardNamesWhatThereIs(t *testing.T) {
	known := metrics(t)
	text, err := os.ReadFile(filepath.Join(root, "deploy", "grafana", "dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	ids, rows := map[int]bool{}, 0
	for i, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("%s has the id of another panel", p.Title)
		}
		ids[p.ID] = true
		if p.Type == "row" {
			rows++
			continue
		}
		if len(p.Targets) == 0 {
			t.Errorf("%s shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			check(t, p.Title, variables.Replace(target.Expr), known)
			if strings.Contains(target.Expr, "registry=~") != strings.Contains(target.Expr, "$registry") {
				t.Errorf("%s: the variable of registries is not used in %s", p.Title, target.Expr)
			}
		}
		for _, other := range d.Panels[:i] {
			a, b := p.GridPos, other.GridPos
			if a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
				t.Errorf("%s lies over %s", p.Title, other.Title)
			}
		}
	}
	if rows < 10 {
		t.Errorf("there are only %d rows", rows)
	}
	var names []string
	for _, v := range d.Templating.List {
		names = append(names, v.Name)
		if v.Type != "query" {
			continue
		}
		inside := strings.TrimSuffix(strings.TrimPrefix(v.Definition, "label_values("), ")")
		selector, label, _ := strings.Cut(inside, ", ")
		check(t, "variable "+v.Name, "count by ("+label+") ("+variables.Replace(selector)+")", known)
	}
	if want := []string{"datasource", "job", "registry"}; !slices.Equal(names, want) {
		t.Errorf("the variables are %v, want %v", names, want)
	}
}
