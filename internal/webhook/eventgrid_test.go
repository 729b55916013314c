package webhook

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

const gridTarget = `"target":{"repository":"a/b","tag":"1","digest":"` + digestA + `"}`

func TestEventgridVerdicts(t *testing.T) {
	const (
		pushed = `"eventType":"Microsoft.ContainerRegistry.ImagePushed"`
		host   = `"request":{"host":"registry.acme.test"}`
		data   = `"data":{"action":"push",` + gridTarget + `,` + host + `}`
	)
	full := verdict{Host: "registry.acme.test", Repository: "a/b", Tag: "1", Digest: digestA}
	with := func(change func(*verdict)) verdict { v := full; change(&v); return v }
	ignored := func(reason string) verdict { return with(func(v *verdict) { v.Ignored = reason }) }
	topic := func(name string) string {
		return `,"topic":"/SUBSCRIPTIONS/1/RESOURCEGROUPS/rg/PROVIDERS/MICROSOFT.ContainerRegistry/registries/` + name + `"`
	}
	hostless := pushed + `,"data":{` + gridTarget + `}`
	tests := []struct {
		name, body string
		want       verdict
	}{
		{"push", pushed + `,` + data, full},
		{"push without the service's name", `"eventType":"ImagePushed",` + data, full},
		{"push as CloudEvent", `"specversion":"1.0","type":"Microsoft.ContainerRegistry.ImagePushed",` + data, full},
		{"delete of a manifest", `"eventType":"Microsoft.ContainerRegistry.ImageDeleted","data":{"action":"delete","target":{"repository":"a/b","digest":"` + digestA + `"},` + host + `}`,
			with(func(v *verdict) { v.Tag, v.Flags = "", FlagDigestOnly })},
		{"chart", `"eventType":"Microsoft.ContainerRegistry.ChartPushed",` + data, ignored(ReasonChart)},
		{"chart deleted", `"type":"Microsoft.ContainerRegistry.ChartDeleted",` + data, ignored(ReasonChart)},
		{"unknown of the registry", `"eventType":"Microsoft.ContainerRegistry.ImageUntagged",` + data, ignored(ReasonUnknownEvent)},
		{"of another service", `"eventType":"Microsoft.Storage.BlobCreated","data":{"api":"PutBlob"}`, verdict{Ignored: ReasonUnknownEvent}},
		{"of Event Grid itself", `"eventType":"Microsoft.EventGrid.SubscriptionUpdated","data":{}`, verdict{Ignored: ReasonOtherEvent}},
		{"no type", data, ignored(ReasonUnknownEvent)},
		{"no data", pushed, verdict{Ignored: ReasonMalformed}},
		{"data is a list", pushed + `,"data":[]`, verdict{Ignored: ReasonMalformed}},
		{"nulls", pushed + `,"data":{"target":{"repository":null,"tag":null},"request":null}`, verdict{Ignored: ReasonBadRepository}},
		{"another registry", pushed + `,"data":{` + gridTarget + `,"request":{"host":"evil.azurecr.io"}}`,
			with(func(v *verdict) { v.Host, v.Ignored = "evil.azurecr.io", ReasonOtherRegistry })},
		{"no host, the endpoint's resource", hostless + topic("REGISTRY"), with(func(v *verdict) { v.Host = "" })},
		{"no host, another resource", hostless + topic("acmeDev"),
			with(func(v *verdict) { v.Host, v.Ignored = "acmedev.azurecr.io", ReasonOtherRegistry })},
		{"no host, no resource", hostless, with(func(v *verdict) { v.Host = "" })},
	}
	for _, tt := range tests {
		for form, body := range map[string]string{"array": "[{" + tt.body + "}]", "object": "{" + tt.body + "}"} {
			t.Run(tt.name+", "+form, func(t *testing.T) {
				if diff := cmp.Diff(tt.want, verdictOf(parseOne(t, "eventgrid", body))); diff != "" {
					t.Errorf("verdict (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// TestEventgridHandshakes goes through both; the answers are what Event Grid
// wants, to the letter of the status.
func TestEventgridHandshakes(t *testing.T) {
	const (
		validation = `[{"id":"1","eventType":"Microsoft.EventGrid.SubscriptionValidationEvent","data":{"validationCode":"512d38b6","validationUrl":"http://169.254.169.254/x"}}]`
		deletion   = `[{"id":"1","eventType":"Microsoft.EventGrid.SubscriptionDeletedEvent","data":{"eventSubscriptionId":"/x"}}]`
		event      = `{"eventType":"Microsoft.ContainerRegistry.ImagePushed","data":{` + gridTarget + `}}`
	)
	tests := []struct {
		name, method, purpose, body string
		status                      int
		answer                      string
	}{
		{"validation", "POST", "SubscriptionValidation", validation, 200, `{"validationResponse":"512d38b6"}`},
		{"validation without the header", "POST", "", validation, 200, `{"validationResponse":"512d38b6"}`},
		{"validation without brackets", "POST", "SubscriptionValidation", validation[1 : len(validation)-1], 200, `{"validationResponse":"512d38b6"}`},
		{"validation without a code", "POST", "SubscriptionValidation", `[{"data":{}}]`, 422, ""},
		{"validation of no event", "POST", "SubscriptionValidation", `[]`, 422, ""},
		{"validation with a number", "POST", "SubscriptionValidation", `[{"data":{"validationCode":7}}]`, 422, ""},
		{"validation with a long code", "POST", "SubscriptionValidation", `[{"data":{"validationCode":"` + strings.Repeat("a", 257) + `"}}]`, 422, ""},
		{"validation that is not JSON", "POST", "SubscriptionValidation", `code=1`, 400, ""},
		{"deletion", "POST", "SubscriptionDeletion", deletion, 200, ""},
		{"deletion without the header", "POST", "", deletion, 200, ""},
		{"validation said to be a notification", "POST", "Notification", validation, 202, `{"accepted":0,"ignored":1}`},
		{"validation among events", "POST", "", "[" + event + "," + validation[1:], 202, `{"accepted":1,"ignored":1}`},
		{"notification", "POST", "Notification", "[" + event + "]", 202, `{"accepted":1,"ignored":0}`},
		{"notification without the header", "POST", "", event, 202, `{"accepted":1,"ignored":0}`},
		{"no events", "POST", "Notification", `[]`, 202, `{"accepted":0,"ignored":0}`},
		{"another method", "GET", "", "", 405, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(tt.method, "/webhooks/prod", strings.NewReader(tt.body))
			r.Header.Set("Aeg-Event-Type", tt.purpose)
			w := httptest.NewRecorder()
			mustHandler(t, &keeper{}, openEndpoint("eventgrid")).ServeHTTP(w, r)
			if w.Code != tt.status {
				t.Fatalf("status %d, want %d: %s", w.Code, tt.status, w.Body)
			}
			if got := strings.TrimSpace(w.Body.String()); w.Code < 300 && got != tt.answer {
				t.Errorf("answer %s, want %s", got, tt.answer)
			}
		})
	}
}

func TestEventgridAsksForPermission(t *testing.T) {
	options := func(e Endpoint, target string, header ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodOptions, target, nil)
		r.Header = headersOf(header...)
		w := httptest.NewRecorder()
		mustHandler(t, &keeper{}, e).ServeHTTP(w, r)
		return w
	}
	e := openEndpoint("eventgrid")
	e.Auth = Auth{Kind: AuthQuery, Parameter: "code", Secrets: []string{"s3cret"}}
	w := options(e, "/webhooks/prod?code=s3cret", "WebHook-Request-Origin", "eventgrid.azure.net", "WebHook-Request-Callback", "http://169.254.169.254/")
	if w.Code != 200 || w.Header().Get("WebHook-Allowed-Origin") != "eventgrid.azure.net" || w.Header().Get("WebHook-Allowed-Rate") == "" {
		t.Errorf("status %d, header %v", w.Code, w.Header())
	}
	if w := options(e, "/webhooks/prod?code=wrong", "WebHook-Request-Origin", "eventgrid.azure.net"); w.Code != 401 || w.Header().Get("WebHook-Allowed-Origin") != "" {
		t.Errorf("without the secret: status %d, header %v", w.Code, w.Header())
	}
	if w := options(e, "/webhooks/prod?code=s3cret"); w.Code != 422 {
		t.Errorf("without an origin: status %d", w.Code)
	}
}

// TestEventgridBatch: one event of a wrong shape costs only itself.
func TestEventgridBatch(t *testing.T) {
	event := func(id string) string {
		return `{"id":"` + id + `","eventType":"ImagePushed","data":{"target":{"repository":"a/b","tag":"` + id + `"}}}`
	}
	items := itemsOf(t, openEndpoint("eventgrid"), nil, `[`+event("1")+`,7,null,"x",[],{"id":7},{"eventType":"ImagePushed","data":7},`+event("2")+`]`)
	var got []string
	for _, i := range items {
		got = append(got, i.Event.Tag+i.Ignored)
	}
	want := []string{"1", "malformed", "malformed", "malformed", "malformed", "malformed", "malformed", "2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("items (-want +got):\n%s", diff)
	}
}

func TestEventgridTimeAndKey(t *testing.T) {
	parse := func(rest string) Item {
		return parseOne(t, "eventgrid", `[{"eventType":"ImagePushed",`+rest+`}]`)
	}
	const inner = `"data":{"timestamp":"2026-10-05T09:15:27Z",` + gridTarget + `}`
	const bare = `"data":{` + gridTarget + `}`
	at := time.Date(2026, 10, 5, 9, 15, 27, 0, time.UTC)
	for name, item := range map[string]Item{
		"registry's":   parse(`"eventTime":"2026-10-05T10:00:00Z",` + inner),
		"Event Grid's": parse(`"eventTime":"2026-10-05T09:15:27Z",` + bare),
		"CloudEvent's": parse(`"time":"2026-10-05T09:15:27Z",` + bare),
	} {
		if !item.Event.OccurredAt.Equal(at) || item.DedupeKey == "" {
			t.Errorf("%s time: %v, key %q", name, item.Event.OccurredAt, item.DedupeKey)
		}
	}
	if item := parse(bare); item.DedupeKey != "" {
		t.Errorf("key %q without id and time", item.DedupeKey)
	}
	if item := parse(`"id":"7",` + bare); item.DedupeKey != "id:7" || item.Event.EventID != "7" {
		t.Errorf("key %q, id %q", item.DedupeKey, item.Event.EventID)
	}
}

func TestEventgridRefuses(t *testing.T) {
	many, err := json.Marshal(make([]struct{}, maxEvents+1))
	if err != nil {
		t.Fatal(err)
	}
	checkRefused(t, "eventgrid",
		refusal{"deep array", strings.Repeat("[", 10_000), errs.Invalid},
		refusal{"half of an array", `[{}`, errs.Invalid},
		refusal{"too many events", string(many), errs.Malformed},
		refusal{"id is a number", `{"id":7}`, errs.Malformed},
	)
}

func TestEventgridHostileStrings(t *testing.T) {
	checkHostile(t, openEndpoint("eventgrid"), nil, `[{"id":"@","topic":"@","source":"@","eventType":"ImagePushed","eventTime":"@","time":"@",
		"data":{"id":"@","timestamp":"@","target":{"mediaType":"@","digest":"@","repository":"@","tag":"@"},"request":{"host":"@"},"actor":{"name":"@"}}}]`)
	checkHostile(t, openEndpoint("eventgrid"), nil, `[{"eventType":"@","type":"@","data":"@"}]`)
}
