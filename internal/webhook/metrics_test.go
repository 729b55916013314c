package webhook

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

func metricNames(t *testing.T) []string {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	m, err := NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	m.prepare("prod", sampleTime)
	m.accept("prod", []Item{{Ignored: ReasonPull}}, sampleTime, sampleTime)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range families {
		names = append(names, f.GetName())
	}
	if len(names) != 6 {
		t.Errorf("metrics: %v", names)
	}
	return names
}

func TestMetricsCountWhatHappens(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	m, err := NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	now := sampleTime
	m.set.silence.now = func() time.Time { return now.Add(90 * time.Second) }
	sink := &keeper{}
	h, err := NewHandler([]Endpoint{sampleEndpoint(t, "distribution")}, sink, m, withClock(now))
	if err != nil {
		t.Fatal(err)
	}
	bearer := []string{"Authorization", "Bearer " + sampleSecret}
	post(h, "prod", string(sampleBody(t, "distribution", "batch")), bearer...)
	post(h, "prod", string(sampleBody(t, "distribution", "pull")), bearer...)
	post(h, "prod", "{}", bearer...)
	post(h, "prod", "{}")
	post(h, "prod", "{", bearer...)
	post(h, "elsewhere", "{}", bearer...)
	sink.err = errors.New("gone")
	post(h, "prod", string(sampleBody(t, "distribution", "pull")), bearer...)

	want := map[string]float64{
		`accepted_total registry=prod`:                     2,
		`ignored_total reason=blob registry=prod`:          1,
		`ignored_total reason=pull registry=prod`:          1,
		`received_total registry=prod`:                     6,
		`rejected_total reason=invalid registry=prod`:      1,
		`rejected_total reason=not_found registry=`:        1,
		`rejected_total reason=unauthorized registry=prod`: 1,
		`rejected_total reason=unavailable registry=prod`:  1,
		`accept_duration_seconds registry=prod`:            3,
		`seconds_since_last_event registry=prod`:           90,
	}
	if diff := cmp.Diff(want, gather(t, registry)); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}

// gather returns the value of every series; of a histogram, its count.
func gather(t *testing.T, registry prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := strings.TrimPrefix(f.GetName(), "tidewaiter_webhook_")
			for _, l := range m.GetLabel() {
				name += " " + l.GetName() + "=" + l.GetValue()
			}
			values[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return values
}

func TestSilenceSurvivesANewHandler(t *testing.T) {
	m := Metrics{newMetricSet()}
	m.prepare("prod", sampleTime)
	m.prepare("prod", sampleTime.Add(time.Hour)) // a second handler after a reload
	if got := m.set.silence.last["prod"]; !got.Equal(sampleTime) {
		t.Errorf("silence counts from %v, want %v", got, sampleTime)
	}
}

func TestMetricsRegisterOnce(t *testing.T) {
	registry := prometheus.NewRegistry()
	if _, err := NewMetrics(registry); err != nil {
		t.Fatal(err)
	}
	if _, err := NewMetrics(registry); !errs.Is(err, errs.Conflict) {
		t.Errorf("second registration: %v", err)
	}
}

func TestReasonLabelsAreBounded(t *testing.T) {
	if got := reasonLabel("made up"); got != "other" {
		t.Errorf("label %q", got)
	}
	for _, r := range Reasons() {
		if reasonLabel(r) != r {
			t.Errorf("reason %q has label %q", r, reasonLabel(r))
		}
	}
}
