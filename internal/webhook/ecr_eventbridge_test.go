package webhook

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

const ecrName = "444455556666.dkr.ecr.eu-west-1.amazonaws.com"

// ecrBody is an event of EventBridge about an image; detail are further members.
func ecrBody(detailType, detail string) string {
	return fmt.Sprintf(`{"version":"0","id":"e1","detail-type":%q,"source":"aws.ecr","account":"444455556666","time":"2026-10-05T09:15:27Z",
		"region":"eu-west-1","resources":[],"detail":{"repository-name":"team/app",%s}}`, detailType, detail)
}

func TestECRVerdicts(t *testing.T) {
	image := func(detail string) string { return ecrBody("ECR Image Action", detail) }
	is := func(tag, digest, flags, ignored string) verdict {
		return verdict{ecrName, "team/app", tag, digest, flags, ignored}
	}
	const success = `"result":"SUCCESS","action-type":"PUSH"`
	tests := []struct {
		name, body string
		want       verdict
	}{
		{"push", image(success + `,"image-tag":"1","image-digest":"` + digestA + `"`), is("1", digestA, "", "")},
		{"no result, as a transformer may leave it", image(`"action-type":"PUSH","image-tag":"1"`), is("1", "", "", "")},
		{"empty tag", image(success + `,"image-tag":"","image-digest":"` + digestA + `"`), is("", digestA, FlagDigestOnly, "")},
		{"digest as tag", image(success + `,"image-tag":"` + digestA + `"`), is("", digestA, FlagDigestOnly, "")},
		{"the documentation's digest of 60 digits", image(success + `,"image-tag":"1","image-digest":"` + digestA[:67] + `"`), is("1", "", FlagDigestDropped, "")},
		{"the same without a tag", image(success + `,"image-digest":"` + digestA[:67] + `"`), is("", "", FlagDigestDropped, ReasonNoReference)},
		{"delete of a tag", image(`"result":"SUCCESS","action-type":"DELETE","image-tag":"1","image-digest":"` + digestA + `"`), is("1", digestA, "", "")},
		{"delete of a manifest", image(`"result":"SUCCESS","action-type":"DELETE","image-digest":"` + digestA + `"`), is("", digestA, FlagDigestOnly, "")},
		{"failure", image(`"result":"FAILURE","action-type":"PUSH","image-tag":"1"`), is("1", "", "", ReasonOtherEvent)},
		{"another action", image(`"result":"SUCCESS","action-type":"COPY","image-tag":"1"`), is("1", "", "", ReasonUnknownEvent)},
		{"archived", image(`"result":"SUCCESS","action-type":"UPDATE_STORAGE_CLASS","image-tag":"1"`), is("1", "", "", ReasonOtherEvent)},
		{"replicated", ecrBody("ECR Replication Action", `"result":"SUCCESS","action-type":"REPLICATE","image-tag":"1"`), is("1", "", "", "")},
		{"SBOM", ecrBody("ECR Referrer Action", success+`,"image-digest":"`+digestA+`"`), is("", digestA, FlagDigestOnly, ReasonReferrer)},
		{"scan", ecrBody("ECR Image Scan", `"image-tags":["1"]`), is("", "", "", ReasonOtherEvent)},
		{"something new", ecrBody("ECR Whatever", `"image-tag":"1"`), is("1", "", "", ReasonUnknownEvent)},
		{"something new of another shape", strings.Replace(ecrBody("ECR Whatever", `"x":1`), `"detail":{`, `"detail":[],"x":{`, 1), verdict{Host: ecrName, Ignored: ReasonUnknownEvent}},
		{"no event", `{}`, verdict{Ignored: ReasonUnknownEvent}},
		{"attestation", image(success + `,"image-tag":"sha256-` + digestA[7:] + `.att"`), is("sha256-"+digestA[7:]+".att", "", "", ReasonSignature)},
		{"OCI manifest that tells no type", image(success + `,"image-tag":"1","manifest-media-type":"application/vnd.oci.image.manifest.v1+json"`), is("1", "", "", "")},
		{"CloudEvent of another type", `{"specversion":"1.0","id":"1","type":"dev.cdevents.artifact.published","source":"x","data":[]}`, verdict{Ignored: ReasonUnknownEvent}},
		{"CloudEvent that names the registry by its source", `{"specversion":"1.0","type":"com.amazon.ecr.push","source":"urn:aws:ecr:eu-west-1:444455556666:repository/team/app","data":{"imageTag":"1"}}`, is("1", "", "", "")},
		{"CloudEvent that names the image by its subject", `{"specversion":"1.0","type":"com.amazon.ecr.push","source":"urn:aws:ecr:eu-west-1:444455556666","subject":"team/app:1","data":{}}`, is("1", "", "", "")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			items := itemsOf(t, endpointAt("ecr-eventbridge", ecrName), nil, tt.body)
			if len(items) != 1 {
				t.Fatalf("%d items", len(items))
			}
			if diff := cmp.Diff(tt.want, verdictOf(items[0])); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
		})
	}
}

