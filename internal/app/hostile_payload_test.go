package app_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/image"
)

// recorder is a host that payloads name and nobody may ask.
type recorder struct {
	*httptest.Server
	mu   sync.Mutex
	seen []string
}

func record(t *testing.T) *recorder {
	t.Helper()
	r := &recorder{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.seen = append(r.seen, fmt.Sprintf("%s %s with %q", req.Method, req.URL, req.Header.Get("Authorization")))
		w.Header().Set("WWW-Authenticate", `Basic realm="give it to me"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *recorder) host() string { return strings.TrimPrefix(r.URL, "http://") }

// places are ways to name a recorder, and hosts whose answers are worth stealing.
func (r *recorder) places() []string {
	port := r.host()[strings.LastIndexByte(r.host(), ':'):]
	return []string{
		r.host(), "localhost" + port, "[::1]" + port, "127.1" + port, "robot:secret@" + r.host(), r.host() + "/x", r.host() + "#",
		"169.254.169.254", "[fd00:ec2::254]", "metadata.google.internal", "0.0.0.0" + port, "docker.io", "evil.example",
	}
}

func (r *recorder) checkSilence(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, line := range r.seen {
		t.Errorf("a host that a payload named was asked: %s", line)
	}
}

// senders configures registries whose endpoints take the formats harbor and
// generic, both served by the local registry, and another registry, with a
// credential, that the recorder plays.
func senders(other *recorder) option {
	return func(c *config.Config) {
		for _, format := range []string{"harbor", "generic"} {
			r := c.Registries[0]
			r.Name, r.Endpoint, r.Host, r.Aliases = format, r.Host, format+".example", nil
			r.Auth = config.RegistryAuth{Username: "robot", Password: "secret of " + config.Secret(format)}
			r.Webhook.Format = format
			if format == "harbor" {
				r.Webhook.Auth.Kind = "header"
				r.Webhook.Auth.Header = "Authorization"
				r.Webhook.Auth.Secrets = []config.Secret{"Bearer " + secret}
			}
			c.Registries = append(c.Registries, r)
		}
		vault := c.Registries[0]
		vault.Name, vault.Host, vault.Aliases = "vault", other.host(), []string{"vault.example"}
		vault.Auth = config.RegistryAuth{Username: "robot", Password: "secret of vault"}
		vault.Webhook = config.Webhook{}
		vault.Reconcile.Interval = 0
		c.Registries = append(c.Registries, vault)
	}
}

// payload says in one format that host holds repository with a tag and digest.
type payload struct {
	endpoint, contentType string
	body                  func(host, repository, tag string, digest v1.Hash) string
}

// payloads name the host wherever a format has a place for one.
var payloads = map[string]payload{
	"distribution": {"local", "application/vnd.docker.distribution.events.v2+json", func(host, repository, tag string, digest v1.Hash) string {
		return fmt.Sprintf(`{"events":[{"id":%q,"action":"push","target":{"mediaType":%q,"digest":%q,"repository":%q,"tag":%q,"url":"http://%s/v2/%s/manifests/%s","urls":["http://%s/"]},
			"request":{"host":%q,"addr":%q},"source":{"addr":%q}}]}`,
			host+repository+tag+digest.Hex, image.MediaTypeOCIManifest, digest.String(), repository, tag, host, repository, digest.String(), host, host, host, host)
	}},
	"harbor": {"harbor", "application/json", func(host, repository, tag string, digest v1.Hash) string {
		return fmt.Sprintf(`{"type":"PUSH_ARTIFACT","operator":"x","event_data":{"resources":[{"digest":%q,"tag":%q,"resource_url":"%s/%s:%s"}],"repository":{"repo_full_name":%q,"name":%q}}}`,
			digest.String(), tag, host, repository, tag, repository, repository)
	}},
	"generic": {"generic", "application/json", func(host, repository, tag string, digest v1.Hash) string {
		return fmt.Sprintf(`{"image":"%s/%s:%s@%s","registry":%q,"url":"http://%s/"}`, host, repository, tag, digest.String(), host, host)
	}},
}

func TestNoPayloadChoosesWhereWeConnect(t *testing.T) {
	elsewhere, vault := record(t), record(t)
	s := start(t, senders(vault), holding(0, 0))
	secretImage := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("5", 64)}
	for name, p := range payloads {
		for i, host := range append(elsewhere.places(), vault.host(), "vault.example") {
			status, answer := s.post(p.endpoint, "Bearer "+secret, p.contentType, p.body(host, "vault/secret", fmt.Sprint("t", i), secretImage))
			if status == http.StatusUnauthorized || status >= 500 {
				t.Errorf("%s naming %s: %d %s", name, host, status, answer)
			}
		}
		for _, repository := range []string{"../../" + elsewhere.host() + "/x", elsewhere.host() + "/x", "//" + elsewhere.host() + "/x", "x?y=http://" + elsewhere.host(), "x@" + elsewhere.host()} {
			status, answer := s.post(p.endpoint, "Bearer "+secret, p.contentType, p.body(s.hostOf(p.endpoint), repository, "1", secretImage))
			if status == http.StatusUnauthorized || status >= 500 {
				t.Errorf("%s with repository %s: %d %s", name, repository, status, answer)
			}
		}
	}
	s.pushed(withNPM(t, "lodash", "4.17.15"), "demo/shop", "1")
	elsewhere.checkSilence(t)
	vault.checkSilence(t)
	if n := s.count(`scan s JOIN repository r ON r.id = s.repository_id JOIN registry g ON g.id = r.registry_id WHERE g.name = 'vault'`); n != 0 {
		t.Errorf("%d scans of another registry were asked for by its neighbours", n)
	}
	if n := s.count(`scan WHERE state = 'done'`); n != 1 {
		t.Errorf("%d scans succeeded, want that of the true push\n%s", n, s.scans())
	}
}

// hostOf is what references call the registry of an endpoint.
func (s *service) hostOf(endpoint string) string {
	if endpoint == "local" {
		return s.registry.Host()
	}
	return endpoint + ".example"
}

// A digest is known from repository A. Whoever may announce pushes of B must not
// read what A's image is made of.
func TestADigestIsNotLinkedToARepositoryThatDoesNotHoldIt(t *testing.T) {
	for name, p := range payloads {
		t.Run(name, func(t *testing.T) {
			vault := record(t)
			s := start(t, senders(vault), holding(0, 0))
			digest := s.pushed(vulnerable(t), "team/a", "1.0")
			s.pushed(withNPM(t, "left-pad", "1.3.0"), "team/b", "own")
			for _, tag := range []string{"1.0", "own", ""} {
				body := p.body(s.hostOf(p.endpoint), "team/b", tag, digest)
				if tag == "" {
					body = strings.NewReplacer(`"tag":""`, `"tag":"`+digest.String()+`"`, ":@", "@", `team/b:"`, `team/b@`+digest.String()+`"`).Replace(body)
				}
				if status, answer := s.post(p.endpoint, "Bearer "+secret, p.contentType, body); status != http.StatusAccepted {
					t.Fatalf("tag %q: %d %s", tag, status, answer)
				}
			}
			s.until(`count(*) >= 2 FROM scan c JOIN repository r ON r.id = c.repository_id WHERE r.name = 'team/b' AND c.state = 'failed' AND c.reason = 'not_found'`)
			s.until(`NOT EXISTS (SELECT 1 FROM scan WHERE state IN ('queued', 'running'))`)
			if n := s.count(`repository_manifest x JOIN repository r ON r.id = x.repository_id JOIN manifest m ON m.id = x.manifest_id
				WHERE r.name = 'team/b' AND m.digest = $1 AND x.presence = 'present'`, digest.String()); n != 0 {
				t.Error("the digest counts as part of the repository")
			}
			if n := s.count(`tag t JOIN repository r ON r.id = t.repository_id JOIN manifest m ON m.id = t.manifest_id
				WHERE r.name = 'team/b' AND m.digest = $1`, digest.String()); n != 0 {
				t.Error("a tag of the repository points to it")
			}
			ref := s.hostOf(p.endpoint) + "/team/b@" + digest.String()
			var img, page struct {
				State, Reason, Answer    string
				Counts, Platforms, Items any
			}
			// The last scan of it failed for it, or found again that it is not there.
			if status := s.get("/api/v1/image?ref="+ref, &img); status != http.StatusNotFound && (img.State != "failed" || img.Reason != "not_found" || img.Answer != "none" || img.Counts != nil) {
				t.Errorf("the repository's answer for the digest is %d %+v", status, img)
			}
			if status := s.get("/api/v1/findings?ref="+ref, &page); status != http.StatusNotFound && (page.Answer != "none" || page.Counts != nil || fmt.Sprint(page.Items) != "[]") {
				t.Errorf("the repository's findings for the digest are %d %+v", status, page)
			}
			if n := s.count(`repository_finding f JOIN repository r ON r.id = f.repository_id WHERE r.name = 'team/b' AND f.vulnerability = 'CVE-2021-44228'`); n != 0 {
				t.Errorf("%d findings of the other repository's image", n)
			}
			vault.checkSilence(t)
		})
	}
}
