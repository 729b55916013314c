package webhook

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// artifactoryEvent makes a body of the docker domain; data overrides its fields.
func artifactoryEvent(eventType, data string) string {
	return `{"domain":"docker","event_type":"` + eventType + `","jpd_origin":"https://registry.acme.test","data":{` + data + `}}`
}

func TestArtifactoryVerdicts(t *testing.T) {
	const (
		host   = "registry.acme.test"
		sha    = `"sha256":"3f3931e52092c1ae8c738e604b575af7a5db9d0ccffe22348d5e59c7789626b9"`
		common = `"repo_key":"docker-local","image_type":"docker","name":"manifest.json",`
		tagged = common + sha + `,"path":"a/b/1/manifest.json","image_name":"a/b","tag":"1"`
		child  = common + sha + `,"path":"a/b/` + digestA + `/manifest.json","image_name":"a/b","tag":"` + digestA + `"`
	)
	full := verdict{Host: host, Repository: "docker-local/a/b", Tag: "1", Digest: digestA}
	with := func(change func(*verdict)) verdict { v := full; change(&v); return v }
	ignored := func(reason string) verdict { return with(func(v *verdict) { v.Ignored = reason }) }
	untagged := verdict{Host: host, Repository: "docker-local/a/b", Digest: digestA, Flags: FlagDigestOnly}
	tests := []struct {
		name, body string
		want       verdict
	}{
		{"pushed", artifactoryEvent("pushed", tagged), full},
		{"promoted", artifactoryEvent("promoted", tagged), full},
		{"deleted", artifactoryEvent("deleted", tagged), with(func(*verdict) {})},
		{"child of an index", artifactoryEvent("pushed", child), untagged},
		{"deleted child", artifactoryEvent("deleted", child), untagged},
		{"child without a tag field", artifactoryEvent("pushed", strings.Replace(child, `,"tag":"`+digestA+`"`, "", 1)), untagged},
		{"child in a folder written otherwise", artifactoryEvent("pushed", strings.ReplaceAll(child, "sha256:", "sha256__")), untagged},
		{"index", artifactoryEvent("pushed", strings.ReplaceAll(tagged, "manifest.json", "list.manifest.json")),
			with(func(v *verdict) { v.Flags = FlagIndex })},
		{"no tag field", artifactoryEvent("pushed", strings.Replace(tagged, `,"tag":"1"`, "", 1)), full},
		{"no path", artifactoryEvent("pushed", common+sha+`,"image_name":"a/b","tag":"1"`), full},
		{"no file name", artifactoryEvent("pushed", strings.Replace(tagged, `"name":"manifest.json",`, "", 1)), full},
		{"no digest", artifactoryEvent("pushed", strings.Replace(tagged, sha+",", "", 1)), with(func(v *verdict) { v.Digest = "" })},
		{"digest that is none", artifactoryEvent("pushed", strings.Replace(tagged, sha, `"sha256":"xyz"`, 1)),
			with(func(v *verdict) { v.Digest, v.Flags = "", FlagDigestDropped })},
		{"oci", artifactoryEvent("pushed", strings.Replace(tagged, `"docker",`, `"oci",`, 1)), full},
		{"no image type", artifactoryEvent("pushed", strings.Replace(tagged, `"image_type":"docker",`, "", 1)), full},
		{"chart", artifactoryEvent("pushed", strings.Replace(tagged, `"docker",`, `"helmoci",`, 1)), ignored(ReasonChart)},
		{"another image type", artifactoryEvent("pushed", strings.Replace(tagged, `"docker",`, `"huggingfaceml",`, 1)), ignored(ReasonArtifact)},
		{"another file", artifactoryEvent("pushed", strings.ReplaceAll(tagged, "manifest.json", "config.json")),
			with(func(v *verdict) { v.Digest, v.Ignored = "", ReasonBlob })},
		{"path of two parts", artifactoryEvent("pushed", common+sha+`,"path":"1/manifest.json","tag":"1"`),
			verdict{Host: host, Repository: "docker-local/", Tag: "1", Digest: digestA, Ignored: ReasonBadRepository}},
		{"path that climbs", artifactoryEvent("pushed", common+sha+`,"path":"../../etc/1/manifest.json","tag":"1"`),
			verdict{Host: host, Repository: "docker-local/../../etc", Tag: "1", Digest: digestA, Ignored: ReasonBadRepository}},
		{"no image at all", artifactoryEvent("pushed", `"repo_key":"docker-local"`),
			verdict{Host: host, Repository: "docker-local/", Ignored: ReasonBadRepository}},
		{"unknown event", artifactoryEvent("tagged", tagged), ignored(ReasonUnknownEvent)},
		{"inner form", `{"event_type":"pushed",` + tagged + `}`, with(func(v *verdict) { v.Host = "" })},
		{"inner form, data null", `{"event_type":"pushed","data":null,` + tagged + `}`, with(func(v *verdict) { v.Host = "" })},
		{"event type inside alone", `{"domain":"docker","data":{"event_type":"pushed",` + tagged + `}}`, with(func(v *verdict) { v.Host = "" })},
		{"inner form of the artifact domain", `{"event_type":"deployed","repo_key":"docker-local","path":"a/b/1/manifest.json","name":"manifest.json"}`,
			verdict{Repository: "docker-local/a/b", Tag: "1", Ignored: ReasonOtherEvent}},
		{"artifact domain, layer", `{"domain":"artifact","event_type":"deployed","data":{"repo_key":"docker-local","path":"a/b/1/sha256__12","name":"sha256__12"}}`,
			verdict{Repository: "docker-local/a/b", Tag: "1", Ignored: ReasonBlob}},
		{"domain whose data has another shape", `{"domain":"build","event_type":"promoted","data":{"path":["x"]}}`, verdict{Ignored: ReasonOtherEvent}},
		{"origin that is no URL", strings.Replace(artifactoryEvent("pushed", tagged), "https://", "", 1),
			with(func(v *verdict) { v.Host = "" })},
		{"origin of another", strings.Replace(artifactoryEvent("pushed", tagged), "https://registry", "https://evil.test/?registry", 1),
			with(func(v *verdict) { v.Host, v.Ignored = "evil.test", ReasonOtherRegistry })},
		{"nothing", `{}`, verdict{Ignored: ReasonUnknownEvent}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, verdictOf(parseOne(t, "artifactory", tt.body))); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
		})
	}
}