// TestECRHostIsMadeOfAccountAndRegion: repository names have dots as well, and
// are not taken for hosts.
func TestECRHostIsMadeOfAccountAndRegion(t *testing.T) {
	body := strings.ReplaceAll(ecrBody("ECR Image Action", `"result":"SUCCESS","action-type":"PUSH","image-tag":"1"`), "team/app", "evil.test/app")
	for name, tt := range map[string]struct {
		host, change string
		want         verdict
	}{
		"ours":            {ecrName, "", verdict{Host: ecrName, Repository: "evil.test/app", Tag: "1"}},
		"another region":  {strings.Replace(ecrName, "eu-west-1", "eu-west-2", 1), "", verdict{ecrName, "evil.test/app", "1", "", "", ReasonOtherRegistry}},
		"another account": {strings.Replace(ecrName, "4", "5", 1), "", verdict{ecrName, "evil.test/app", "1", "", "", ReasonOtherRegistry}},
		"China": {"444455556666.dkr.ecr.cn-north-1.amazonaws.com.cn", "cn-north-1",
			verdict{Host: "444455556666.dkr.ecr.cn-north-1.amazonaws.com.cn", Repository: "evil.test/app", Tag: "1"}},
		"no region": {ecrName, "evil.test/", verdict{"", "evil.test/app", "1", "", "", ReasonMalformed}},
	} {
		changed := body
		if tt.change != "" {
			changed = strings.Replace(body, "eu-west-1", tt.change, 1)
		}
		if diff := cmp.Diff(tt.want, verdictOf(itemsOf(t, endpointAt("ecr-eventbridge", tt.host), nil, changed)[0])); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestECRKeys(t *testing.T) {
	key := func(body string) string {
		return itemsOf(t, endpointAt("ecr-eventbridge", ecrName), nil, body)[0].DedupeKey
	}
	body := ecrBody("ECR Image Action", `"action-type":"PUSH","image-tag":"1"`)
	if got := key(body); got != "id:e1" {
		t.Errorf("key %q", got)
	}
	noID := strings.Replace(body, `"id":"e1",`, "", 1)
	if key(noID) != key(noID) || key(noID) == key(strings.Replace(noID, `"1"`, `"2"`, 1)) || !strings.HasPrefix(key(noID), "event-") {
		t.Errorf("keys of an event without an id do not follow its content: %q", key(noID))
	}
	if got := key(strings.Replace(noID, `"time":"2026-10-05T09:15:27Z",`, "", 1)); got != "" {
		t.Errorf("key %q of an event with neither id nor time", got)
	}
}

func TestECREventBridgeRefused(t *testing.T) {
	checkRefused(t, "ecr-eventbridge",
		refusal{"id is no string", `{"id":1}`, errs.Malformed},
		refusal{"detail is no object", strings.Replace(ecrBody("ECR Image Action", `"a":1`), `"detail":{`, `"detail":[],"x":{`, 1), errs.Malformed},
		refusal{"tag is no string", ecrBody("ECR Image Action", `"action-type":"PUSH","image-tag":1`), errs.Malformed},
		refusal{"data is no object", `{"specversion":"1.0","type":"com.amazon.ecr.push","data":7}`, errs.Malformed},
		refusal{"too many", "[" + strings.TrimSuffix(strings.Repeat(`{},`, maxEvents+1), ",") + "]", errs.Malformed},
	)
}

func TestECRHostile(t *testing.T) {
	e := endpointAt("ecr-eventbridge", ecrName)
	checkHostile(t, e, nil, `{"id":"@","detail-type":"ECR Image Action","source":"aws.ecr","account":"@","region":"@","time":"@",
		"detail":{"result":"SUCCESS","action-type":"PUSH","repository-name":"@","image-tag":"@","image-digest":"@","manifest-media-type":"@","artifact-media-type":"@"}}`)
	checkHostile(t, e, nil, `{"specversion":"1.0","id":"@","type":"com.amazon.ecr.push","source":"@","subject":"@","time":"@",
		"data":{"repositoryName":"@","imageDigest":"@","imageTag":"@","registryId":"@"}}`)
}
