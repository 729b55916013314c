package webhook

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCloudeventsTypes(t *testing.T) {
	tests := []struct {
		eventType string
		action    Action
		ignored   string
	}{
		{"com.amazon.ecr.push", ActionPush, ""},
		{"com.amazon.ecr.image.push", ActionPush, ""},
		{"org.container.image.published", ActionPush, ""},
		{"container.push", ActionPush, ""},
		{"ImagePushed", "ImagePushed", ReasonUnknownEvent},
		{"com.acme.image_pushed", ActionPush, ""},
		{"com.acme.image.created", ActionPush, ""},
		{"com.acme.tag.updated.v2", ActionPush, ""},
		{"com.amazon.ecr.delete", ActionDelete, ""},
		{"com.acme.image.removed", ActionDelete, ""},
		{"com.acme.push-service.image.deleted", ActionDelete, ""},
		{"com.acme.image.pulled", "pull", ReasonPull},
		{"com.acme.ping", "com.acme.ping", ReasonPing},
		{"com.acme.chart.pushed", "com.acme.chart.pushed", ReasonChart},
		{"com.acme.image.scanned", "com.acme.image.scanned", ReasonOtherEvent},
		{"com.acme.vulnerability.created", "com.acme.vulnerability.created", ReasonOtherEvent},
		{"com.example.database.updated", "com.example.database.updated", ReasonUnknownEvent},
		{"com.acme.pusher", "com.acme.pusher", ReasonUnknownEvent},
	}
	for _, tt := range tests {
		item := parseOne(t, "cloudevents", `{"specversion":"1.0","id":"1","source":"/","type":"`+tt.eventType+`","data":{"image":"a/b:1"}}`)
		if item.Event.Action != tt.action || item.Ignored != tt.ignored {
			t.Errorf("%s: action %q, ignored %q", tt.eventType, item.Event.Action, item.Ignored)
		}
	}
}

