package webhook

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/image"
)

// parseZotEvent parses one event of a type in binary mode.
func parseZotEvent(t *testing.T, eventType, body string) Item {
	t.Helper()
	r := request{endpoint: openEndpoint("zot"), body: []byte(body), received: sampleTime,
		header: headersOf("Ce-Type", eventType, "Ce-Id", "1", "Ce-Source", "zotregistry.dev", "Ce-Specversion", "1.0")}
	items, err := parseZot(r)
	if err != nil || len(items) != 1 {
		t.Fatalf("%d items, %v", len(items), err)
	}
	return items[0]
}

func TestZotTypes(t *testing.T) {
	const data = `{"name":"a/b","reference":"1","digest":"` + digestA + `"}`
	full := verdict{Repository: "a/b", Tag: "1", Digest: digestA}
	ignored := func(reason string) verdict { v := full; v.Ignored = reason; return v }
	tests := []struct {
		eventType string
		action    Action
		want      verdict
	}{
		{"zotregistry.image.updated", ActionPush, full},
		{"com.acme.registry.image.updated", ActionPush, full},
		{"image.updated", ActionPush, full},
		{"zotregistry.image.deleted", ActionDelete, full},
		{"zotregistry.image.lint_failed", "zotregistry.image.lint_failed", ignored(ReasonOtherEvent)},
		{"zotregistry.image.scanned", "zotregistry.image.scanned", ignored(ReasonOtherEvent)},
		{"zotregistry.repository.created", "zotregistry.repository.created", ignored(ReasonOtherEvent)},
		{"zotregistry.image.updated.v2", "zotregistry.image.updated.v2", ignored(ReasonUnknownEvent)},
		{"updated", "updated", ignored(ReasonUnknownEvent)},
	}
	for _, tt := range tests {
		item := parseZotEvent(t, tt.eventType, data)
		if diff := cmp.Diff(tt.want, verdictOf(item)); diff != "" || item.Event.Action != tt.action {
			t.Errorf("%s: action %q, verdict (-want +got):\n%s", tt.eventType, item.Event.Action, diff)
		}
	}
}

// TestZotManifests: what is in the event tells images from the rest.
func TestZotManifests(t *testing.T) {
	const (
		layer  = `{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip"}`
		config = `"config":{"mediaType":"application/vnd.oci.image.config.v1+json"}`
	)
	tests := []struct{ name, manifest, ignored string }{
		{"image", `{` + config + `,"layers":[` + layer + `]}`, ""},
		{"image without layers", `{` + config + `}`, ""},
		{"none", ``, ""},
		{"not JSON", `{`, ""},
		{"not an object", `[]`, ""},
		{"another shape", `{"config":7}`, ""},
		{"very deep", strings.Repeat(`{"a":`, 5000), ""},
		{"index", `{"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`, ""},
		{"subject that is null", `{` + config + `,"layers":[` + layer + `],"subject":null}`, ""},
		{"referrer", `{"config":{"mediaType":"application/vnd.oci.empty.v1+json"},"layers":[{"mediaType":"application/spdx+json"}],"subject":{"digest":"` + digestA + `"}}`, ReasonReferrer},
		{"chart", `{"config":{"mediaType":"application/vnd.cncf.helm.config.v1+json"}}`, ReasonChart},
		{"attestation", `{` + config + `,"layers":[{"mediaType":"application/vnd.in-toto+json"}]}`, ReasonAttestation},
		{"signature", `{` + config + `,"layers":[{"mediaType":"application/vnd.dev.cosign.simplesigning.v1+json"}]}`, ReasonSignature},
		{"model", `{"config":{"mediaType":"application/vnd.example.model"}}`, ReasonArtifact},
		{"artifact by its type", `{"artifactType":"text/plain","config":{"mediaType":"application/vnd.oci.empty.v1+json"}}`, ReasonArtifact},
		{"WASM", `{"config":{"mediaType":"application/vnd.wasm.config.v0+json"}}`, ReasonArtifact},
	}
	for _, tt := range tests {
		data, err := json.Marshal(map[string]string{
			"name": "a/b", "reference": "1", "digest": digestA, "mediaType": image.MediaTypeOCIManifest, "manifest": tt.manifest,
		})
		if err != nil {
			t.Fatal(err)
		}
		if item := parseZotEvent(t, "zotregistry.image.updated", string(data)); item.Ignored != tt.ignored {
			t.Errorf("%s: %q, want %q", tt.name, item.Ignored, tt.ignored)
		}
	}
}

func TestZotInOtherModes(t *testing.T) {
	const data = `"data":{"name":"a/b","reference":"1","digest":"` + digestA + `"}`
	structured := `{"specversion":"1.0","id":"1","type":"zotregistry.image.updated",` + data + `}`
	want := verdict{Repository: "a/b", Tag: "1", Digest: digestA}
	if diff := cmp.Diff(want, verdictOf(parseOne(t, "zot", structured))); diff != "" {
		t.Errorf("structured (-want +got):\n%s", diff)
	}
	sink := &keeper{}
	w := post(mustHandler(t, sink, openEndpoint("zot")), "prod", `[`+structured+`,{"type":"zotregistry.image.updated","data":{"name":7}},7]`)
	var got []string
	for _, i := range sink.kept() {
		got = append(got, i.Event.Repository+" "+i.Ignored)
	}
	if diff := cmp.Diff([]string{"a/b ", " malformed", " malformed"}, got); diff != "" || w.Code != 202 {
		t.Errorf("batch: status %d (-want +got):\n%s", w.Code, diff)
	}
}

func TestZotKeys(t *testing.T) {
	item := func(id string) Item {
		r := request{endpoint: openEndpoint("zot"), body: []byte(`{"name":"a","reference":"1"}`), received: sampleTime,
			header: headersOf("Ce-Type", "zotregistry.image.updated", "Ce-Id", id, "Ce-Source", "zotregistry.dev")}
		items, err := parseZot(r)
		if err != nil || len(items) != 1 {
			t.Fatalf("%d items, %v", len(items), err)
		}
		return items[0]
	}
	if item("1").DedupeKey != item("1").DedupeKey || item("1").DedupeKey == item("2").DedupeKey || item("").DedupeKey != "" {
		t.Error("the key is not that of Ce-Id")
	}
	if item("1").Event.EventID != "1" {
		t.Errorf("event id %q", item("1").Event.EventID)
	}
}

func TestZotRefuses(t *testing.T) {
	h := mustHandler(t, &keeper{}, openEndpoint("zot"))
	for body, want := range map[string]int{
		`{"name":["a"]}`: 422, `{"actor":"ci"}`: 422, `7`: 422, ``: 422, `name=a`: 400, `{"name":`: 400, strings.Repeat(`{"a":`, 100): 400,
		`{"manifest":"` + strings.Repeat("x", 1<<20) + `"}`: 413,
	} {
		if w := post(h, "prod", body, "Ce-Type", "zotregistry.image.updated", "Ce-Id", "1"); w.Code != want {
			t.Errorf("%.60s: status %d, want %d: %s", body, w.Code, want, w.Body)
		}
	}
	refuses(t, "zot", map[string]int{``: 400, `name=a`: 400, `{"specversion":"1.0","type":7}`: 422})
}
