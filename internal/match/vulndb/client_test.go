package vulndb

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

func TestSecretsStayHidden(t *testing.T) {
	m := newMirror(t)
	m.setAnswer(func(w http.ResponseWriter, r *http.Request) bool {
		user, password, _ := r.BasicAuth()
		if user != "reader" || password != "hunter2" || r.URL.Query().Get("sig") != "s3cret" {
			w.WriteHeader(401)
			return true
		}
		return false
	})
	m.publish(t, sampleDate)
	address := strings.Replace(m.URL, "http://", "http://reader:hunter2@", 1) + "/databases/v6/latest.json?sig=s3cret"
	lib := openLibrary(t, Config{URL: address})
	in, _, err := lib.Update(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
	_, _, err = lib.Update(t.Context(), nil)
	wantKind(t, err, errs.Unavailable, "127.0.0.1")
	for _, shown := range []string{in.Source, lib.Source(), err.Error(), errs.Hint(err)} {
		for _, secret := range []string{"hunter2", "s3cret", "reader"} {
			if strings.Contains(shown, secret) {
				t.Errorf("%q shows %q", shown, secret)
			}
		}
	}
}

func TestCertificateAuthority(t *testing.T) {
	m := newMirror(t)
	m.publish(t, sampleDate)
	secure := httptest.NewTLSServer(m)
	defer secure.Close()
	_, _, err := openLibrary(t, Config{URL: secure.URL + "/databases"}).Update(t.Context(), nil)
	wantKind(t, err, errs.Unavailable, "--vulndb-ca-file")

	ca := save(t, "ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}))
	lib := openLibrary(t, Config{URL: secure.URL + "/databases", CAFile: ca})
	if _, changed, err := lib.Update(t.Context(), nil); err != nil || !changed {
		t.Fatalf("changed %v, %v", changed, err)
	}

	m.publish(t, sampleDate.Add(time.Hour))
	m.setAnswer(func(w http.ResponseWriter, r *http.Request) bool {
		if r.TLS == nil {
			return false
		}
		http.Redirect(w, r, m.URL+r.URL.Path, http.StatusFound)
		return true
	})
	_, _, err = lib.Update(t.Context(), nil)
	wantKind(t, err, errs.Unavailable, "redirected from https to http")
}

func TestRedirectTellsNoReferer(t *testing.T) {
	other := newMirror(t)
	other.publish(t, sampleDate)
	other.setAnswer(func(_ http.ResponseWriter, r *http.Request) bool {
		if referer := r.Header.Get("Referer"); referer != "" {
			t.Errorf("the target of a redirect learns of %s", referer)
		}
		return false
	})
	m := newMirror(t)
	m.setAnswer(func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, other.URL+r.URL.Path, http.StatusFound)
		return true
	})
	lib := openLibrary(t, Config{URL: m.URL + "/databases/v6/latest.json?sig=s3cret"})
	if _, changed, err := lib.Update(t.Context(), nil); err != nil || !changed {
		t.Fatalf("changed %v, %v", changed, err)
	}
	if len(other.asked()) < 2 {
		t.Error("latest.json and archive did not come from the target")
	}
}

// TestProxy asks for a host that exists only behind the proxy.
func TestProxy(t *testing.T) {
	m := newMirror(t)
	m.publish(t, sampleDate)
	t.Setenv("HTTP_PROXY", m.URL)
	t.Setenv("NO_PROXY", "")
	lib := openLibrary(t, Config{URL: "http://mirror.invalid/databases"})
	in, changed, err := lib.Update(t.Context(), nil)
	if err != nil || !changed {
		t.Fatalf("changed %v, %v", changed, err)
	}
	if !strings.HasPrefix(in.Source, "http://mirror.invalid/databases/v6/") {
		t.Errorf("source %q", in.Source)
	}
}

func TestLatestURL(t *testing.T) {
	tests := []struct{ url, want string }{
		{DefaultURL, "https://grype.anchore.io/databases/v6/latest.json"},
		{"https://m.example/databases/", "https://m.example/databases/v6/latest.json"},
		{"http://m.example", "http://m.example/v6/latest.json"},
		{"https://m.example/db/v6/latest.json?token=a%2Fb", "https://m.example/db/v6/latest.json?token=a%2Fb"},
	}
	for _, tt := range tests {
		t.Run(tt.url, func(t *testing.T) {
			u, err := latestURL(tt.url)
			if err != nil || u.String() != tt.want {
				t.Errorf("got %v (%v), want %s", u, err, tt.want)
			}
		})
	}
}
