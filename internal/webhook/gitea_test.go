package webhook

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

func giteaEvent(action, about string) string {
	return fmt.Sprintf(`{"action":%q,"repository":null,"package":{%s},"sender":{"login":"ci"}}`, action, about)
}

func TestGiteaVerdicts(t *testing.T) {
	const (
		named   = `"type":"container","name":"App","owner":{"login":"Team"},"version":"v1.0"`
		page    = `,"html_url":"https://registry.acme.test/Team/-/packages/container/app/v1.0"`
		digests = `"type":"container","name":"app","owner":{"login":"Team"},"version":"` + digestA + `"` + page
	)
	full := verdict{Host: "registry.acme.test", Repository: "team/app", Tag: "v1.0"}
	with := func(change func(*verdict)) verdict { v := full; change(&v); return v }
	untagged := with(func(v *verdict) { v.Tag, v.Digest, v.Flags = "", digestA, FlagDigestOnly })
	ignored := func(reason string) verdict { return with(func(v *verdict) { v.Ignored = reason }) }
	tests := []struct {
		name, action, about string
		want                verdict
	}{
		{"created", "created", named + page, full},
		{"deleted tag", "deleted", named + page, full},
		{"created by digest", "created", digests, untagged},
		{"deleted by digest", "deleted", digests, untagged},
		{"unknown action", "renamed", named + page, ignored(ReasonUnknownEvent)},
		{"below a path", "created", named + `,"html_url":"https://registry.acme.test/git/Team/-/packages/container/app/v1.0"`, full},
		{"port", "created", named + `,"html_url":"http://inner:5000/Team/-/packages/container/app/v1.0"`, with(func(v *verdict) { v.Host = "inner:5000" })},
		{"no page", "created", named, with(func(v *verdict) { v.Host = "" })},
		{"another registry", "created", named + `,"html_url":"https://evil.test/Team/-/packages/container/app/v1.0"`,
			with(func(v *verdict) { v.Host, v.Ignored = "evil.test", ReasonOtherRegistry })},
		{"nested name", "created", `"type":"container","name":"a/b","owner":{"login":"Team"},"version":"v1.0"` + page, with(func(v *verdict) { v.Repository = "team/a/b" })},
		{"npm", "created", `"type":"npm","name":"app","owner":{"login":"Team"},"version":"v1.0"` + page, ignored(ReasonArtifact)},
		{"Helm", "created", `"type":"helm","name":"app","owner":{"login":"Team"},"version":"v1.0"` + page, ignored(ReasonChart)},
		{"no owner", "created", `"type":"container","name":"app","version":"v1.0"` + page, with(func(v *verdict) { v.Repository, v.Ignored = "", ReasonBadRepository })},
		{"owner null", "created", `"type":"container","name":"app","owner":null,"version":"v1.0"` + page, with(func(v *verdict) { v.Repository, v.Ignored = "", ReasonBadRepository })},
		{"no version", "created", `"type":"container","name":"app","owner":{"login":"team"}` + page, with(func(v *verdict) { v.Tag, v.Ignored = "", ReasonNoReference })},
		{"referrers fallback tag", "created", `"type":"container","name":"app","owner":{"login":"team"},"version":"sha256-` + digestA[7:] + `"` + page,
			with(func(v *verdict) { v.Tag, v.Ignored = "sha256-"+digestA[7:], ReasonSignature })},
	}
	for _, tt := range tests {
		for _, format := range []string{"gitea", "forgejo"} {
			t.Run(tt.name+", "+format, func(t *testing.T) {
				if diff := cmp.Diff(tt.want, verdictOf(parseOne(t, format, giteaEvent(tt.action, tt.about)))); diff != "" {
					t.Errorf("verdict (-want +got):\n%s", diff)
				}
			})
		}
	}
}

func TestGiteaOtherEvents(t *testing.T) {
	tests := []struct{ event, body, ignored string }{
		{"push", `{"ref":"refs/heads/main"}`, ReasonOtherEvent},
		{"repository", `{"action":"created","repository":{"name":"app"}}`, ReasonOtherEvent},
		{"package", `{"action":"created","package":null}`, ReasonUnknownEvent},
		{"", `{}`, ReasonUnknownEvent},
	}
	for _, tt := range tests {
		items := itemsOf(t, openEndpoint("gitea"), headersOf("X-Gitea-Event", tt.event), tt.body)
		if got := items[0]; string(got.Event.Action) != tt.event || got.Ignored != tt.ignored {
			t.Errorf("%s %s: %q, ignored %q", tt.event, tt.body, got.Event.Action, got.Ignored)
		}
	}
}

