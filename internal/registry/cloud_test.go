package registry_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
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

// cloudy is a fake registry that stands for one of a cloud, at the host.
func cloudy(f *fake, keychain, host string) registry.Settings {
	s := f.settings()
	s.Host, s.Auth = host, registry.Auth{Keychain: keychain}
	return s
}

const amazonHost = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"

// amazon sends the SDK to a server of the test.
func amazon(t *testing.T, answer http.HandlerFunc) *stranger {
	t.Helper()
	cloud := newStranger(t, answer)
	home := t.TempDir()
	for name, value := range map[string]string{
		"HOME": home, "AWS_ENDPOINT_URL_ECR": cloud.URL, "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "very-secret",
		"AWS_CONFIG_FILE": filepath.Join(home, "none"), "AWS_SHARED_CREDENTIALS_FILE": filepath.Join(home, "none"), "AWS_MAX_ATTEMPTS": "1",
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_ECR_CACHE_DIR": filepath.Join(home, ".ecr"),
	} {
		t.Setenv(name, value)
	}
	t.Cleanup(func() {
		if left, _ := os.ReadDir(home); len(left) != 0 {
			t.Errorf("the credential helper left files: %v", left)
		}
	})
	return cloud
}

func TestAmazonsCredential(t *testing.T) {
	cloud := amazon(t, func(w http.ResponseWriter, _ *http.Request) {
		token := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
		_ = json.NewEncoder(w).Encode(object{"authorizationData": []object{{
			"authorizationToken": token, "proxyEndpoint": "https://" + amazonHost, "expiresAt": time.Now().Add(12 * time.Hour).Unix(),
		}}})
	})
	f := newFake(t)
	f.tag(image.MediaTypeOCIManifest, f.image("amd64"))
	f.answer = wantBasic(pass)
	c := client(t, cloudy(f, registry.KeychainECR, amazonHost))
	for range 3 {
		if _, err := c.Resolve(t.Context(), ref(t, amazonHost+"/shop/web:1.0")); err != nil {
			t.Fatal(err)
		}
	}
	asked := cloud.requests()
	if len(asked) != 1 {
		t.Fatalf("the cloud was asked %d times", len(asked))
	}
	if by := asked[0].Header.Get("Authorization"); !strings.Contains(by, "/eu-central-1/ecr/") {
		t.Errorf("it was asked as %q, not for the region that the host names", by)
	}
}

func TestAmazonRefuses(t *testing.T) {
	cloud := amazon(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Amzn-ErrorType", "AccessDeniedException")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprint(w, `{"message":"role scanner may not ecr:GetAuthorizationToken"}`)
	})
	f := newFake(t)
	f.answer = wantBasic(pass)
	c := client(t, cloudy(f, registry.KeychainECR, amazonHost))
	for range 3 {
		_, err := c.Resolve(t.Context(), ref(t, amazonHost+"/shop/web:1.0"))
		if !errs.Is(err, errs.Unauthorized) || !strings.Contains(err.Error(), "role scanner may not") || !strings.Contains(errs.Hint(err), "keychain ecr") {
			t.Errorf("Resolve returned %v of kind %s with hint %q", err, errs.KindOf(err), errs.Hint(err))
		}
		checkNoSecret(t, err)
	}
	if n := len(cloud.requests()); n != 1 {
		t.Errorf("the cloud was asked %d times within a moment", n)
	}
}

func TestAmazonHangs(t *testing.T) {
	over := make(chan struct{})
	amazon(t, func(http.ResponseWriter, *http.Request) { <-over })
	t.Cleanup(func() { close(over) }) // before the server's own end
	f := newFake(t)
	f.answer = wantBasic(pass)
	s := cloudy(f, registry.KeychainECR, amazonHost)
	s.RequestTimeout = 200 * time.Millisecond
	if _, err := client(t, s).Resolve(t.Context(), ref(t, amazonHost+"/shop/web:1.0")); !errs.Is(err, errs.Timeout) {
		t.Errorf("Resolve returned %v of kind %s", err, errs.KindOf(err))
	}
}

func TestGooglesCredential(t *testing.T) {
	const host = "europe-west1-docker.pkg.dev"
	given := 0
	cloud := newStranger(t, func(w http.ResponseWriter, _ *http.Request) {
		given++
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"access_token":"access-%d","token_type":"Bearer","expires_in":3600}`, given)
	})
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", writeConfig(t, object{
		"type": "service_account", "project_id": "p", "private_key_id": "k", "private_key": string(block),
		"client_email": "scanner@p.iam.gserviceaccount.com", "token_uri": cloud.URL + "/token",
	}))
	f := newFake(t)
	d := f.withLayers(2)
	accepted := "access-1"
	f.answer = func(w http.ResponseWriter, r *http.Request) bool { return wantLogin("_token", accepted)(w, r) }
	c := client(t, cloudy(f, registry.KeychainGoogle, host))
	img, err := c.Image(t.Context(), ref(t, host+"/shop/web@"+string(d)))
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	if err := readLayer(layers[0]); err != nil {
		t.Error(err)
	}
	f.mu.Lock()
	accepted = "access-2" // the first expired
	f.mu.Unlock()
	if err := readLayer(layers[1]); err != nil {
		t.Errorf("after the token expired: %v", err)
	}
	if given != 2 {
		t.Errorf("%d tokens were asked for", given)
	}
}

func TestAKeychainIsForItsOwnCloud(t *testing.T) {
	for keychain, host := range map[string]string{"ecr": "registry.example.com", "google": "docker.io", "acr": "evil.example.com", "other": "a.azurecr.io"} {
		s := registry.Settings{Host: host, Auth: registry.Auth{Keychain: keychain}}
		if _, err := registry.New([]registry.Settings{s}); !errs.Is(err, errs.Invalid) {
			t.Errorf("keychain %s for %s: %v", keychain, host, err)
		}
	}
}
