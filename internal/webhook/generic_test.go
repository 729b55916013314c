package webhook

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestGenericVerdicts(t *testing.T) {
	tests := []struct {
		name, body string
		want       verdict
	}{
		{"no host", `{"image":"team/app:1"}`, verdict{Repository: "team/app", Tag: "1"}},
		{"one segment", `{"image":"app:1"}`, verdict{Repository: "app", Tag: "1"}},
		{"host", `{"image":"registry.acme.test/team/app:1"}`, verdict{Host: "registry.acme.test", Repository: "team/app", Tag: "1"}},
		{"host in upper case with the default port", `{"image":"Registry.Acme.Test:443/app:1"}`, verdict{Host: "registry.acme.test", Repository: "app", Tag: "1"}},
		{"alias", `{"image":"inner:5000/team/app"}`, verdict{Host: "inner:5000", Repository: "team/app", Tag: "latest"}},
		{"digest", `{"image":"app@` + digestA + `"}`, verdict{Repository: "app", Digest: digestA, Flags: FlagDigestOnly}},
		{"tag and digest", `{"image":"app:1@` + digestA + `"}`, verdict{Repository: "app", Tag: "1", Digest: digestA}},
		{"name and tag", `{"name":"team/app","tag":"1"}`, verdict{Repository: "team/app", Tag: "1"}},
		{"name and digest", `{"name":"team/app","tag":"` + digestA + `"}`, verdict{Repository: "team/app", Digest: digestA, Flags: FlagDigestOnly}},
		{"name alone", `{"name":"inner:5000/app"}`, verdict{Host: "inner:5000", Repository: "app", Tag: "latest"}},
		{"one of several", `{"images":["app:1"]}`, verdict{Repository: "app", Tag: "1"}},
		{"delete", `{"image":"app:1","event":"DELETE"}`, verdict{Repository: "app", Tag: "1"}},
		{"pull", `{"image":"app:1","action":"pull"}`, verdict{Repository: "app", Tag: "1", Ignored: ReasonPull}},
		{"unknown action", `{"image":"app:1","action":"promote"}`, verdict{Repository: "app", Tag: "1", Ignored: ReasonUnknownEvent}},
		{"signature", `{"image":"app:sha256-` + digestA[7:] + `.sig"}`,
			verdict{Repository: "app", Tag: "sha256-" + digestA[7:] + ".sig", Ignored: ReasonSignature}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, verdictOf(parseOne(t, "generic", tt.body))); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
		})
	}
}

// TestGenericHostWithoutDot: a host such as a service's name in a cluster is
// known by being configured.
func TestGenericHostWithoutDot(t *testing.T) {
	e := openEndpoint("generic")
	e.Host = "registry"
	for reference, want := range map[string]verdict{
		"registry/app:1": {Host: "registry", Repository: "app", Tag: "1"},
		"team/app:1":     {Repository: "team/app", Tag: "1"},
	} {
		items, err := parseGeneric(request{endpoint: e, body: []byte(`{"image":"` + reference + `"}`), received: sampleTime})
		if err != nil || len(items) != 1 {
			t.Fatalf("%s: %v", reference, err)
		}
		if diff := cmp.Diff(want, verdictOf(items[0])); diff != "" {
			t.Errorf("%s (-want +got):\n%s", reference, diff)
		}
	}
}

func TestGenericDockerHubShortNames(t *testing.T) {
	e := openEndpoint("generic")
	e.Host = "docker.io"
	for _, reference := range []string{"nginx:1", "docker.io/nginx:1", "index.docker.io/library/nginx:1"} {
		items, err := parseGeneric(request{endpoint: e, body: []byte(`{"image":"` + reference + `"}`), received: sampleTime})
		if err != nil || len(items) != 1 || items[0].Event.Repository != "library/nginx" || items[0].Ignored != "" {
			t.Errorf("%s: %+v, %v", reference, items, err)
		}
	}
}

func TestGenericIdempotencyKey(t *testing.T) {
	key := func(idempotency, body string) string {
		sink := &keeper{}
		post(mustHandler(t, sink, openEndpoint("generic")), "prod", body, "Idempotency-Key", idempotency)
		if items := sink.kept(); len(items) == 1 {
			return items[0].DedupeKey
		}
		t.Fatalf("%s: no item", body)
		return ""
	}
	const image = `{"image":"a/b:1"}`
	if key("k", image) != key("k", image) {
		t.Error("the same key and image are two deliveries")
	}
	for name, other := range map[string]string{
		"another image":      key("k", `{"image":"a/b:2"}`),
		"another action":     key("k", `{"image":"a/b:1","action":"delete"}`),
		"another key":        key("l", image),
		"an empty key":       key("", image),
		"the key of another": key("k\x00", image),
	} {
		if other == key("k", image) {
			t.Errorf("%s is the same delivery", name)
		}
	}
	if key("", image) == key("", image) {
		t.Error("without a key, two requests are one delivery")
	}
}

func TestGenericNeedsNoHeaderMap(t *testing.T) {
	if _, err := parseGeneric(request{endpoint: openEndpoint("generic"), header: http.Header(nil), body: []byte(`{"image":"a:1"}`)}); err != nil {
		t.Error(err)
	}
}
