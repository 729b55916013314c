package webhook

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

func quayVerdicts(t *testing.T, body string) []verdict {
	t.Helper()
	var all []verdict
	for _, item := range itemsOf(t, openEndpoint("quay"), nil, body) {
		all = append(all, verdictOf(item))
		if item.DedupeKey != "" {
			t.Errorf("key %q of a body that has neither id nor time", item.DedupeKey)
		}
	}
	return all
}

func TestQuayVerdicts(t *testing.T) {
	const repository = `"repository":"ns/app","docker_url":"registry.acme.test/ns/app"`
	tag := func(tag, ignored string) verdict {
		return verdict{Host: "registry.acme.test", Repository: "ns/app", Tag: tag, Ignored: ignored}
	}
	tests := []struct {
		name, body string
		want       []verdict
	}{
		{"every tag, not only the first", repository + `,"updated_tags":["1","2","latest"]`, []verdict{tag("1", ""), tag("2", ""), tag("latest", "")}},
		{"tags as keys", repository + `,"updated_tags":{"b":"x","a":{}}`, []verdict{tag("a", ""), tag("b", "")}},
		{"no tags", repository + `,"updated_tags":[]`, []verdict{tag("", ReasonNoReference)}},
		{"no tags as keys", repository + `,"updated_tags":{}`, []verdict{tag("", ReasonNoReference)}},
		{"tags null", repository + `,"updated_tags":null`, []verdict{tag("", ReasonUnknownEvent)}},
		{"one bad tag", repository + `,"updated_tags":["1",{"a":1},"2"]`, []verdict{tag("1", ""), tag("", ReasonMalformed), tag("2", "")}},
		{"vulnerability", repository + `,"tags":["1"],"vulnerability":{"id":"CVE-2026-1"}`, []verdict{tag("", ReasonOtherEvent)}},
		{"vulnerabilities", repository + `,"tags":["1"],"vulnerabilities":[{"id":"CVE-2026-1"}]`, []verdict{tag("", ReasonOtherEvent)}},
		{"build", repository + `,"build_id":"b","docker_tags":["1"]`, []verdict{tag("", ReasonOtherEvent)}},
		{"mirror", repository + `,"message":"TEST NOTIFICATION"`, []verdict{tag("", ReasonOtherEvent)}},
		{"expiry", repository + `,"tags":["1"],"expiring_in":"7 days"`, []verdict{tag("", ReasonOtherEvent)}},
		{"a template of one's own", `"text":"ns/app was pushed"`, []verdict{{Ignored: ReasonUnknownEvent}}},
		{"namespace and name", `"namespace":"ns","name":"app","docker_url":"registry.acme.test/ns/app","updated_tags":["1"]`, []verdict{tag("1", "")}},
		{"url only", `"docker_url":"registry.acme.test/ns/app","updated_tags":["1"]`, []verdict{tag("1", "")}},
		{"no url", `"repository":"ns/app","updated_tags":["1"]`, []verdict{{Repository: "ns/app", Tag: "1"}}},
		{"url without a host", `"repository":"ns/app","docker_url":"ns/app","updated_tags":["1"]`, []verdict{{Repository: "ns/app", Tag: "1"}}},
		{"url with a scheme", `"repository":"ns/app","docker_url":"https://registry.acme.test/ns/app","updated_tags":["1"]`, []verdict{tag("1", "")}},
		{"port", `"repository":"ns/app","docker_url":"inner:5000/ns/app","updated_tags":["1"]`, []verdict{{Host: "inner:5000", Repository: "ns/app", Tag: "1"}}},
		{"another registry", `"repository":"ns/app","docker_url":"evil.test/ns/app","updated_tags":["1"]`,
			[]verdict{{Host: "evil.test", Repository: "ns/app", Tag: "1", Ignored: ReasonOtherRegistry}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, quayVerdicts(t, "{"+tt.body+"}")); diff != "" {
				t.Errorf("verdicts (-want +got):\n%s", diff)
			}
		})
	}
}

// TestQuayIsNeverRefusedOtherEvents: three refusals switch the notification off.
func TestQuayIsNeverRefusedOtherEvents(t *testing.T) {
	h := mustHandler(t, &keeper{}, openEndpoint("quay"))
	for range 4 {
		for _, body := range []string{`{}`, `{"message":"x"}`, `{"vulnerability":{}}`, `{"build_id":1}`, `{"updated_tags":[]}`, `{"event":"new in Quay 4"}`} {
			if w := post(h, "prod", body); w.Code != 202 {
				t.Errorf("%s: status %d: %s", body, w.Code, w.Body)
			}
		}
	}
}

func TestQuayRefuses(t *testing.T) {
	tags := strings.TrimSuffix(strings.Repeat(`"1",`, maxEvents+1), ",")
	var keys []string
	for i := range maxEvents + 1 {
		keys = append(keys, fmt.Sprintf(`"t%d":""`, i))
	}
	checkRefused(t, "quay",
		refusal{"array", `[]`, errs.Malformed},
		refusal{"repository is a number", `{"repository":7,"updated_tags":["1"]}`, errs.Malformed},
		refusal{"tags are a string", `{"updated_tags":"latest"}`, errs.Malformed},
		refusal{"tags are true", `{"updated_tags":true}`, errs.Malformed},
		refusal{"too many tags", `{"updated_tags":[` + tags + `]}`, errs.Malformed},
		refusal{"too many tags as keys", `{"updated_tags":{` + strings.Join(keys, ",") + `}}`, errs.Malformed},
	)
}

func TestQuayHostileStrings(t *testing.T) {
	checkHostile(t, openEndpoint("quay"), nil,
		`{"name":"@","namespace":"@","repository":"@","docker_url":"@","updated_tags":["@",["@"],{"@":"@"}]}`)
	checkHostile(t, openEndpoint("quay"), nil, `{"repository":"a/b","updated_tags":{"@":"@"}}`)
}