// TestGiteaSignature: the sender signs the JSON, also when it sends a form.
func TestGiteaSignature(t *testing.T) {
	e := openEndpoint("gitea")
	e.Auth = Auth{Kind: AuthHMACSHA256, Secrets: []string{"s3cret"}}
	payload := giteaEvent("created", `"type":"container","name":"app","owner":{"login":"team"},"version":"1"`)
	other := giteaEvent("deleted", `"type":"container","name":"app","owner":{"login":"team"},"version":"1"`)
	form := url.Values{"payload": {payload}}.Encode()
	sign := func(s string) string { return signature("s3cret", s)[len("sha256="):] }
	const formType, header = "application/x-www-form-urlencoded", "X-Gitea-Signature"
	tests := []struct {
		name, contentType, body, header, signature string
		status                                     int
	}{
		{"JSON", "application/json", payload, header, sign(payload), 202},
		{"form, signed payload", formType, form, header, sign(payload), 202},
		{"form, signed form", formType, form, header, sign(form), 202},
		{"form with another payload", formType, url.Values{"payload": {other}}.Encode(), header, sign(payload), 401},
		{"form with two payloads", formType, form + "&" + url.Values{"payload": {other}}.Encode(), header, sign(payload), 401},
		{"form without a payload", formType, "x=1", header, sign(""), 401},
		{"form said to be JSON", "application/json", form, header, sign(payload), 401},
		{"empty", "application/json", payload, header, "", 401},
		{"GitHub's header", "application/json", payload, "X-Hub-Signature-256", signature("s3cret", payload), 401},
		{"with GitHub's prefix", "application/json", payload, header, signature("s3cret", payload), 401},
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

// TestGiteaAuthorization: the webhook's Authorization header is checked whatever
// the body is, before it is read.
func TestGiteaAuthorization(t *testing.T) {
	e := openEndpoint("gitea")
	e.Auth = Auth{Kind: AuthBearer, Secrets: []string{"s3cret"}}
	body := url.Values{"payload": {giteaEvent("created", `"type":"container","name":"app","owner":{"login":"team"},"version":"1"`)}}.Encode()
	for token, status := range map[string]int{"s3cret": 202, "other": 401} {
		w := post(mustHandler(t, &keeper{}, e), "prod", body, "Content-Type", "application/x-www-form-urlencoded", "Authorization", "Bearer "+token)
		if w.Code != status {
			t.Errorf("%s: status %d: %s", token, w.Code, w.Body)
		}
	}
}

// TestGiteaTimeAndKey: created_at of a delete is when the version was made, and
// would let the delete seem older than the push it follows.
func TestGiteaTimeAndKey(t *testing.T) {
	parse := func(delivery, action, created string) Item {
		return itemsOf(t, openEndpoint("gitea"), headersOf("X-Gitea-Delivery", delivery),
			giteaEvent(action, `"type":"container","name":"app","owner":{"login":"team"},"version":"1","created_at":"`+created+`"`))[0]
	}
	const at = "2026-10-05T09:15:27Z"
	created, deleted := parse("", "created", at), parse("", "deleted", at)
	if !created.Event.OccurredAt.Equal(time.Date(2026, 10, 5, 9, 15, 27, 0, time.UTC)) || !deleted.Event.OccurredAt.Equal(sampleTime) {
		t.Errorf("created at %v, deleted at %v", created.Event.OccurredAt, deleted.Event.OccurredAt)
	}
	if created.DedupeKey == "" || created.DedupeKey == deleted.DedupeKey || created.DedupeKey != parse("", "created", at).DedupeKey {
		t.Errorf("keys %q and %q", created.DedupeKey, deleted.DedupeKey)
	}
	if created.DedupeKey == parse("", "created", "2026-10-05T09:15:28Z").DedupeKey {
		t.Error("overwriting a tag is the same delivery")
	}
	if key := parse("5e0c", "created", at).DedupeKey; key != "id:5e0c" {
		t.Errorf("key %q", key)
	}
	if key := parse("", "created", "").DedupeKey; key != "" {
		t.Errorf("key %q without delivery and time", key)
	}
}

func TestGiteaRefuses(t *testing.T) {
	checkRefused(t, "gitea",
		refusal{"array", `[]`, errs.Malformed},
		refusal{"package is a string", `{"package":"api"}`, errs.Malformed},
		refusal{"version is a number", `{"package":{"version":1}}`, errs.Malformed},
		refusal{"owner is a string", `{"package":{"owner":"team"}}`, errs.Malformed},
	)
}

func TestGiteaHostileStrings(t *testing.T) {
	for _, action := range []string{"created", "deleted", "@"} {
		checkHostile(t, openEndpoint("gitea"), headersOf("X-Gitea-Delivery", "a\x00b", "X-Gitea-Event", "\x1b[2J"),
			giteaEvent(action, `"type":"container","name":"@","version":"@","html_url":"@","created_at":"@","owner":{"login":"@"},"creator":{"login":"@"}`))
	}
}
