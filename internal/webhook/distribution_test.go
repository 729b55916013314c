package webhook

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// verdict is what a test looks at: the host, what was named and what was decided.
type verdict struct{ Host, Repository, Tag, Digest, Flags, Ignored string }

func verdictOf(i Item) verdict {
	return verdict{i.Event.Host, i.Event.Repository, i.Event.Tag, string(i.Event.Digest), strings.Join(i.Event.Flags, " "), i.Ignored}
}

func parseOne(t *testing.T, format, body string) Item {
	t.Helper()
	f, _ := findFormat(format)
	items, err := f.parse(request{endpoint: openEndpoint(format), body: []byte(body), received: sampleTime})
	if err != nil {
		t.Fatal(err)
	}
	if len(items) != 1 {
		t.Fatalf("%d items", len(items))
	}
	return items[0]
}

func TestDistributionVerdicts(t *testing.T) {
	const (
		manifest = `"mediaType":"application/vnd.oci.image.manifest.v1+json"`
		layer    = `{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip"}`
		config   = `{"mediaType":"application/vnd.oci.image.config.v1+json"}`
		helm     = `{"mediaType":"application/vnd.cncf.helm.config.v1+json"}`
		inToto   = `{"mediaType":"application/vnd.in-toto+json"}`
		cosign   = `{"mediaType":"application/vnd.dev.cosign.simplesigning.v1+json"}`
		tagged   = `"repository":"a/b","tag":"1","digest":"` + digestA + `"`
		untagged = `"repository":"a/b","digest":"` + digestA + `"`
	)
	full := verdict{Repository: "a/b", Tag: "1", Digest: digestA}
	with := func(v verdict, change func(*verdict)) verdict { change(&v); return v }
	host := func(h string) verdict { return with(full, func(v *verdict) { v.Host = h }) }
	ignored := func(reason string) verdict { return with(full, func(v *verdict) { v.Ignored = reason }) }
	tests := []struct {
		name, action, target, host string
		want                       verdict
	}{
		{"no host at all", "push", tagged, "", full},
		{"request host only", "delete", tagged, "registry.acme.test", host("registry.acme.test")},
		{"upper case and the default port", "push", tagged, "Registry.ACME.test:443", host("registry.acme.test")},
		{"alias", "push", tagged, "inner:5000", host("inner:5000")},
		{"another port is another host", "push", tagged, "registry.acme.test:5000",
			with(host("registry.acme.test:5000"), func(v *verdict) { v.Ignored = ReasonOtherRegistry })},
		{"url before request host", "push", tagged + `,"url":"https://registry.acme.test/v2/a/b/manifests/x"`, "10.0.0.7:5000", host("registry.acme.test")},
		{"url of another registry", "push", tagged + `,"url":"https://evil.test/v2/a/b/manifests/x"`, "registry.acme.test",
			with(host("evil.test"), func(v *verdict) { v.Ignored = ReasonOtherRegistry })},
		{"url that hides a host", "push", tagged + `,"url":"https://registry.acme.test@evil.test/v2/a/b/manifests/x"`, "",
			with(host("evil.test"), func(v *verdict) { v.Ignored = ReasonOtherRegistry })},
		{"proxy without X-Forwarded-Proto", "push", tagged + `,"url":"http://registry.acme.test:443/v2/a/b/manifests/x"`, "", host("registry.acme.test")},
		{"relative url", "push", tagged + `,"url":"/v2/a/b/manifests/x"`, "inner:5000", host("inner:5000")},
		{"blob by url", "push", tagged + `,"url":"https://registry.acme.test/v2/a/b/blobs/sha256:1"`, "",
			with(host("registry.acme.test"), func(v *verdict) { v.Ignored = ReasonBlob })},
		{"repository called blobs", "push", `"repository":"blobs/x","tag":"1","url":"https://registry.acme.test/v2/blobs/x/manifests/1"`, "",
			verdict{Host: "registry.acme.test", Repository: "blobs/x", Tag: "1"}},
		{"blob by media type", "push", untagged + `,"mediaType":"application/octet-stream"`, "",
			verdict{Repository: "a/b", Digest: digestA, Flags: FlagDigestOnly, Ignored: ReasonBlob}},
		{"layer by media type", "push", tagged + `,"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip"`, "", ignored(ReasonBlob)},
		{"config by media type", "push", tagged + `,"mediaType":"application/vnd.docker.container.image.v1+json"`, "", ignored(ReasonBlob)},
		{"pull", "pull", tagged, "", ignored(ReasonPull)},
		{"mount", "mount", tagged, "", ignored(ReasonMount)},
		{"unknown action", "rename", tagged, "", ignored(ReasonUnknownEvent)},
		{"no action", "", tagged, "", ignored(ReasonUnknownEvent)},
		{"image with references", "push", tagged + "," + manifest + `,"references":[` + config + "," + layer + `]`, "", full},
		{"chart by its references", "push", tagged + "," + manifest + `,"references":[` + helm + `]`, "", ignored(ReasonChart)},
		{"chart by its media type", "push", tagged + `,"mediaType":"application/vnd.acr.helm.chart"`, "", ignored(ReasonChart)},
		{"attestation by its references", "push", untagged + "," + manifest + `,"references":[` + config + "," + inToto + `]`, "",
			verdict{Repository: "a/b", Digest: digestA, Flags: FlagDigestOnly, Ignored: ReasonAttestation}},
		{"signature by its references", "push", tagged + "," + manifest + `,"references":[` + config + "," + cosign + `]`, "", ignored(ReasonSignature)},
		{"referrers fallback tag", "push", `"repository":"a/b","tag":"sha256-` + digestA[7:] + `"`, "",
			verdict{Repository: "a/b", Tag: "sha256-" + digestA[7:], Ignored: ReasonSignature}},
		{"manifest list", "push", tagged + `,"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json"`, "",
			with(full, func(v *verdict) { v.Flags = FlagIndex })},
		{"untagged index", "push", untagged + `,"mediaType":"application/vnd.oci.image.index.v1+json"`, "",
			verdict{Repository: "a/b", Digest: digestA, Flags: FlagIndex + " " + FlagDigestOnly}},
		{"digest of 60 digits", "push", `"repository":"a/b","tag":"1","digest":"` + digestA[:67] + `"`, "",
			verdict{Repository: "a/b", Tag: "1", Flags: FlagDigestDropped}},
		{"only a bad digest", "push", `"repository":"a/b","digest":"sha256:x"`, "",
			verdict{Repository: "a/b", Flags: FlagDigestDropped, Ignored: ReasonNoReference}},
		{"bad tag with a digest", "push", `"repository":"a/b","tag":"-x","digest":"` + digestA + `"`, "",
			verdict{Repository: "a/b", Digest: digestA, Flags: FlagDigestOnly}},
		{"long tag", "push", `"repository":"a/b","tag":"` + strings.Repeat("a", 129) + `"`, "",
			verdict{Repository: "a/b", Ignored: ReasonNoReference}},
		{"digest in place of the tag", "push", `"repository":"a/b","tag":"` + digestA + `"`, "",
			verdict{Repository: "a/b", Digest: digestA, Flags: FlagDigestOnly}},
		{"nothing named", "push", `"repository":"a/b"`, "", verdict{Repository: "a/b", Ignored: ReasonNoReference}},
		{"no repository", "push", `"tag":"1"`, "", verdict{Tag: "1", Ignored: ReasonBadRepository}},
		{"repository in upper case", "push", `"repository":"A/b","tag":"1"`, "", verdict{Repository: "A/b", Tag: "1", Ignored: ReasonBadRepository}},
		{"repository that climbs", "push", `"repository":"../../x","tag":"1"`, "", verdict{Repository: "../../x", Tag: "1", Ignored: ReasonBadRepository}},
		{"repository with NUL", "push", `"repository":"a/b\u0000","tag":"1"`, "", verdict{Repository: "a/b", Tag: "1", Ignored: ReasonBadRepository}},
		{"long repository", "push", `"repository":"` + strings.Repeat("a", 256) + `","tag":"1"`, "",
			verdict{Repository: strings.Repeat("a", 255), Tag: "1", Ignored: ReasonBadRepository}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body := `{"events":[{"id":"1","action":"` + tt.action + `","target":{` + tt.target + `},"request":{"host":"` + tt.host + `"}}]}`
			if diff := cmp.Diff(tt.want, verdictOf(parseOne(t, "distribution", body))); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
		})
	}
}

// TestDistributionOneBadEventOfABatch: a refused request would come for ever.
func TestDistributionOneBadEventOfABatch(t *testing.T) {
	sink := &keeper{}
	w := post(mustHandler(t, sink, openEndpoint("distribution")), "prod", `{"events":[
		{"id":7,"action":"push","target":{"repository":"a/b","tag":"1"}},
		{"id":"2","action":"push","target":{"repository":"a/b","tag":"2"}},
		"x"]}`)
	var got []string
	for _, i := range sink.kept() {
		got = append(got, i.Event.Tag+" "+i.Ignored)
	}
	if diff := cmp.Diff([]string{" malformed", "2 ", " malformed"}, got); diff != "" || w.Code != 202 {
		t.Errorf("status %d, items (-want +got):\n%s", w.Code, diff)
	}
}

func TestDistributionIgnoresTheActorsToken(t *testing.T) {
	item := parseOne(t, "distribution", `{"events":[{"id":"1","action":"push","target":{"repository":"a/b","tag":"1"},
		"actor":{"name":"dev1","user_type":"build","user":"eyJ0b2tlbiI6InNlY3JldCJ9"}}]}`)
	if item.Event.Actor != "dev1" {
		t.Errorf("actor %q", item.Event.Actor)
	}
}
