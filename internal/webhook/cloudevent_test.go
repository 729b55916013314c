package webhook

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// headersOf makes a header of name, value pairs.
func headersOf(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i+1 < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

func TestCloudEvents(t *testing.T) {
	const full = `{"specversion":"1.0","id":"1","source":"s","type":"t","subject":"u","time":"2026-10-05T09:15:27Z","data":{"a":1}}`
	event := cloudEvent{ID: "1", Source: "s", Type: "t", Subject: "u", Time: "2026-10-05T09:15:27Z", Data: []byte(`{"a":1}`)}
	binary := headersOf("Content-Type", "application/json", "Ce-Specversion", "1.0", "Ce-Id", "1", "Ce-Source", "s", "Ce-Type", "t",
		"Ce-Subject", "u", "Ce-Time", "2026-10-05T09:15:27Z")
	tests := []struct {
		name   string
		header http.Header
		body   string
		want   []cloudEvent
	}{
		{"structured", headersOf("Content-Type", "application/cloudevents+json; charset=utf-8"), full, []cloudEvent{event}},
		{"structured said to be JSON", headersOf("Content-Type", "application/json"), full, []cloudEvent{event}},
		{"structured without a content type", nil, " \n" + full, []cloudEvent{event}},
		{"structured beside Ce- headers", headersOf("Content-Type", "Application/CloudEvents+JSON", "Ce-Type", "evil"), full, []cloudEvent{event}},
		{"batch", headersOf("Content-Type", "application/cloudevents-batch+json"), "[" + full + "," + full + "]", []cloudEvent{event, event}},
		{"batch said to be JSON", headersOf("Content-Type", "application/json"), " [" + full + "]", []cloudEvent{event}},
		{"empty batch", nil, "[]", []cloudEvent{}},
		{"batch with one of a wrong shape", nil, `[7,` + full + `,{"id":7},null,{"data":1}]`,
			[]cloudEvent{{Malformed: true}, event, {Malformed: true}, {Malformed: true}, {Data: []byte("1")}}},
		{"binary", binary, `{"a":1}`, []cloudEvent{event}},
		{"binary without data", headersOf("Ce-Type", "t"), " ", []cloudEvent{{Type: "t"}}},
		{"percent-encoded", headersOf("Ce-Type", "t", "Ce-Subject", "Euro%20%E2%82%AC%20%F0%9F%98%80"), "", []cloudEvent{{Type: "t", Subject: "Euro € 😀"}}},
		{"in quotes", headersOf("Ce-Type", `"a \"b\" \\"`), "", []cloudEvent{{Type: `a "b" \`}}},
		{"not encoded properly", headersOf("Ce-Type", "50%"), "", []cloudEvent{{Type: "50%"}}},
		{"base64", nil, `{"specversion":"1.0","type":"t","data_base64":"` + base64.StdEncoding.EncodeToString([]byte(`{"a":1}`)) + `"}`,
			[]cloudEvent{{Type: "t", Data: []byte(`{"a":1}`)}}},
		{"base64 of no JSON", nil, `{"specversion":"1.0","type":"t","data_base64":"` + base64.StdEncoding.EncodeToString([]byte(`<a/>`)) + `"}`,
			[]cloudEvent{{Type: "t"}}},
		{"no base64", nil, `{"specversion":"1.0","type":"t","data_base64":"%"}`, []cloudEvent{{Type: "t"}}},
		{"no CloudEvent", nil, `{"context":{}}`, []cloudEvent{{Data: []byte(`{"context":{}}`)}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := request{header: tt.header, body: []byte(tt.body)}.cloudEvents()
			if err != nil {
				t.Fatal(err)
			}
			for i := range got {
				got[i].Raw = nil
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCloudEventsRefused(t *testing.T) {
	batch := "[" + strings.TrimSuffix(strings.Repeat("{},", maxEvents+1), ",") + "]"
	tests := []struct {
		name   string
		header http.Header
		body   string
		kind   errs.Kind
	}{
		{"empty", nil, "", errs.Invalid},
		{"not JSON", nil, "type=push", errs.Invalid},
		{"deep", nil, strings.Repeat(`{"a":`, 100), errs.Invalid},
		{"deep batch", nil, strings.Repeat(`[`, 100), errs.Invalid},
		{"batch that ends", nil, `[{"id":"1"}`, errs.Invalid},
		{"too many", nil, batch, errs.Malformed},
		{"string", nil, `"x"`, errs.Malformed},
		{"id is no string", nil, `{"specversion":"1.0","id":1}`, errs.Malformed},
		{"binary, not JSON", headersOf("Ce-Type", "t"), "a=b", errs.Invalid},
		{"binary, deep", headersOf("Ce-Type", "t"), strings.Repeat(`{"a":`, 100), errs.Invalid},
		{"type twice", headersOf("Ce-Type", "t", "Ce-Type", "u"), "{}", errs.Malformed},
	}
	for _, tt := range tests {
		if got, err := (request{header: tt.header, body: []byte(tt.body)}).cloudEvents(); errs.KindOf(err) != tt.kind {
			t.Errorf("%s: %d events, error %v, want kind %s", tt.name, len(got), err, tt.kind)
		}
	}
}

// TestCloudEventsOfSignedRequests: whoever has a signed body of another could
// write any header beside it.
func TestCloudEventsOfSignedRequests(t *testing.T) {
	r := request{
		endpoint: Endpoint{Auth: Auth{Kind: AuthHMACSHA256}},
		header:   headersOf("Ce-Type", "deleted", "Ce-Id", "2"), body: []byte(`{"a":1}`),
	}
	got, err := r.cloudEvents()
	if err != nil || len(got) != 1 || got[0].Type != "" || got[0].ID != "" {
		t.Errorf("read %+v, %v from headers that nobody signed", got, err)
	}
}

func TestCloudEventKeys(t *testing.T) {
	key := func(source, id string) string { return cloudEvent{Source: source, ID: id}.key() }
	if key("a", "1") != key("a", "1") || key("a", "1") == key("b", "1") || key("a", "1") == key("a", "2") {
		t.Error("keys do not follow source and id")
	}
	if key("", "1") != "id:1" || key("a", "") != "" {
		t.Errorf("keys %q and %q", key("", "1"), key("a", ""))
	}
}

func TestGreetOrigin(t *testing.T) {
	greet := func(method, origin string) (*Greeting, error) {
		r := request{method: method, header: http.Header{}}
		if origin != "" {
			r.header.Set("WebHook-Request-Origin", origin)
		}
		return greetOrigin(r)
	}
	g, err := greet("OPTIONS", "events.acme.test")
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	g.write(w)
	if w.Code != 200 || w.Header().Get("WebHook-Allowed-Origin") != "events.acme.test" || w.Header().Get("WebHook-Allowed-Rate") != "*" || g.Confirm != "" {
		t.Errorf("answer %d %v, visits %q", w.Code, w.Header(), g.Confirm)
	}
	if g, err := greet("POST", "events.acme.test"); g != nil || err != nil {
		t.Errorf("POST: %+v, %v", g, err)
	}
	for name, origin := range map[string]string{"none": "", "space": "a b", "control": "a\rb", "long": strings.Repeat("a", 257), "not ASCII": "é"} {
		if g, err := greet("OPTIONS", origin); g != nil || !errs.Is(err, errs.Malformed) {
			t.Errorf("%s: %+v, %v", name, g, err)
		}
	}
}
