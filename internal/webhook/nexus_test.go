package webhook

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestNexusVerdicts(t *testing.T) {
	const docker = `"component":{"format":"docker","name":"a/b","version":"1"}`
	body := func(action, rest string) string {
		return `{"timestamp":"2026-10-05T09:15:27.219+0000","repositoryName":"docker-hosted","action":"` + action + `",` + rest + `}`
	}
	full := verdict{Repository: "a/b", Tag: "1"}
	ignored := func(reason string) verdict { v := full; v.Ignored = reason; return v }
	tests := []struct {
		name, body string
		want       verdict
	}{
		{"created", body("CREATED", docker), full},
		{"updated", body("UPDATED", docker), full},
		{"deleted", body("DELETED", docker), full},
		{"unknown action", body("created", docker), ignored(ReasonUnknownEvent)},
		{"no action", body("", docker), ignored(ReasonUnknownEvent)},
		{"digest for a version", body("CREATED", `"component":{"format":"docker","name":"a/b","version":"`+digestA+`"}`),
			verdict{Repository: "a/b", Digest: digestA, Flags: FlagDigestOnly}},
		{"version that is no tag", body("CREATED", `"component":{"format":"docker","name":"a/b","version":"../1"}`),
			verdict{Repository: "a/b", Ignored: ReasonNoReference}},
		{"no version", body("CREATED", `"component":{"format":"docker","name":"a/b"}`), verdict{Repository: "a/b", Ignored: ReasonNoReference}},
		{"name that climbs", body("CREATED", `"component":{"format":"docker","name":"../b","version":"1"}`),
			verdict{Repository: "../b", Tag: "1", Ignored: ReasonBadRepository}},
		{"raw file", body("CREATED", `"component":{"format":"raw","name":"a/b","version":"1"}`), ignored(ReasonArtifact)},
		{"no format", body("CREATED", `"component":{"name":"a/b","version":"1"}`), ignored(ReasonArtifact)},
		{"chart", body("CREATED", `"component":{"format":"helm","name":"a/b","version":"1"}`), ignored(ReasonChart)},
		{"asset", body("CREATED", `"asset":{"format":"docker","name":"x"}`), verdict{Ignored: ReasonOtherEvent}},
		{"audit", `{"audit":{"type":"created"}}`, verdict{Ignored: ReasonOtherEvent}},
		{"component that is null", body("CREATED", `"component":null`), verdict{Ignored: ReasonUnknownEvent}},
		{"nothing", `{}`, verdict{Ignored: ReasonUnknownEvent}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, verdictOf(parseOne(t, "nexus", tt.body))); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNexusTime(t *testing.T) {
	want := time.Date(2018, 4, 6, 23, 35, 21, 606_000_000, time.UTC)
	for s, want := range map[string]time.Time{
		"2018-04-06T23:35:21.606+0000": want, "2018-04-07T01:35:21.606+0200": want, "2018-04-06T23:35:21.606Z": want,
		"2018-04-07T01:35:21.606+02:00": want, "2018-04-06": {}, "": {}, "1523057721606": {},
	} {
		if got := nexusTime(s); !got.Equal(want) {
			t.Errorf("%q is %v, want %v", s, got, want)
		}
	}
}

func TestNexusKey(t *testing.T) {
	key := func(delivery, stamp, action string) string {
		r := request{endpoint: openEndpoint("nexus"), header: headersOf("X-Nexus-Webhook-Delivery", delivery), received: sampleTime,
			body: []byte(`{"timestamp":"` + stamp + `","repositoryName":"d","action":"` + action + `","component":{"format":"docker","name":"a","version":"1"}}`)}
		items, err := parseNexus(r)
		if err != nil || len(items) != 1 {
			t.Fatalf("%d items, %v", len(items), err)
		}
		return items[0].DedupeKey
	}
	const stamp = "2018-04-06T23:35:21.606+0000"
	if key("7f4a", stamp, "CREATED") != "id:7f4a" {
		t.Errorf("key %q", key("7f4a", stamp, "CREATED"))
	}
	if key("", stamp, "CREATED") != key("", stamp, "CREATED") || key("", stamp, "CREATED") == key("", stamp, "UPDATED") {
		t.Error("without an id, the content with its time does not make the key")
	}
	if key("", "", "CREATED") != "" {
		t.Error("without an id and a time, two events are one delivery")
	}
}

// TestNexusReadsTheBodyAlone: the header that says what it is about is not
// signed.
func TestNexusReadsTheBodyAlone(t *testing.T) {
	r := request{endpoint: openEndpoint("nexus"), header: headersOf("X-Nexus-Webhook-Id", "rm:audit"), received: sampleTime,
		body: []byte(`{"action":"CREATED","component":{"format":"docker","name":"a/b","version":"1"}}`)}
	items, err := parseNexus(r)
	if err != nil || len(items) != 1 || items[0].Ignored != "" {
		t.Errorf("%+v, %v", items, err)
	}
}

func TestNexusRefuses(t *testing.T) {
	refuses(t, "nexus", map[string]int{
		`{"component":7}`: 422, `{"component":{"name":["a"]}}`: 422, `{"action":{}}`: 422, `[]`: 422, `"x"`: 422, `x=1`: 400, ``: 400,
		`{"component":` + strings.Repeat(`{"a":`, 70) + `1` + strings.Repeat(`}`, 71): 400,
		`{"initiator":"` + strings.Repeat("x", 1<<20) + `"}`:                          413,
	})
}
