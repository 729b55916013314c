package telemetry

import (
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// Metric is one metric of ours as the reference lists it.
type Metric struct {
	Name   string
	Type   string // "counter", "gauge", "histogram", "summary"; empty when nothing was measured yet
	Labels []string
	Help   string
}

// prefix is how our metrics begin; others are documented elsewhere.
const prefix = "tidewaiter_"

// Metrics lists the metrics of ours that are registered on reg, by name. Those
// without a sample are listed too, without their type. Collectors that do not
// describe what they collect are missed.
func Metrics(reg *prometheus.Registry) ([]Metric, error) {
	types, err := gatheredTypes(reg)
	if err != nil {
		return nil, err
	}
	descs := make(chan *prometheus.Desc)
	go func() { reg.Describe(descs); close(descs) }()
	byName := map[string]Metric{}
	for d := range descs {
		m, ok := parseDesc(d.String())
		if ok && strings.HasPrefix(m.Name, prefix) {
			m.Type = types[m.Name]
			byName[m.Name] = m
		}
	}
	metrics := make([]Metric, 0, len(byName))
	for _, m := range byName {
		metrics = append(metrics, m)
	}
	sort.Slice(metrics, func(i, j int) bool { return metrics[i].Name < metrics[j].Name })
	return metrics, nil
}

func gatheredTypes(reg *prometheus.Registry) (map[string]string, error) {
	families, err := reg.Gather()
	if err != nil {
		return nil, errs.Wrap(errs.Internal, "telemetry: gather metrics", err)
	}
	types := map[string]string{}
	for _, f := range families {
		types[f.GetName()] = strings.ToLower(f.GetType().String())
	}
	return types, nil
}

// A description's text is the only way to read it back.
var (
	descText   = regexp.MustCompile(`^Desc\{fqName: ("(?:[^"\\]|\\.)*"), help: ("(?:[^"\\]|\\.)*"),.* constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)
	constLabel = regexp.MustCompile(`(\w+)="(?:[^"\\]|\\.)*"`)
	labelName  = regexp.MustCompile(`\w+`)
)

func parseDesc(text string) (Metric, bool) {
	parts := descText.FindStringSubmatch(text)
	if parts == nil {
		return Metric{}, false
	}
	m := Metric{}
	m.Name, _ = strconv.Unquote(parts[1])
	m.Help, _ = strconv.Unquote(parts[2])
	for _, l := range constLabel.FindAllStringSubmatch(parts[3], -1) {
		m.Labels = append(m.Labels, l[1])
	}
	// A constrained label is written c(name).
	names := strings.NewReplacer("c(", "", ")", "").Replace(parts[4])
	m.Labels = append(m.Labels, labelName.FindAllString(names, -1)...)
	sort.Strings(m.Labels)
	return m, true
}

// Row returns the line of the reference for m.
func (m Metric) Row() string {
	labels := make([]string, len(m.Labels))
	for i, l := range m.Labels {
		labels[i] = "`" + l + "`"
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s |", m.Name, m.Type, strings.Join(labels, ", "), m.Help)
}

// CheckReference compares the table rows of a Markdown document with the
// metrics there are and returns what differs, nothing when they agree. A row's
// meaning may say more than the metric's help but begins with it. For a metric
// without samples any type is accepted.
func CheckReference(document string, metrics []Metric) []string {
	rows, problems := parseRows(document)
	for _, m := range metrics {
		row, ok := rows[m.Name]
		delete(rows, m.Name)
		if !ok {
			problems = append(problems, "missing: "+m.Row())
			continue
		}
		if m.Type == "" {
			m.Type = row.Type
		}
		if row.Type != m.Type || !slices.Equal(row.Labels, m.Labels) || !strings.HasPrefix(row.Help, m.Help) {
			problems = append(problems, "differs: "+m.Row())
		}
	}
	for name := range rows {
		problems = append(problems, "no such metric: "+name)
	}
	sort.Strings(problems)
	return problems
}

var tableRow = regexp.MustCompile("(?m)^\\| `(" + prefix + "\\w+)` \\| *(\\w+) *\\|([^|]*)\\|(.*)\\| *$")

func parseRows(document string) (rows map[string]Metric, problems []string) {
	rows = map[string]Metric{}
	for _, cells := range tableRow.FindAllStringSubmatch(document, -1) {
		m := Metric{Name: cells[1], Type: cells[2], Labels: labelName.FindAllString(cells[3], -1), Help: strings.TrimSpace(cells[4])}
		sort.Strings(m.Labels)
		if _, twice := rows[m.Name]; twice {
			problems = append(problems, "listed twice: "+m.Name)
		}
		rows[m.Name] = m
	}
	return rows, problems
}
