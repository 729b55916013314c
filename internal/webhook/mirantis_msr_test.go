package webhook

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMirantisMSRVerdicts(t *testing.T) {
	const (
		names  = `"namespace":"a","repository":"b","imageName":"registry.acme.test/a/b:1",`
		tagged = names + `"tag":"1","digest":"` + digestA + `"`
	)
	body := func(eventType, contents string) string {
		return `{"type":"` + eventType + `","createdAt":"2026-10-05T09:15:27Z","contents":{` + contents + `}}`
	}
	full := verdict{Host: "registry.acme.test", Repository: "a/b", Tag: "1", Digest: digestA}
	with := func(change func(*verdict)) verdict { v := full; change(&v); return v }
	ignored := func(reason string) verdict { return with(func(v *verdict) { v.Ignored = reason }) }
	host := func(image, host string) (string, verdict) {
		return body("TAG_PUSH", strings.Replace(tagged, "registry.acme.test/a/b:1", image, 1)), with(func(v *verdict) { v.Host = host })
	}
	tests := []struct {
		name, body string
		want       verdict
	}{
		{"tag pushed", body("TAG_PUSH", tagged), full},
		{"tag deleted", body("TAG_DELETE", tagged), with(func(*verdict) {})},
		{"manifest pushed", body("MANIFEST_PUSH", names+`"digest":"`+digestA+`"`), with(func(v *verdict) { v.Tag, v.Flags = "", FlagDigestOnly })},
		{"manifest deleted", body("MANIFEST_DELETE", names+`"digest":"`+digestA+`"`), with(func(v *verdict) { v.Tag, v.Flags = "", FlagDigestOnly })},
		{"tag pulled", body("TAG_PULL", tagged), ignored(ReasonPull)},
		{"manifest pulled", body("MANIFEST_PULL", tagged), ignored(ReasonPull)},
		{"scan", body("SCAN_FAILED", tagged), ignored(ReasonOtherEvent)},
		{"scanner updated", body("SCANNER_UPDATE_COMPLETED", ``), verdict{Ignored: ReasonOtherEvent}},
		{"promotion", body("PROMOTION", tagged), ignored(ReasonOtherEvent)},
		{"mirroring", body("POLL_MIRRORING", tagged), ignored(ReasonOtherEvent)},
		{"repository", body("REPO_CREATED", `"namespace":{"id":7}`), verdict{Ignored: ReasonOtherEvent}},
		{"chart", body("CHART_PUSH", tagged), ignored(ReasonChart)},
		{"unknown", body("tag_push", tagged), ignored(ReasonUnknownEvent)},
		{"no type", body("", tagged), ignored(ReasonUnknownEvent)},
		{"nothing", `{}`, verdict{Ignored: ReasonUnknownEvent}},
		{"no contents", `{"type":"TAG_PUSH"}`, verdict{Ignored: ReasonBadRepository}},
		{"repository without a namespace", body("TAG_PUSH", `"repository":"b","tag":"1"`), verdict{Repository: "b", Tag: "1"}},
		{"made-up digest of the test button", body("TAG_PUSH", `"namespace":"foo","repository":"bar","tag":"latest","digest":"`+msrTestDigest+`","imageName":"foo/bar:latest"`),
			verdict{Repository: "foo/bar", Tag: "latest", Digest: msrTestDigest, Ignored: ReasonPing}},
		{"digest that is none", body("TAG_PUSH", names+`"tag":"1","digest":"sha256:1"`), with(func(v *verdict) { v.Digest, v.Flags = "", FlagDigestDropped })},
	}
	for image, name := range map[string]string{
		"inner:5000/a/b:1": "inner:5000", "registry.acme.test:443/a/b@" + digestA: "registry.acme.test", "a/b:1": "", "": "", "x:y:z": "", "/a/b:1": "",
	} {
		body, want := host(image, name)
		tests = append(tests, struct {
			name, body string
			want       verdict
		}{"image " + image, body, want})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, verdictOf(parseOne(t, "mirantis-msr", tt.body))); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMirantisMSRKey(t *testing.T) {
	key := func(created, tag string) string {
		return parseOne(t, "mirantis-msr", `{"type":"TAG_PUSH","createdAt":"`+created+`","contents":{"namespace":"a","repository":"b","tag":"`+tag+`"}}`).DedupeKey
	}
	const now = "2026-10-05T09:15:27.04Z"
	if key(now, "1") != key(now, "1") || key(now, "1") == key(now, "2") || key(now, "1") == key("2026-10-05T09:15:28Z", "1") {
		t.Error("the key does not follow content and time")
	}
	if key("", "1") != "" || key("yesterday", "1") != "" {
		t.Error("without a time, two events are one delivery")
	}
}

// TestMirantisMSRSecretInThePath: the sender knows nothing but the URL.
func TestMirantisMSRSecretInThePath(t *testing.T) {
	e := openEndpoint("mirantis-msr")
	e.Auth = Auth{Kind: AuthPath, Secrets: []string{"swordfish"}}
	h := mustHandler(t, &keeper{}, e)
	for path, want := range map[string]int{"prod/swordfish": 202, "prod": 401, "prod/": 401, "prod/sword": 401, "prod/swordfish/x": 401} {
		if w := post(h, path, `{"type":"TAG_PULL"}`); w.Code != want {
			t.Errorf("%s: status %d, want %d", path, w.Code, want)
		}
	}
}

func TestMirantisMSRRefuses(t *testing.T) {
	refuses(t, "mirantis-msr", map[string]int{
		`{"type":"TAG_PUSH","contents":"x"}`: 422, `{"type":"TAG_PUSH","contents":{"tag":1}}`: 422, `{"type":1}`: 422, `[]`: 422,
		`type=TAG_PUSH`: 400, ``: 400, strings.Repeat(`{"a":`, 100): 400,
		`{"type":"` + strings.Repeat("x", 1<<20) + `"}`: 413,
	})
}
