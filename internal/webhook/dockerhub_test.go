package webhook

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

func TestDockerhubVerdicts(t *testing.T) {
	full := verdict{Host: "docker.io", Repository: "acme/api", Tag: "1"}
	with := func(change func(*verdict)) verdict { v := full; change(&v); return v }
	const push, repository = `"push_data":{"tag":"1"}`, `"repository":{"repo_name":"acme/api"}`
	tests := []struct {
		name, body string
		want       verdict
	}{
		{"push", push + `,` + repository, full},
		{"namespace and name", push + `,"repository":{"namespace":"acme","name":"api"}`, full},
		{"official image", push + `,"repository":{"repo_name":"redis"}`, with(func(v *verdict) { v.Repository = "library/redis" })},
		{"name only", push + `,"repository":{"name":"redis"}`, with(func(v *verdict) { v.Repository = "library/redis" })},
		{"no repository", push, with(func(v *verdict) { v.Repository, v.Ignored = "", ReasonBadRepository })},
		{"no tag", `"push_data":{},` + repository, with(func(v *verdict) { v.Tag, v.Ignored = "", ReasonNoReference })},
		{"null", `"push_data":null,` + repository, with(func(v *verdict) { v.Tag, v.Ignored = "", ReasonUnknownEvent })},
		{"nothing", `"x":1`, verdict{Host: "docker.io", Ignored: ReasonUnknownEvent}},
		{"layer ids are no digests", `"push_data":{"tag":"1","images":["` + digestA + `"]},` + repository, full},
		{"chart", `"push_data":{"tag":"1","media_type":"application/vnd.cncf.helm.config.v1+json"},` + repository, with(func(v *verdict) { v.Ignored = ReasonChart })},
		{"page of Docker Hub", push + `,"repository":{"repo_name":"acme/api","repo_url":"https://registry.hub.docker.com/u/acme/api/"}`, full},
		{"page of a registry that copies the format", push + `,"repository":{"repo_name":"acme/api","repo_url":"https://hub.docker.com.evil.test/r/acme/api"}`,
			with(func(v *verdict) { v.Host, v.Ignored = "hub.docker.com.evil.test", ReasonOtherRegistry })},
		{"page with a user that looks like Docker Hub", push + `,"repository":{"repo_name":"acme/api","repo_url":"https://hub.docker.com@evil.test/"}`,
			with(func(v *verdict) { v.Host, v.Ignored = "evil.test", ReasonOtherRegistry })},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			items := itemsOf(t, endpointAt("dockerhub", "index.docker.io"), nil, "{"+tt.body+"}")
			if len(items) != 1 {
				t.Fatalf("%d items", len(items))
			}
			if diff := cmp.Diff(tt.want, verdictOf(items[0])); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
		})
	}
}

// TestDockerhubOfAnotherRegistry: an endpoint that is not Docker Hub's does not
// take its events for its own.
func TestDockerhubOfAnotherRegistry(t *testing.T) {
	item := parseOne(t, "dockerhub", `{"push_data":{"tag":"1"},"repository":{"repo_name":"acme/api"}}`)
	if item.Ignored != ReasonOtherRegistry || item.Event.Host != "docker.io" {
		t.Errorf("item %+v", item)
	}
}

// TestDockerhubTime reads every way in which seconds were seen (hub-feedback#2131).
func TestDockerhubTime(t *testing.T) {
	sent := time.Date(2014, 12, 3, 0, 22, 41, 0, time.UTC)
	tests := []struct {
		pushedAt string
		want     time.Time
		once     bool
	}{
		{`1417566161`, sent, false},
		{`1.417566161e+09`, sent, false},
		{`1417566161.0`, sent, false},
		{`"1417566161"`, sent, false},
		{`1417566161.5`, sent.Add(500 * time.Millisecond), false},
		{`null`, sampleTime, true},
		{`0`, sampleTime, true},
		{`-1`, sampleTime, true},
		{`1e400`, sampleTime, true},
		{`"NaN"`, sampleTime, true},
		{`{"a":1}`, sampleTime, true},
		{`1417566161000`, sampleTime, true}, // milliseconds are not seconds
	}
	for _, tt := range tests {
		items := itemsOf(t, endpointAt("dockerhub", "docker.io"), nil,
			`{"push_data":{"tag":"1","pushed_at":`+tt.pushedAt+`},"repository":{"repo_name":"acme/api"}}`)
		if got := items[0]; !got.Event.OccurredAt.Equal(tt.want) || (got.DedupeKey == "") != tt.once {
			t.Errorf("%s: at %v, key %q", tt.pushedAt, got.Event.OccurredAt, got.DedupeKey)
		}
	}
}

// TestDockerhubDoubles: six calls for one push are one delivery, the next push
// of the tag is another (hub-feedback#2148).
func TestDockerhubDoubles(t *testing.T) {
	key := func(tag, at, callback string) string {
		return itemsOf(t, endpointAt("dockerhub", "docker.io"), nil, `{"callback_url":"https://registry.hub.docker.com/`+callback+`",
			"push_data":{"tag":"`+tag+`","pushed_at":`+at+`},"repository":{"repo_name":"acme/api"}}`)[0].DedupeKey
	}
	if key("1", "1417566161", "a") != key("1", "1.417566161e+09", "b") {
		t.Error("two calls for one push are two deliveries")
	}
	if key("1", "1417566161", "a") == key("1", "1417566162", "a") || key("1", "1417566161", "a") == key("2", "1417566161", "a") {
		t.Error("two pushes are one delivery")
	}
}

func TestDockerhubRefuses(t *testing.T) {
	checkRefused(t, "dockerhub",
		refusal{"array", `[]`, errs.Malformed},
		refusal{"tag is a number", `{"push_data":{"tag":1}}`, errs.Malformed},
		refusal{"push_data is a list", `{"push_data":[]}`, errs.Malformed},
		refusal{"repository is a string", `{"push_data":{"tag":"1"},"repository":"acme/api"}`, errs.Malformed},
	)
}

func TestDockerhubHostileStrings(t *testing.T) {
	checkHostile(t, endpointAt("dockerhub", "docker.io"), nil,
		`{"callback_url":"@","push_data":{"tag":"@","pusher":"@","media_type":"@","pushed_at":"@"},
		"repository":{"repo_name":"@","namespace":"@","name":"@","repo_url":"@"}}`)
}
