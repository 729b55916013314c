package registry_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

func writeConfig(t *testing.T, content any) string {
	t.Helper()
	b, err := json.Marshal(content)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// helper installs a credential helper that runs a shell script.
func helper(t *testing.T, name, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "docker-credential-"+name), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
}

func TestDockerConfig(t *testing.T) {
	encoded := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	f := newFake(t)
	f.tag(image.MediaTypeOCIManifest, f.image("amd64"))
	f.answer = wantBasic(func(http.ResponseWriter, *http.Request) bool { return false })
	helper(t, "good", fmt.Sprintf(`read host; echo '{"ServerURL":"x","Username":%q,"Secret":%q}'`, user, password))
	helper(t, "bad", `echo "very-secret went wrong" >&2; exit 1`)
	// Runs until the test is over.
	helper(t, "slow", fmt.Sprintf(`while [ -e %q ]; do sleep 0.1; done`, writeConfig(t, nil)))
	tests := []struct {
		name   string
		config any
		kind   errs.Kind
		hint   string
	}{
		{"by host", object{"auths": object{"registry.example.com": object{"auth": encoded}}}, "", ""},
		{"by endpoint", object{"auths": object{f.host(): object{"auth": encoded}}}, "", ""},
		{"by URL", object{"auths": object{"https://registry.example.com/v1/": object{"auth": encoded}}}, "", ""},
		{"by helper", object{"credHelpers": object{"registry.example.com": "good"}}, "", ""},
		{"by store", object{"credsStore": "good"}, "", ""},
		{"of another registry", object{"auths": object{"example.com": object{"auth": encoded}}}, errs.Unauthorized, "has no login for registry.example.com"},
		{"nothing", object{}, errs.Unauthorized, "has no login for registry.example.com"},
		{"helper that fails", object{"credsStore": "bad"}, errs.Unauthorized, "run it by hand: echo registry.example.com | docker-credential-bad get"},
		{"helper that is missing", object{"credHelpers": object{"registry.example.com": "none"}}, errs.Unauthorized, "the docker config names docker-credential-none"},
		{"helper that hangs", object{"credsStore": "slow"}, errs.Timeout, "run the credential helper"},
		{"a login that is not base64", object{"auths": object{"registry.example.com": object{"auth": "very-secret"}}}, errs.Unauthorized, "with user:password in base64"},
		{"nonsense", "very-secret", errs.Unauthorized, "it must be JSON as docker login writes it"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := f.settings()
			s.Auth.DockerConfig = writeConfig(t, tt.config)
			if tt.kind == errs.Timeout {
				s.RequestTimeout = 100 * time.Millisecond
			}
			_, err := client(t, s).Resolve(t.Context(), ref(t, wanted))
			if errs.KindOf(err) != tt.kind || !strings.Contains(errs.Hint(err), tt.hint) {
				t.Errorf("Resolve returned %v of kind %s with hint %q", err, errs.KindOf(err), errs.Hint(err))
			}
			checkNoSecret(t, err)
		})
	}
}

func TestDockerConfigThatIsMissing(t *testing.T) {
	f := newFake(t)
	s := f.settings()
	s.Auth.DockerConfig = filepath.Join(t.TempDir(), "config.json")
	_, err := client(t, s).Resolve(t.Context(), ref(t, wanted))
	if !errs.Is(err, errs.Unauthorized) || !strings.Contains(errs.Hint(err), "auth.docker_config of registry test") {
		t.Errorf("Resolve returned %v with hint %q", err, errs.Hint(err))
	}
}

func TestTokenIsSentAsItIs(t *testing.T) {
	f := newFake(t)
	f.tag(image.MediaTypeOCIManifest, f.image("amd64"))
	f.answer = wantToken(f.URL + "/token")
	s := f.settings()
	s.Auth = registry.Auth{Token: "the-token"}
	if _, err := client(t, s).Resolve(t.Context(), ref(t, wanted)); err != nil {
		t.Error(err)
	}
}

func TestTokenThatIsRefused(t *testing.T) {
	f := newFake(t)
	f.answer = wantToken(f.URL + "/token")
	s := f.settings()
	s.Auth = registry.Auth{Token: "very-secret"}
	_, err := client(t, s).Resolve(t.Context(), ref(t, wanted))
	if !errs.Is(err, errs.Unauthorized) || !strings.Contains(errs.Hint(err), "token may have expired") {
		t.Errorf("Resolve returned %v of kind %s with hint %q", err, errs.KindOf(err), errs.Hint(err))
	}
	checkNoSecret(t, err)
}
