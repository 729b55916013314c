package webhook

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestHarborVerdicts(t *testing.T) {
	const resource = `{"tag":"1","digest":"` + digestA + `","resource_url":"registry.acme.test/a/b:1"}`
	body := func(eventType, resources, repository string) string {
		return `{"type":"` + eventType + `","occur_at":1759655727,"event_data":{"resources":[` + resources + `],"repository":{` + repository + `}}}`
	}
	const repo = `"repo_full_name":"a/b"`
	full := verdict{Host: "registry.acme.test", Repository: "a/b", Tag: "1", Digest: digestA}
	ignored := func(reason string) verdict { v := full; v.Ignored = reason; return v }
	tests := []struct {
		name, body string
		want       verdict
	}{
		{"push", body("PUSH_ARTIFACT", resource, repo), full},
		{"push, older name", body("pushImage", resource, repo), full},
		{"delete, older name", body("deleteImage", resource, repo), full},
		{"pull", body("PULL_ARTIFACT", resource, repo), ignored(ReasonPull)},
		{"pull, older name", body("pullImage", resource, repo), ignored(ReasonPull)},
		{"chart", body("UPLOAD_CHART", resource, repo), ignored(ReasonChart)},
		{"chart, older name", body("deleteChart", resource, repo), ignored(ReasonChart)},
		{"scan", body("SCANNING_FAILED", resource, repo), ignored(ReasonOtherEvent)},
		{"scan, CloudEvents name", body("harbor.scan.stopped", resource, repo), ignored(ReasonOtherEvent)},
		{"retention", body("harbor.tag_retention.finished", resource, repo), ignored(ReasonOtherEvent)},
		{"unknown", body("CREATE_TAG", resource, repo), ignored(ReasonUnknownEvent)},
		{"no type", body("", resource, repo), ignored(ReasonUnknownEvent)},
		{"name and namespace only", body("PUSH_ARTIFACT", resource, `"namespace":"a","name":"b"`), full},
		{"name only", body("PUSH_ARTIFACT", `{"tag":"1","resource_url":"registry.acme.test/b:1"}`, `"name":"b"`),
			verdict{Host: "registry.acme.test", Repository: "b", Tag: "1"}},
		{"no repository", body("PUSH_ARTIFACT", resource, ``),
			verdict{Host: "registry.acme.test", Tag: "1", Digest: digestA, Ignored: ReasonBadRepository}},
		{"no resources", body("PUSH_ARTIFACT", ``, repo), verdict{Repository: "a/b", Ignored: ReasonNoReference}},
		{"no data", `{"type":"REPLICATION","occur_at":1}`, verdict{Ignored: ReasonOtherEvent}},
		{"no url", body("PUSH_ARTIFACT", `{"tag":"1"}`, repo), verdict{Repository: "a/b", Tag: "1"}},
		{"url with a scheme", body("pushImage", `{"tag":"1","resource_url":"https://registry.acme.test/a/b:1"}`, repo),
			verdict{Host: "registry.acme.test", Repository: "a/b", Tag: "1"}},
		{"host with port", body("PUSH_ARTIFACT", `{"tag":"1","resource_url":"inner:5000/a/b:1"}`, repo),
			verdict{Host: "inner:5000", Repository: "a/b", Tag: "1"}},
		{"another registry", body("PUSH_ARTIFACT", `{"tag":"1","resource_url":"evil.test/a/b:1"}`, repo),
			verdict{Host: "evil.test", Repository: "a/b", Tag: "1", Ignored: ReasonOtherRegistry}},
		{"project like a host", body("PUSH_ARTIFACT", `{"tag":"1","resource_url":"registry.acme.test/ext.mcr.microsoft.com/x:1"}`, `"repo_full_name":"ext.mcr.microsoft.com/x"`),
			verdict{Host: "registry.acme.test", Repository: "ext.mcr.microsoft.com/x", Tag: "1"}},
		{"project like a host, no host", body("PUSH_ARTIFACT", `{"tag":"1","resource_url":"ext.mcr.microsoft.com/x:1"}`, `"repo_full_name":"ext.mcr.microsoft.com/x"`),
			verdict{Repository: "ext.mcr.microsoft.com/x", Tag: "1"}},
		{"CloudEvent", `{"specversion":"1.0","id":"7","type":"harbor.artifact.deleted","data":{"resources":[` + resource + `],"repository":{` + repo + `}}}`, full},
		{"CloudEvent with data of the default body", `{"specversion":"1.0","id":"7","type":"harbor.artifact.pushed","event_data":{"resources":[` + resource + `],"repository":{` + repo + `}}}`,
			verdict{Ignored: ReasonBadRepository}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, verdictOf(parseOne(t, "harbor", tt.body))); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHarborTime(t *testing.T) {
	tests := []struct {
		name, occurAt string
		want          time.Time
		once          bool // no two requests are the same delivery
	}{
		{"seconds", `1759655727`, time.Date(2025, 10, 5, 9, 15, 27, 0, time.UTC), false},
		{"seconds in quotes", `"1759655727"`, time.Date(2025, 10, 5, 9, 15, 27, 0, time.UTC), false},
		{"missing", `null`, sampleTime, true},
		{"zero", `0`, sampleTime, true},
		{"no number", `"now"`, sampleTime, true},
		{"before registries", `1`, sampleTime, false},
		{"far ahead", `99999999999999`, sampleTime, false},
		{"beyond numbers", `1e400`, sampleTime, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			item := parseOne(t, "harbor", `{"type":"PUSH_ARTIFACT","occur_at":`+tt.occurAt+`,
				"event_data":{"resources":[{"tag":"1"}],"repository":{"repo_full_name":"a/b"}}}`)
			if !item.Event.OccurredAt.Equal(tt.want) {
				t.Errorf("occurred at %v, want %v", item.Event.OccurredAt, tt.want)
			}
			if (item.DedupeKey == "") != tt.once {
				t.Errorf("dedupe key %q", item.DedupeKey)
			}
		})
	}
}

// TestHarborFamily: registries with the same body authenticate by a header of
// their own.
func TestHarborFamily(t *testing.T) {
	e := openEndpoint("tencent-tcr")
	e.Auth = Auth{Kind: AuthHeader, Header: "X-Tidewaiter-Token", Secrets: []string{"swordfish"}}
	body := string(sampleBody(t, "harbor", "tencent-push-image"))
	sink := &keeper{}
	h := mustHandler(t, sink, e)
	if w := post(h, "prod", body, "X-Tidewaiter-Token", "swordfish"); w.Code != 202 || len(sink.kept()) != 1 {
		t.Errorf("status %d, %+v", w.Code, sink.kept())
	}
	if w := post(h, "prod", body, "Authorization", "swordfish"); w.Code != 401 {
		t.Errorf("another header: status %d", w.Code)
	}
}