func TestCloudeventsVerdicts(t *testing.T) {
	const host = "registry.acme.test"
	full := verdict{Repository: "a/b", Tag: "1"}
	with := func(change func(*verdict)) verdict { v := full; change(&v); return v }
	ours := with(func(v *verdict) { v.Host = host })
	event := func(attributes, data string) string {
		return `{"specversion":"1.0","id":"1","type":"image.pushed"` + attributes + `,"data":` + data + `}`
	}
	tests := []struct {
		name, body string
		want       verdict
	}{
		{"reference", event("", `{"image":"registry.acme.test/a/b:1"}`), ours},
		{"reference with a digest", event("", `{"reference":"a/b:1@`+digestA+`"}`), with(func(v *verdict) { v.Digest = digestA })},
		{"reference by digest", event("", `{"image":"a/b@`+digestA+`"}`), verdict{Repository: "a/b", Digest: digestA, Flags: FlagDigestOnly}},
		{"reference with the tag apart", event("", `{"image":"a/b","tag":"1"}`), full},
		{"reference alone", event("", `{"image":"a/b"}`), with(func(v *verdict) { v.Tag = "latest" })},
		{"repository and tag", event("", `{"repository":"a/b","tag":"1"}`), full},
		{"names of ECR", event("", `{"repositoryName":"a/b","imageTag":"1","imageDigest":"`+digestA+`"}`), with(func(v *verdict) { v.Digest = digestA })},
		{"repository with the host", event("", `{"repository":"registry.acme.test/a/b","tag":"1"}`), ours},
		{"repository and registry", event("", `{"repository":"a/b","tag":"1","registry":"Registry.Acme.Test:443"}`), ours},
		{"registry as a URL", event("", `{"repository":"a/b","tag":"1","registryUrl":"https://registry.acme.test/v2/"}`), ours},
		{"folder called like a host", event("", `{"repository":"my.team/b","tag":"1","registry":"registry.acme.test"}`),
			verdict{Host: host, Repository: "my.team/b", Tag: "1"}},
		{"repository without a tag", event("", `{"repository":"a/b"}`), verdict{Repository: "a/b", Ignored: ReasonNoReference}},
		{"repository of another shape", event(`,"subject":"a/b:1"`, `{"repository":{"name":"x"}}`), full},
		{"subject", event(`,"subject":"a/b:1"`, `{}`), full},
		{"subject without data", event(`,"subject":"a/b:1"`, `null`), full},
		{"subject beside text", event(`,"subject":"a/b:1"`, `"text"`), full},
		{"tag of the subject", event(`,"subject":"a/b:1"`, `{"repository":"a/b","digest":"`+digestA+`"}`), with(func(v *verdict) { v.Digest = digestA })},
		{"subject of another repository", event(`,"subject":"c/d:2"`, `{"repository":"a/b","tag":"1"}`), full},
		{"source", event(`,"source":"https://registry.acme.test/hooks"`, `{"image":"a/b:1"}`), ours},
		{"data before source", event(`,"source":"https://ci.acme.test/"`, `{"image":"a/b:1","registry":"registry.acme.test"}`), ours},
		{"source that is no URL", event(`,"source":"/ci/7"`, `{"image":"a/b:1"}`), full},
		{"source of another", event(`,"source":"https://ghcr.io/a/b"`, `{"image":"a/b:1"}`), with(func(v *verdict) { v.Host, v.Ignored = "ghcr.io", ReasonOtherRegistry })},
		{"address of metadata", event("", `{"image":"169.254.169.254/a/b:1"}`), with(func(v *verdict) { v.Host, v.Ignored = "169.254.169.254", ReasonOtherRegistry })},
		{"localhost", event("", `{"image":"localhost/a/b:1"}`), with(func(v *verdict) { v.Host, v.Ignored = "localhost", ReasonOtherRegistry })},
		{"digest in place of the tag", event("", `{"repository":"a/b","tag":"`+digestA+`"}`), verdict{Repository: "a/b", Digest: digestA, Flags: FlagDigestOnly}},
		{"index", event("", `{"image":"a/b:1","mediaType":"application/vnd.oci.image.index.v1+json"}`), with(func(v *verdict) { v.Flags = FlagIndex })},
		{"chart", event("", `{"image":"a/b:1","mediaType":"application/vnd.cncf.helm.config.v1+json"}`), with(func(v *verdict) { v.Ignored = ReasonChart })},
		{"long reference", event("", `{"image":"`+strings.Repeat("a", 2000)+`"}`), verdict{Tag: "latest", Ignored: ReasonBadRepository}},
		{"repository that climbs", event("", `{"image":"../b:1"}`), verdict{Host: "..", Repository: "b", Tag: "1", Ignored: ReasonOtherRegistry}},
		{"CDEvent", `{"specversion":"1.0","id":"1","type":"dev.cdevents.artifact.published.0.2.0","data":` + cdBody("dev.cdevents.artifact.published.0.2.0") + `}`, ours},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, verdictOf(parseOne(t, "cloudevents", tt.body))); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCloudeventsOfECR(t *testing.T) {
	const host = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
	e := openEndpoint("cloudevents")
	e.Host, e.Aliases = host, []string{"111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn"}
	tests := []struct{ name, source, data, host, ignored string }{
		{"urn", "urn:aws:ecr:eu-west-1:111122223333:repository/a/b", `{"imageTag":"1"}`, host, ""},
		{"arn", "arn:aws:ecr:eu-west-1:111122223333:repository/a/b", `{"repositoryName":"a/b","imageTag":"1"}`, host, ""},
		{"China", "arn:aws-cn:ecr:cn-north-1:111122223333:repository/a/b", `{"repositoryName":"a/b","imageTag":"1"}`, e.Aliases[0], ""},
		{"account of the data", "urn:aws:ecr:eu-west-1:999999999999:repository/a/b", `{"imageTag":"1","registryId":"111122223333"}`, host, ""},
		{"another account", "urn:aws:ecr:eu-west-1:999999999999:repository/a/b", `{"imageTag":"1"}`, "999999999999.dkr.ecr.eu-west-1.amazonaws.com", ReasonOtherRegistry},
		{"region that is a host", "urn:aws:ecr:evil.test/x:111122223333:repository/a/b", `{"repositoryName":"a/b","imageTag":"1"}`, "", ""},
	}
	for _, tt := range tests {
		body := `{"specversion":"1.0","id":"1","type":"com.amazon.ecr.push","source":"` + tt.source + `","data":` + tt.data + `}`
		items, err := parseCloudevents(request{endpoint: e, body: []byte(body), received: sampleTime})
		if err != nil || len(items) != 1 || items[0].Event.Host != tt.host || items[0].Ignored != tt.ignored || items[0].Event.Repository != "a/b" {
			t.Errorf("%s: %+v, %v", tt.name, items, err)
		}
	}
}

// TestCloudeventsHandshake: a broker may ask, with its credential, and nothing
// reaches the sink.
func TestCloudeventsHandshake(t *testing.T) {
	e := openEndpoint("cloudevents")
	e.Auth = Auth{Kind: AuthQuery, Parameter: "access_token", Secrets: []string{"swordfish"}}
	sink := &keeper{}
	h := mustHandler(t, sink, e)
	for target, want := range map[string]int{"/webhooks/prod?access_token=swordfish": 200, "/webhooks/prod?access_token=x": 401, "/webhooks/prod": 401} {
		r := httptest.NewRequest(http.MethodOptions, target, nil)
		r.Header.Set("WebHook-Request-Origin", "events.acme.test")
		r.Header.Set("WebHook-Request-Callback", "http://169.254.169.254/latest")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != want || (w.Header().Get("WebHook-Allowed-Origin") == "events.acme.test") != (want == 200) {
			t.Errorf("%s: status %d, %v", target, w.Code, w.Header())
		}
	}
	r := httptest.NewRequest(http.MethodOptions, "/webhooks/prod?access_token=swordfish", nil)
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Code != http.StatusUnprocessableEntity || sink.calls != 0 {
		t.Errorf("without an origin: status %d, %d calls of the sink", w.Code, sink.calls)
	}
}

func TestCloudeventsBatch(t *testing.T) {
	sink := &keeper{}
	w := post(mustHandler(t, sink, openEndpoint("cloudevents")), "prod", `[
		{"id":"1","source":"/a","type":"image.pushed","data":{"image":"a/b:1"}},
		{"id":"1","source":"/b","type":"image.pushed","data":{"image":"a/b:2"}},
		{"id":"1","source":"/a","type":"image.pushed","data":{"image":"a/b:3"}},
		{"id":"3","source":"/a","data":{"image":"a/b:4"}}, null, [], "x", {"type":7}]`)
	var got []string
	keys := map[string]bool{}
	for _, i := range sink.kept() {
		got = append(got, i.Event.Tag+" "+i.Ignored)
		keys[i.DedupeKey] = true
	}
	want := []string{"1 ", "2 ", "3 ", " malformed", " malformed", " malformed", " malformed", " malformed"}
	if diff := cmp.Diff(want, got); diff != "" || w.Code != http.StatusAccepted || len(keys) != len(want) {
		t.Errorf("status %d, %d keys, items (-want +got):\n%s", w.Code, len(keys), diff)
	}
}

// TestCloudeventsSignedBinary: the attributes are in headers, which nobody
// signed, so the request is refused and not misread.
func TestCloudeventsSignedBinary(t *testing.T) {
	e := openEndpoint("cloudevents")
	e.Auth = Auth{Kind: AuthHMACSHA256, Secrets: []string{"swordfish"}}
	body := `{"repository":"a/b","tag":"1"}`
	w := post(mustHandler(t, &keeper{}, e), "prod", body, "X-Signature", signature("swordfish", body), "Ce-Type", "image.deleted", "Ce-Id", "1")
	if w.Code != http.StatusUnprocessableEntity {
		t.Errorf("status %d", w.Code)
	}
}

func TestCloudeventsRefuses(t *testing.T) {
	refuses(t, "cloudevents", map[string]int{
		`{}`: 422, `{"image":"a/b:1"}`: 422, `{"specversion":"1.0"}`: 422, `{"type":7}`: 422, `{"type":"image.pushed","data":7}`: 422, `{"type":"image.pushed"}`: 422,
		`"x"`: 422, `null`: 422, `a=b`: 400, ``: 400, strings.Repeat(`{"a":`, 100): 400, strings.Repeat(`[`, 100): 400,
		`[` + strings.TrimSuffix(strings.Repeat(`{},`, maxEvents+1), ",") + `]`: 422,
		`{"x":"` + strings.Repeat("x", 1<<20) + `"}`:                            413,
	})
}
