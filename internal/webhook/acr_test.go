package webhook

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

func TestAcrVerdicts(t *testing.T) {
	const tagged = `"repository":"a/b","tag":"1","digest":"` + digestA + `"`
	full := verdict{Host: "registry.acme.test", Repository: "a/b", Tag: "1", Digest: digestA}
	with := func(change func(*verdict)) verdict { v := full; change(&v); return v }
	ignored := func(reason string) verdict { return with(func(v *verdict) { v.Ignored = reason }) }
	tests := []struct {
		name, action, target, host string
		want                       verdict
	}{
		{"push", "push", tagged, "registry.acme.test", full},
		{"no tag", "push", `"repository":"a/b","digest":"` + digestA + `"`, "registry.acme.test", with(func(v *verdict) { v.Tag, v.Flags = "", FlagDigestOnly })},
		{"empty tag", "push", `"repository":"a/b","tag":"","digest":"` + digestA + `"`, "registry.acme.test", with(func(v *verdict) { v.Tag, v.Flags = "", FlagDigestOnly })},
		{"index", "push", tagged + `,"mediaType":"application/vnd.oci.image.index.v1+json"`, "registry.acme.test", with(func(v *verdict) { v.Flags = FlagIndex })},
		{"delete", "delete", `"repository":"a/b","digest":"` + digestA + `"`, "registry.acme.test", with(func(v *verdict) { v.Tag, v.Flags = "", FlagDigestOnly })},
		{"quarantine", "quarantine", tagged, "registry.acme.test", with(func(v *verdict) { v.Flags = FlagQuarantine })},
		{"quarantine without tag", "quarantine", `"repository":"a/b","digest":"` + digestA + `"`, "registry.acme.test",
			with(func(v *verdict) { v.Tag, v.Flags = "", FlagDigestOnly+" "+FlagQuarantine })},
		{"upper case", "PUSH", tagged, "REGISTRY.acme.test", full},
		{"chart", "chart_push", tagged, "registry.acme.test", ignored(ReasonChart)},
		{"chart deleted", "chart_delete", tagged, "registry.acme.test", ignored(ReasonChart)},
		{"chart by its media type", "push", tagged + `,"mediaType":"application/vnd.acr.helm.chart"`, "registry.acme.test", ignored(ReasonChart)},
		{"ping", "ping", "", "", verdict{Ignored: ReasonPing}},
		{"unknown", "soft_delete", tagged, "registry.acme.test", ignored(ReasonUnknownEvent)},
		{"no action", "", tagged, "registry.acme.test", ignored(ReasonUnknownEvent)},
		{"no host", "push", tagged, "", with(func(v *verdict) { v.Host = "" })},
		{"another registry", "push", tagged, "evil.azurecr.io", with(func(v *verdict) { v.Host, v.Ignored = "evil.azurecr.io", ReasonOtherRegistry })},
		{"metadata service", "push", tagged, "169.254.169.254", with(func(v *verdict) { v.Host, v.Ignored = "169.254.169.254", ReasonOtherRegistry })},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body := `{"id":"1","action":"` + tt.action + `","target":{` + tt.target + `},"request":{"host":"` + tt.host + `"}}`
			if diff := cmp.Diff(tt.want, verdictOf(parseOne(t, "acr", body))); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
		})
	}
}

// TestAcrKeys: nobody promises that the quarantine of an image and its push have
// different ids, and the second must not pass for a repetition.
func TestAcrKeys(t *testing.T) {
	key := func(id, action, at string) string {
		return parseOne(t, "acr", `{"id":"`+id+`","action":"`+action+`","timestamp":"`+at+`","target":{"repository":"a/b","tag":"1"}}`).DedupeKey
	}
	const at = "2026-10-05T09:15:27Z"
	if key("1", "push", at) != key("1", "push", at) || key("", "push", at) != key("", "push", at) {
		t.Error("the same event twice is two deliveries")
	}
	if key("1", "push", at) == key("1", "quarantine", at) || key("1", "push", at) == key("2", "push", at) || key("", "push", at) == key("", "delete", at) {
		t.Error("two events are one delivery")
	}
	if key("", "push", "yesterday") != "" {
		t.Error("without id and time there is a key")
	}
}

// TestAcrContentType: operators set any, and it changes nothing.
func TestAcrContentType(t *testing.T) {
	for _, contentType := range []string{"text/plain", "application/x-www-form-urlencoded", "", "image/png; x=\""} {
		w := post(mustHandler(t, &keeper{}, openEndpoint("acr")), "prod", `{"id":"1","action":"push","target":{"repository":"a/b","tag":"1"}}`, "Content-Type", contentType)
		if w.Code != 202 {
			t.Errorf("%q: status %d: %s", contentType, w.Code, w.Body)
		}
	}
}

func TestAcrRefuses(t *testing.T) {
	checkRefused(t, "acr",
		refusal{"array", `[]`, errs.Malformed},
		refusal{"target is a string", `{"action":"push","target":"a/b:1"}`, errs.Malformed},
		refusal{"action is a number", `{"action":1}`, errs.Malformed},
		refusal{"tag is a list", `{"action":"push","target":{"tag":["1","2"]}}`, errs.Malformed},
	)
}

func TestAcrHostileStrings(t *testing.T) {
	checkHostile(t, openEndpoint("acr"), nil,
		`{"id":"@","action":"push","timestamp":"@","target":{"mediaType":"@","digest":"@","repository":"@","tag":"@"},"request":{"host":"@"},"actor":{"name":"@"}}`)
	checkHostile(t, openEndpoint("acr"), nil, `{"id":"@","action":"@"}`)
}
