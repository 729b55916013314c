package webhook

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// cdBody makes a CDEvent about an image of ours.
func cdBody(eventType string) string {
	return `{"context":{"specversion":"0.4.1","id":"1","source":"/ci","type":"` + eventType + `","timestamp":"2026-10-05T09:15:27Z"},
		"subject":{"id":"pkg:docker/a/b@1?repository_url=registry.acme.test","type":"artifact","content":{"user":"ci"}}}`
}

func TestCdeventsTypes(t *testing.T) {
	tests := []struct {
		eventType string
		action    Action
		ignored   string
	}{
		{"dev.cdevents.artifact.published.0.1.0", ActionPush, ""},
		{"dev.cdevents.artifact.published.0.3.0-draft", ActionPush, ""},
		{"dev.cdevents.artifact.published.v1", ActionPush, ""},
		{"dev.cdevents.artifact.published", ActionPush, ""},
		{"dev.cdevents.artifact.deleted.0.1.0", ActionDelete, ""},
		{"dev.cdevents.artifact.downloaded.0.1.0", "pull", ReasonPull},
		{"dev.cdevents.artifact.packaged.0.2.0", "dev.cdevents.artifact.packaged.0.2.0", ReasonOtherEvent},
		{"dev.cdevents.artifact.signed.0.2.0", "dev.cdevents.artifact.signed.0.2.0", ReasonOtherEvent},
		{"dev.cdevents.testoutput.published.0.2.0", "dev.cdevents.testoutput.published.0.2.0", ReasonOtherEvent},
		{"dev.cdevents.artifact.publishedx.0.1.0", "dev.cdevents.artifact.publishedx.0.1.0", ReasonOtherEvent},
		{"evil.dev.cdevents.artifact.published.0.1.0", "evil.dev.cdevents.artifact.published.0.1.0", ReasonUnknownEvent},
	}
	for _, tt := range tests {
		item := parseOne(t, "cdevents", cdBody(tt.eventType))
		if item.Event.Action != tt.action || item.Ignored != tt.ignored || item.Event.EventID != "1" {
			t.Errorf("%s: %+v", tt.eventType, item)
		}
	}
}

func TestCdeventsModes(t *testing.T) {
	body := cdBody("dev.cdevents.artifact.published.0.2.0")
	envelope := `{"specversion":"1.0","id":"1","source":"/ci","type":"dev.cdevents.artifact.published.0.2.0","data":` + body + `}`
	want := verdict{Host: "registry.acme.test", Repository: "a/b", Tag: "1"}
	keys := map[string]bool{}
	for name, r := range map[string]request{
		"alone":      {body: []byte(body)},
		"structured": {body: []byte(envelope), header: headersOf("Content-Type", "application/cloudevents+json")},
		"batch":      {body: []byte("[" + envelope + "]")},
		"binary":     {body: []byte(body), header: headersOf("Ce-Type", "dev.cdevents.artifact.published.0.2.0", "Ce-Id", "1", "Ce-Source", "/ci")},
	} {
		r.endpoint, r.received = openEndpoint("cdevents"), sampleTime
		items, err := parseCdevents(r)
		if err != nil || len(items) != 1 {
			t.Fatalf("%s: %d items, %v", name, len(items), err)
		}
		if diff := cmp.Diff(want, verdictOf(items[0])); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		keys[items[0].DedupeKey] = true
	}
	if len(keys) != 1 {
		t.Errorf("the same event has %d keys in different modes", len(keys))
	}
}

// TestCdeventsOfAnyVersion: a peer validates with one version of the
// specification and drops all newer ones.
func TestCdeventsOfAnyVersion(t *testing.T) {
	for _, version := range []string{`"specversion":"0.4.1"`, `"specversion":"9.0.0"`, `"version":"0.1.0"`, `"specversion":7`, `"x":0`} {
		body := strings.Replace(cdBody("dev.cdevents.artifact.published.9.0.0"), `"specversion":"0.4.1"`, version, 1)
		if item := parseOne(t, "cdevents", body); item.Ignored != "" {
			t.Errorf("%s: ignored as %s", version, item.Ignored)
		}
	}
}

// TestCdeventsSigned: whoever has a signed body of another changes nothing by
// the headers beside it.
func TestCdeventsSigned(t *testing.T) {
	e := openEndpoint("cdevents")
	e.Auth = Auth{Kind: AuthHMACSHA256, Secrets: []string{"swordfish"}}
	sink, body := &keeper{}, cdBody("dev.cdevents.artifact.published.0.2.0")
	w := post(mustHandler(t, sink, e), "prod", body, "X-Signature", signature("swordfish", body),
		"Ce-Type", "dev.cdevents.artifact.deleted.0.1.0", "Ce-Id", "7", "Ce-Source", "/evil")
	if items := sink.kept(); w.Code != http.StatusAccepted || len(items) != 1 || items[0].Event.Action != ActionPush || items[0].Event.EventID != "1" {
		t.Errorf("status %d, %+v", w.Code, items)
	}
}

func TestCdeventsIgnoresOthersWhateverTheirShape(t *testing.T) {
	for _, body := range []string{
		`{"specversion":"1.0","type":"com.acme.build.finished","id":"1","data":"text"}`,
		`{"specversion":"1.0","type":"com.acme.build.finished","id":"1"}`,
		`{"context":{"type":"dev.cdevents.pipelinerun.started.0.2.0","id":"1"},"subject":[1,2]}`,
		`{"context":{"type":"dev.cdevents.pipelinerun.started.0.2.0","id":"1"}}`,
	} {
		if item := parseOne(t, "cdevents", body); item.Ignored != ReasonOtherEvent && item.Ignored != ReasonUnknownEvent {
			t.Errorf("%s: %q", body, item.Ignored)
		}
	}
}

func TestCdeventsRefuses(t *testing.T) {
	const context = `"context":{"type":"dev.cdevents.artifact.published.0.2.0"}`
	refuses(t, "cdevents", map[string]int{
		`{` + context + `}`: 422, `{` + context + `,"subject":7}`: 422, `{` + context + `,"subject":{"id":7}}`: 422,
		`{"context":7}`: 422, `{"context":{"type":7}}`: 422, `{}`: 422, `"x"`: 422,
		`{"specversion":"1.0","type":"dev.cdevents.artifact.published.0.2.0"}`: 422,
		`a=b`: 400, ``: 400, strings.Repeat(`{"a":`, 100): 400, strings.Repeat(`[`, 100): 400,
		`[` + strings.TrimSuffix(strings.Repeat(`{},`, maxEvents+1), ",") + `]`: 422,
		`{"x":"` + strings.Repeat("x", 1<<20) + `"}`:                            413,
	})
}
