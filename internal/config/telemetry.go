package config

import (
	"net/url"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// Telemetry says where traces go.
type Telemetry struct {
	// Collector that traces are sent to, by OTLP over HTTP, as http://collector:4318; `/v1/traces` is added to an address without a path. Empty means no traces.
	OTLPEndpoint URL `yaml:"otlp_endpoint" env:"OTEL_EXPORTER_OTLP_ENDPOINT"`
	// Headers of each request to it, as name=value,name=value; the values are percent-encoded where they hold a comma or a space.
	OTLPHeaders Secret `yaml:"otlp_headers" env:"OTEL_EXPORTER_OTLP_HEADERS"`
	// PEM file of certificate authorities to trust for the collector, in place of `ca_file`.
	CAFile string `yaml:"ca_file" path:"true" env:"OTEL_EXPORTER_OTLP_CERTIFICATE"`
	// Percent of traces that are kept. `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG` win when they are set.
	SamplePercent int `yaml:"sample_percent" default:"100" env:"TIDEWAITER_TELEMETRY_SAMPLE_PERCENT"`
	// Name of this service in traces.
	ServiceName string `yaml:"service_name" default:"tidewaiter" env:"OTEL_SERVICE_NAME"`
}

func (c Config) checkTelemetry(ps *Problems) {
	t := c.Telemetry
	if t.OTLPEndpoint != "" {
		u, err := url.Parse(t.OTLPEndpoint.Reveal())
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			ps.add("telemetry.otlp_endpoint", "not an https:// or http:// address")
		}
	}
	if _, err := t.Headers(); err != nil {
		ps.add("telemetry.otlp_headers", "%s", err)
	}
	ps.between("telemetry.sample_percent", t.SamplePercent, 0, 100)
	if t.ServiceName == "" {
		ps.add("telemetry.service_name", "empty")
	}
}

// Headers reads the list as OpenTelemetry writes it (W3C Baggage without
// properties). The error is of kind Invalid and does not repeat a value.
func (t Telemetry) Headers() (map[string]string, error) {
	out := map[string]string{}
	for pair := range strings.SplitSeq(t.OTLPHeaders.Reveal(), ",") {
		if pair = strings.TrimSpace(pair); pair == "" {
			continue
		}
		name, value, ok := strings.Cut(pair, "=")
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if name = strings.TrimSpace(name); !ok || name == "" || err != nil || strings.ContainsAny(name+value, "\r\n") {
			return nil, errs.New(errs.Invalid, "write it as name=value, with commas between several")
		}
		out[name] = value
	}
	return out, nil
}
