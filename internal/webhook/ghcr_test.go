package webhook

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// ghcrEvent writes a body around the parts that tests are about.
func ghcrEvent(key, action, about, version string) string {
	return fmt.Sprintf(`{"action":%q,%q:{%s"package_version":{%s}},"sender":{"login":"dev1"}}`, action, key, about, version)
}

func TestGhcrVerdicts(t *testing.T) {
	const (
		container = `"package_type":"CONTAINER",`
		named     = container + `"name":"Api","owner":{"login":"AcmeCorp"},`
		tagged    = `"version":"` + digestA + `","package_url":"ghcr.io/acmecorp/api:1","container_metadata":{"tag":{"name":"1","digest":"` + digestA + `"}}`
	)
	manifest := func(config, layers string) string {
		return `"version":"` + digestA + `","package_url":"ghcr.io/acmecorp/api:1","container_metadata":{"tag":{"name":"1"},"manifest":{"digest":"` + digestA + `",
			"media_type":"application/vnd.oci.image.manifest.v1+json","config":` + config + `,"layers":` + layers + `}}`
	}
	full := verdict{Host: "ghcr.io", Repository: "acmecorp/api", Tag: "1", Digest: digestA}
	with := func(change func(*verdict)) verdict { v := full; change(&v); return v }
	ignored := func(reason string) verdict { return with(func(v *verdict) { v.Ignored = reason }) }
	untagged := with(func(v *verdict) { v.Tag, v.Flags = "", FlagDigestOnly })
	tests := []struct {
		name, action, about, version string
		want                         verdict
	}{
		{"published", "published", container, tagged, full},
		{"updated", "updated", container, tagged, full},
		{"deleted", "deleted", container, tagged, full},
		{"unknown action", "archived", container, tagged, ignored(ReasonUnknownEvent)},
		{"lower-case type", "published", `"package_type":"container",`, tagged, full},
		{"older registry", "published", `"ecosystem":"DOCKER",`, tagged, full},
		{"npm by its type, a container by content", "published", `"package_type":"npm",`, tagged, full},
		{"npm", "published", `"package_type":"NPM","name":"api","owner":{"login":"acmecorp"},`, `"version":"1"`,
			verdict{Repository: "acmecorp/api", Ignored: ReasonArtifact}},
		{"colon without a tag", "published", container, `"version":"` + digestA + `","package_url":"ghcr.io/AcmeCorp/API:"`, untagged},
		{"no colon", "published", container, `"version":"` + digestA + `","package_url":"ghcr.io/AcmeCorp/API"`, untagged},
		{"tag in the URL alone", "published", container, `"version":"` + digestA + `","package_url":"ghcr.io/AcmeCorp/API:1"`, full},
		{"digest in the URL", "published", container, `"version":"` + digestA + `","package_url":"ghcr.io/AcmeCorp/API@` + digestA + `"`, untagged},
		{"digest behind the colon", "published", container, `"package_url":"ghcr.io/acmecorp/api:` + digestA + `"`, untagged},
		{"URL with a scheme", "published", container, `"version":"` + digestA + `","package_url":"https://ghcr.io/acmecorp/api:1"`, full},
		{"deep name", "published", container, `"version":"` + digestA + `","package_url":"ghcr.io/acmecorp/a/b/c:1"`, with(func(v *verdict) { v.Repository = "acmecorp/a/b/c" })},
		{"no URL", "published", named, `"version":"` + digestA + `","container_metadata":{"tag":{"name":"1"}}`, with(func(v *verdict) { v.Host = "" })},
		{"no URL and no owner", "published", container + `"name":"Api","namespace":"AcmeCorp",`, `"name":"` + digestA + `"`,
			with(func(v *verdict) { v.Host, v.Tag, v.Flags = "", "", FlagDigestOnly })},
		{"nothing but a type", "published", container, ``, verdict{Ignored: ReasonBadRepository}},
		{"digest in place of the tag", "published", container, `"package_url":"ghcr.io/acmecorp/api:","container_metadata":{"tag":{"name":"` + digestA + `"}}`, untagged},
		{"the version is a digest and the tag's is cut", "published", container,
			`"version":"` + digestA + `","package_url":"ghcr.io/acmecorp/api:1","container_metadata":{"tag":{"name":"1","digest":"` + digestA[:50] + `"}}`, full},
		{"the version is cut and the manifest's is a digest", "published", container,
			`"version":"` + digestA[:50] + `","package_url":"ghcr.io/acmecorp/api:1","container_metadata":{"manifest":{"digest":"` + digestA + `"}}`, full},
		{"no digest is one", "published", container, `"version":"` + digestA[:50] + `","package_url":"ghcr.io/acmecorp/api:1"`,
			with(func(v *verdict) { v.Digest, v.Flags = "", FlagDigestDropped })},
		{"a version that is no digest", "published", container, `"version":"1.2.3","package_url":"ghcr.io/acmecorp/api:1"`, with(func(v *verdict) { v.Digest = "" })},
		{"image", "published", container, manifest(`{"media_type":"application/vnd.oci.image.config.v1+json"}`, `[{"media_type":"application/vnd.oci.image.layer.v1.tar+gzip"}]`), full},
		{"chart", "published", container, manifest(`{"media_type":"application/vnd.cncf.helm.config.v1+json"}`, `[]`), ignored(ReasonChart)},
		{"attestation", "published", container, manifest(`{}`, `[{"media_type":"application/vnd.in-toto+json"}]`), ignored(ReasonAttestation)},
		{"signature", "published", container, manifest(`{}`, `[{"media_type":"application/vnd.dev.cosign.simplesigning.v1+json"}]`), ignored(ReasonSignature)},
		{"config of another shape", "published", container, manifest(`"x"`, `[7]`), full},
		{"a chart that is deleted", "deleted", container, manifest(`{"media_type":"application/vnd.cncf.helm.config.v1+json"}`, `[]`), full},
		{"another registry", "published", container, `"version":"` + digestA + `","package_url":"evil.test/acmecorp/api:1"`,
			with(func(v *verdict) { v.Host, v.Ignored = "evil.test", ReasonOtherRegistry })},
	}
	for _, tt := range tests {
		for _, key := range []string{"package", "registry_package"} {
			t.Run(tt.name+", "+key, func(t *testing.T) {
				items := itemsOf(t, endpointAt("ghcr", "ghcr.io"), nil, ghcrEvent(key, tt.action, tt.about, tt.version))
				if len(items) != 1 {
					t.Fatalf("%d items", len(items))
				}
				if diff := cmp.Diff(tt.want, verdictOf(items[0])); diff != "" {
					t.Errorf("verdict (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// TestGhcrOtherEvents: GitHub offers two hundred, and a webhook may ask for all.
func TestGhcrOtherEvents(t *testing.T) {
	tests := []struct {
		event, body, action, ignored string
	}{
		{"ping", `{"zen":"Design for failure.","hook_id":1}`, "ping", ReasonPing},
		{"", `{"zen":"Design for failure.","hook_id":1}`, "ping", ReasonPing},
		{"push", `{"ref":"refs/heads/main"}`, "push", ReasonOtherEvent},
		{"workflow_run", `{"action":"completed"}`, "workflow_run", ReasonOtherEvent},
		{"package", `{"action":"published","package":null}`, "package", ReasonUnknownEvent},
		{"", `{}`, "", ReasonUnknownEvent},
	}
	for _, tt := range tests {
		items := itemsOf(t, endpointAt("ghcr", "ghcr.io"), headersOf("X-GitHub-Event", tt.event), tt.body)
		if got := items[0]; string(got.Event.Action) != tt.action || got.Ignored != tt.ignored {
			t.Errorf("%s %s: %q, ignored %q", tt.event, tt.body, got.Event.Action, got.Ignored)
		}
	}
}

// TestGhcrHeadersDoNotDecide: they are not signed, so nobody may turn a push
// that was signed into a ping, or read a form out of a string.
func TestGhcrHeadersDoNotDecide(t *testing.T) {
	body := strings.Replace(ghcrEvent("package", "published", `"package_type":"CONTAINER",`, `"version":"`+digestA+`","package_url":"ghcr.io/a/b:1"`),
		`"dev1"`, `"&payload={\"action\":\"deleted\",\"package\":{\"package_type\":\"CONTAINER\"}}&"`, 1)
	items := itemsOf(t, endpointAt("ghcr", "ghcr.io"),
		headersOf("X-GitHub-Event", "ping", "Content-Type", "application/x-www-form-urlencoded"), body)
	if got := items[0]; got.Event.Action != ActionPush || got.Ignored != "" || got.Event.Tag != "1" {
		t.Errorf("item %+v", got)
	}
}

// TestGhcrSignature: it covers the raw body, and a form as it is.
func TestGhcrSignature(t *testing.T) {
	e := endpointAt("ghcr", "ghcr.io")
	e.Auth = Auth{Kind: AuthHMACSHA256, Secrets: []string{"s3cret"}}
	payload := ghcrEvent("package", "published", `"package_type":"CONTAINER",`, `"version":"`+digestA+`","package_url":"ghcr.io/a/b:1"`)
	form := url.Values{"payload": {payload}}.Encode()
	const formType = "application/x-www-form-urlencoded"
	tests := []struct {
		name, contentType, body, header, signature string
		status                                     int
	}{
		{"JSON", "application/json", payload, "X-Hub-Signature-256", signature("s3cret", payload), 202},
		{"form", formType, form, "X-Hub-Signature-256", signature("s3cret", form), 202},
		{"form with the signature of its payload", formType, form, "X-Hub-Signature-256", signature("s3cret", payload), 401},
		{"no prefix", "application/json", payload, "X-Hub-Signature-256", signature("s3cret", payload)[7:], 401},
		{"no secret, as Gitea sends it", "application/json", payload, "X-Hub-Signature-256", "sha256=", 401},
		{"SHA-1 alone", "application/json", payload, "X-Hub-Signature", "sha1=" + signature("s3cret", payload)[7:47], 401},
		{"in another header", "application/json", payload, "X-Signature", signature("s3cret", payload), 401},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sink := &keeper{}
			w := post(mustHandler(t, sink, e), "prod", tt.body, "Content-Type", tt.contentType, tt.header, tt.signature)
			if w.Code != tt.status || (sink.calls == 1) != (tt.status == http.StatusAccepted) {
				t.Errorf("status %d, want %d: %s", w.Code, tt.status, w.Body)
			}
		})
	}
}

func TestGhcrTimeAndKey(t *testing.T) {
	parse := func(delivery, about, version string) Item {
		return itemsOf(t, endpointAt("ghcr", "ghcr.io"), headersOf("X-GitHub-Delivery", delivery),
			ghcrEvent("package", "updated", `"package_type":"CONTAINER",`+about, `"package_url":"ghcr.io/a/b:1",`+version))[0]
	}
	const old, now = `"2025-01-01T00:00:00Z"`, `"2026-10-05T09:15:27Z"`
	at := time.Date(2026, 10, 5, 9, 15, 27, 0, time.UTC)
	for name, item := range map[string]Item{
		"of the package":             parse("", `"updated_at":`+now+`,`, `"created_at":`+old+`,"updated_at":`+old),
		"of the version's change":    parse("", ``, `"created_at":`+old+`,"updated_at":`+now),
		"of the version's beginning": parse("", ``, `"created_at":`+now+`,"updated_at":"0001-01-01T00:00:00Z"`),
	} {
		if !item.Event.OccurredAt.Equal(at) || !strings.HasPrefix(item.DedupeKey, "event-") {
			t.Errorf("time %s: %v, key %q", name, item.Event.OccurredAt, item.DedupeKey)
		}
	}
	if item := parse("72d3162e", ``, `"created_at":`+now); item.DedupeKey != "id:72d3162e" {
		t.Errorf("key %q", item.DedupeKey)
	}
	if item := parse("", ``, `"created_at":"now"`); item.DedupeKey != "" || !item.Event.OccurredAt.Equal(sampleTime) {
		t.Errorf("without delivery and time: %v, key %q", item.Event.OccurredAt, item.DedupeKey)
	}
}

func TestGhcrRefuses(t *testing.T) {
	checkRefused(t, "ghcr",
		refusal{"array", `[]`, errs.Malformed},
		refusal{"package is a string", `{"package":"api"}`, errs.Malformed},
		refusal{"version is a number", `{"package":{"package_version":{"version":1}}}`, errs.Malformed},
		refusal{"tag is a string", `{"package":{"package_version":{"container_metadata":{"tag":"1"}}}}`, errs.Malformed},
		refusal{"layers are a string", `{"package":{"package_version":{"container_metadata":{"manifest":{"layers":"x"}}}}}`, errs.Malformed},
	)
}

func TestGhcrHostileStrings(t *testing.T) {
	for _, action := range []string{"published", "deleted", "@"} {
		checkHostile(t, endpointAt("ghcr", "ghcr.io"), headersOf("X-GitHub-Delivery", "a\x00b"), ghcrEvent("package", action,
			`"name":"@","namespace":"@","package_type":"CONTAINER","ecosystem":"@","updated_at":"@","owner":{"login":"@"},`,
			`"version":"@","name":"@","created_at":"@","package_url":"@","container_metadata":{"tag":{"name":"@","digest":"@"},
			"manifest":{"digest":"@","media_type":"@","config":{"media_type":"@"},"layers":[{"media_type":"@"}]}}`))
	}
}
