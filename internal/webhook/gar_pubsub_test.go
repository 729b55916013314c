package webhook

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// pubsub wraps data as a push subscription does.
func pubsub(data string) string {
	return fmt.Sprintf(`{"message":{"data":%q,"messageId":"7","publishTime":"2026-10-05T09:15:27.749Z"},"subscription":"projects/p/subscriptions/s"}`,
		base64.StdEncoding.EncodeToString([]byte(data)))
}

func TestGARVerdicts(t *testing.T) {
	const host, name = "europe-docker.pkg.dev", "acme/payments/api"
	is := func(tag, digest, flags, ignored string) verdict {
		return verdict{host, name, tag, digest, flags, ignored}
	}
	tests := []struct {
		name, data string
		action     Action
		want       verdict
	}{
		{"tag and digest", `{"action":"INSERT","digest":"europe-docker.pkg.dev/acme/payments/api@` + digestA + `","tag":"europe-docker.pkg.dev/acme/payments/api:1"}`, ActionPush, is("1", digestA, "", "")},
		{"digest", `{"action":"INSERT","digest":"europe-docker.pkg.dev/acme/payments/api@` + digestA + `"}`, ActionPush, is("", digestA, FlagDigestOnly, "")},
		{"new tag on an image", `{"action":"INSERT","tag":"europe-docker.pkg.dev/acme/payments/api:1"}`, ActionPush, is("1", "", "", "")},
		{"delete of an image", `{"action":"DELETE","digest":"europe-docker.pkg.dev/acme/payments/api@` + digestA + `"}`, ActionDelete, is("", digestA, FlagDigestOnly, "")},
		{"delete of a tag", `{"action":"DELETE","tag":"europe-docker.pkg.dev/acme/payments/api:1"}`, ActionDelete, is("1", "", "", "")},
		{"delete of a tag, with its digest", `{"action":"DELETE","digest":"europe-docker.pkg.dev/acme/payments/api@` + digestA + `","tag":"europe-docker.pkg.dev/acme/payments/api:1"}`, ActionDelete, is("1", digestA, "", "")},
		{"digest that is too short", `{"action":"INSERT","digest":"europe-docker.pkg.dev/acme/payments/api@sha256:12"}`, ActionPush, is("", "", FlagDigestDropped, ReasonNoReference)},
		{"host alone", `{"action":"INSERT","tag":"europe-docker.pkg.dev"}`, ActionPush, verdict{Host: host, Ignored: ReasonBadRepository}},
		{"another word", `{"action":"insert","tag":"europe-docker.pkg.dev/acme/payments/api:1"}`, "insert", is("1", "", "", ReasonUnknownEvent)},
		{"no references", `{"action":"INSERT"}`, ActionPush, verdict{Ignored: ReasonNoReference}},
		{"two repositories", `{"action":"INSERT","digest":"europe-docker.pkg.dev/acme/payments/api@` + digestA + `","tag":"europe-docker.pkg.dev/acme/other:1"}`, ActionPush, is("1", digestA, "", ReasonMalformed)},
		{"two hosts", `{"action":"INSERT","digest":"europe-docker.pkg.dev/acme/payments/api@` + digestA + `","tag":"evil.test/acme/payments/api:1"}`, ActionPush, is("1", digestA, "", ReasonMalformed)},
		{"another host", `{"action":"INSERT","tag":"us-docker.pkg.dev/acme/payments/api:1"}`, ActionPush, verdict{"us-docker.pkg.dev", name, "1", "", "", ReasonOtherRegistry}},
		{"something else in the topic", `{"kind":"build"}`, "", verdict{Ignored: ReasonUnknownEvent}},
		{"text in the topic", `hello`, "", verdict{Ignored: ReasonMalformed}},
		{"wrong type", `{"action":7}`, "", verdict{Ignored: ReasonMalformed}},
		{"nothing", ``, "", verdict{Ignored: ReasonMalformed}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for how, body := range map[string]string{"wrapped": pubsub(tt.data), "unwrapped": tt.data} {
				header := headersOf("X-Goog-Pubsub-Message-Id", "7", "X-Goog-Pubsub-Publish-Time", "2026-10-05T09:15:27.749Z")
				if how == "wrapped" {
					header = nil
				}
				items := itemsOf(t, endpointAt("gar-pubsub", host), header, body)
				if len(items) != 1 {
					t.Fatalf("%s: %d items", how, len(items))
				}
				if diff := cmp.Diff(tt.want, verdictOf(items[0])); diff != "" {
					t.Errorf("%s: verdict (-want +got):\n%s", how, diff)
				}
				e := items[0].Event
				if e.Action != tt.action || e.EventID != "7" || items[0].DedupeKey != "id:7" || e.OccurredAt != parseTime("2026-10-05T09:15:27.749Z") {
					t.Errorf("%s: %+v, key %s", how, e, items[0].DedupeKey)
				}
			}
		})
	}
}

// TestGARRefused: only what Pub/Sub would never send is refused, since it sends
// the same for a week.
func TestGARRefused(t *testing.T) {
	checkRefused(t, "gar-pubsub",
		refusal{"array", `[]`, errs.Malformed},
		refusal{"message is no object", `{"message":"x"}`, errs.Malformed},
		refusal{"message is null", `{"message":null}`, errs.Malformed},
		refusal{"data is no string", `{"message":{"data":{}}}`, errs.Malformed},
	)
}

func TestGARKeys(t *testing.T) {
	e := endpointAt("gar-pubsub", "gcr.io")
	key := func(body string) string { return itemsOf(t, e, nil, body)[0].DedupeKey }
	body := pubsub(`{"action":"INSERT","tag":"gcr.io/a/b:1"}`)
	noID := strings.Replace(body, `"messageId":"7",`, "", 1)
	if key(body) != "id:7" || key(strings.Replace(body, "messageId", "message_id", 1)) != "id:7" {
		t.Errorf("keys %q", key(body))
	}
	if key(noID) != key(noID) || !strings.HasPrefix(key(noID), "event-") {
		t.Errorf("key %q of a message without an id", key(noID))
	}
	if got := key(`{"action":"INSERT","tag":"gcr.io/a/b:1"}`); got != "" {
		t.Errorf("key %q of data alone, which has neither id nor time", got)
	}
}

func TestGARHostile(t *testing.T) {
	e := endpointAt("gar-pubsub", "gcr.io")
	checkHostile(t, e, nil, `{"action":"INSERT","digest":"@","tag":"@"}`)
	checkHostile(t, e, nil, `{"action":"@","tag":"gcr.io/a/b:1"}`)
	checkHostile(t, e, nil, `{"message":{"data":"@","messageId":"@","publishTime":"@"},"subscription":"@"}`)
}
