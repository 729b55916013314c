package app_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/image"
)

// post sends a webhook body to a registry's endpoint.
func (s *service) post(registry, authorization, contentType, body string) (int, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url+"/webhooks/"+registry, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", authorization)
	req.Header.Set("Content-Type", contentType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

// event tells of a push or delete as Distribution does.
func (s *service) event(action, repository, tag string, digest v1.Hash) {
	s.t.Helper()
	body := fmt.Sprintf(`{"events":[{"id":"test-%d","timestamp":%q,"action":%q,"target":{"mediaType":%q,"digest":%q,"repository":%q,"tag":%q},"request":{"host":%q}}]}`,
		time.Now().UnixNano(), time.Now().UTC().Format(time.RFC3339Nano), action, image.MediaTypeOCIManifest, digest.String(), repository, tag, s.registry.Host())
	if status, answer := s.post("local", "Bearer "+secret, "application/vnd.docker.distribution.events.v2+json", body); status != http.StatusAccepted {
		s.t.Fatalf("event: %d %s", status, answer)
	}
}

// deleteTag deletes at the registry, which tells of it.
func (s *service) deleteTag(repository, tag string) {
	s.t.Helper()
	ref, err := name.NewTag(s.registry.Host()+"/"+repository+":"+tag, name.Insecure)
	if err == nil {
		err = remote.Delete(ref)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func TestBadRequestsToTheReceiverChangeNothing(t *testing.T) {
	s := start(t)
	const events = "application/vnd.docker.distribution.events.v2+json"
	good := `{"events":[]}`
	for _, c := range []struct {
		name, registry, authorization, body string
		want                                int
	}{
		{"wrong secret", "local", "Bearer wrong", good, http.StatusUnauthorized},
		{"no secret", "local", "", good, http.StatusUnauthorized},
		{"empty secret", "local", "Bearer ", good, http.StatusUnauthorized},
		{"5 MB body", "local", "Bearer " + secret, `{"events":[` + strings.Repeat(" ", 5<<20) + `]}`, http.StatusRequestEntityTooLarge},
		{"invalid JSON", "local", "Bearer " + secret, `{"events":[`, http.StatusBadRequest},
		{"unknown endpoint", "elsewhere", "Bearer " + secret, good, http.StatusNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			if status, answer := s.post(c.registry, c.authorization, events, c.body); status != c.want {
				t.Errorf("%d %s, want %d", status, answer, c.want)
			}
		})
	}
	if n := s.count("delivery") + s.count("scan"); n != 0 {
		t.Errorf("%d rows were written", n)
	}
	s.pushed(withNPM(t, "lodash", "4.17.15"), "demo/shop", "1")
}

func TestWhatIsNotThereFailsWithItsReason(t *testing.T) {
	s := start(t)
	missing := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("0", 64)}
	s.event("push", "demo/ghost", "never", v1.Hash{})
	s.event("push", "demo/ghost", "", missing)
	s.until(`count(*) = 1 FROM scan WHERE tag = 'never' AND state = 'failed' AND reason = 'not_found' AND detail <> ''`)
	s.until(`count(*) = 1 FROM scan WHERE digest = $1 AND tag = '' AND state = 'failed' AND reason = 'not_found'`, missing.String())
	s.pushed(withNPM(t, "lodash", "4.17.15"), "demo/shop", "1")
}

// A registry may tell of a push before all of its own servers show it.
func TestAPushThatIsToldOfTooEarlyIsLookedForAgain(t *testing.T) {
	s := start(t)
	img := withNPM(t, "lodash", "4.17.15")
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	s.event("push", "demo/early", "1", digest)
	s.until(`count(*) = 1 FROM scan WHERE state = 'queued' AND attempt = 1 AND reason = 'unavailable'`)
	s.pushed(img, "demo/early", "1")
	if n := s.count("scan WHERE state = 'failed'"); n != 0 {
		t.Errorf("%d scans failed", n)
	}
}

// misbehaving adds a registry that answers everything but the ping with f.
func misbehaving(t *testing.T, f http.HandlerFunc) option {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/" {
			return
		}
		f(w, r)
	}))
	t.Cleanup(server.Close)
	return func(c *config.Config) {
		broken := c.Registries[0]
		broken.Name, broken.Host, broken.Aliases = "broken", strings.TrimPrefix(server.URL, "http://"), nil
		broken.RequestTimeout = time.Second
		broken.Webhook.Format = "generic"
		c.Registries = append(c.Registries, broken)
	}
}

func TestARegistryThatMisbehavesDelaysOnlyItself(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		reason string
		pause  time.Duration // least wait before the next attempt
	}{
		{"refuses the credential", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }, "unauthorized", 4 * time.Second},
		{"asks to slow down", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "300")
			w.WriteHeader(http.StatusTooManyRequests)
		}, "rate_limited", 290 * time.Second},
		{"fails itself", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }, "unavailable", 4 * time.Second},
		{"is slow", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "timeout", 4 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, misbehaving(t, c.answer))
			status, answer := s.post("broken", "Bearer "+secret, "application/json", `{"image":"team/app:1"}`)
			if status != http.StatusAccepted {
				t.Fatalf("%d %s", status, answer)
			}
			s.until(`count(*) = 1 FROM scan WHERE state = 'queued' AND attempt = 1 AND reason = $1 AND detail <> ''
				AND run_after > now() + make_interval(secs => $2)`, c.reason, c.pause.Seconds()-2)
			digest := s.push(withNPM(t, "lodash", "4.17.15"), "demo/shop:1")
			s.until(`count(*) = 1 FROM tag t JOIN manifest m ON m.id = t.manifest_id WHERE m.digest = $1 AND m.state = 'done'`, digest.String())
		})
	}
}