// TestArtifactoryWaysOfAccess: the same event under the ways images can be
// written.
func TestArtifactoryWaysOfAccess(t *testing.T) {
	body := artifactoryEvent("pushed", `"repo_key":"docker-local","path":"a/b/1/manifest.json","name":"manifest.json","tag":"1"`)
	tests := []struct {
		name, host, source, prefix string
		repository, ignored        string
	}{
		{"path access", "registry.acme.test", "", "", "docker-local/a/b", ""},
		{"host of the repository", "docker-local.registry.acme.test", "", "", "a/b", ""},
		{"host of the repository in the cloud", "Registry-docker-local.acme.test:443", "", "", "a/b", ""},
		{"host of the repository, prefix written down", "docker-local.registry.acme.test", "docker-local", PrefixSource, "docker-local/a/b", ""},
		{"host of another repository", "docker-prod.registry.acme.test", "", "", "docker-local/a/b", ReasonOtherRegistry},
		{"path without prefix", "registry.acme.test", "docker-local", PrefixNone, "a/b", ""},
		{"virtual repository", "registry.acme.test", "docker-local", "docker", "docker/a/b", ""},
		{"another repository", "registry.acme.test", "docker-prod", "docker", "docker-local/a/b", ReasonOtherRegistry},
	}
	for _, tt := range tests {
		e := openEndpoint("artifactory")
		e.Host, e.Source, e.RepositoryPrefix = tt.host, tt.source, tt.prefix
		if err := e.Validate(); err != nil {
			t.Fatal(err)
		}
		items, err := parseArtifactory(request{endpoint: e, body: []byte(body), received: sampleTime})
		if err != nil || len(items) != 1 || items[0].Event.Repository != tt.repository || items[0].Ignored != tt.ignored {
			t.Errorf("%s: %+v, %v", tt.name, items, err)
		}
	}
}

// TestArtifactoryClearSecret: without payload signing the header holds the
// secret itself.
func TestArtifactoryClearSecret(t *testing.T) {
	e := openEndpoint("artifactory")
	e.Auth = Auth{Kind: AuthHeader, Header: "X-JFrog-Event-Auth", Secrets: []string{"swordfish"}}
	body := artifactoryEvent("pushed", `"repo_key":"d","path":"a/1/manifest.json","tag":"1"`)
	for secret, want := range map[string]int{"swordfish": 202, "": 401, "swordfis": 401, "swordfish ": 401, strings.TrimPrefix(signature("swordfish", body), "sha256="): 401} {
		if w := post(mustHandler(t, &keeper{}, e), "prod", body, "X-JFrog-Event-Auth", secret); w.Code != want {
			t.Errorf("secret %q: status %d, want %d", secret, w.Code, want)
		}
	}
}

func TestArtifactoryRefuses(t *testing.T) {
	refuses(t, "artifactory", map[string]int{
		`{"domain":"docker","data":"x"}`: 422, `{"domain":"docker","data":{"tag":1}}`: 422, `{"domain":1}`: 422, `[]`: 422, `7`: 422,
		`payload={}`: 400, ``: 400, `{"data":{`: 400, `{"data":` + strings.Repeat(`[`, 100): 400,
		`{"source":"` + strings.Repeat("x", 1<<20) + `"}`: 413,
	})
}
