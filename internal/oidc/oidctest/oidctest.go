// Package oidctest is an issuer of OpenID Connect on loopback: it says where its
// keys are, serves them, and signs what it is given.
//
// It is for tests only, also of attackers: it signs anything. It must not be
// imported by anything that ships.
package oidctest

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Issuer is a running issuer.
type Issuer struct {
	// URL is what its tokens name, CAFile the authority of its certificate.
	URL, CAFile string
	// CallsItself is what it says it is called; URL when empty.
	CallsItself string

	t      testing.TB
	server *httptest.Server
	asked  atomic.Int64

	mu  sync.Mutex
	key *rsa.PrivateKey
	id  string
}

// firstKey makes one key for all issuers of a test program, for that takes long; each
// rotation makes another.
var firstKey = sync.OnceValue(newKey)

func newKey() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}

// Start runs an issuer until the test ends.
func Start(t testing.TB) *Issuer {
	t.Helper()
	i := &Issuer{t: t, key: firstKey(), id: "first"}
	i.server = httptest.NewTLSServer(http.HandlerFunc(i.serve))
	t.Cleanup(i.server.Close)
	i.URL = i.server.URL
	i.CAFile = filepath.Join(t.TempDir(), "issuer.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.server.Certificate().Raw})
	if err := os.WriteFile(i.CAFile, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return i
}

// Stop makes the issuer unreachable.
func (i *Issuer) Stop() { i.server.Close() }

// Asked counts the requests it got.
func (i *Issuer) Asked() int64 { return i.asked.Load() }

// Rotate gives the issuer another key; the one before is gone.
func (i *Issuer) Rotate(id string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.key, i.id = newKey(), id
}

// Key is the key it signs with.
func (i *Issuer) Key() *rsa.PrivateKey {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.key
}

func (i *Issuer) serve(w http.ResponseWriter, r *http.Request) {
	i.asked.Add(1)
	i.mu.Lock()
	defer i.mu.Unlock()
	var answer any
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		name := i.CallsItself
		if name == "" {
			name = i.URL
		}
		answer = map[string]any{"issuer": name, "jwks_uri": i.URL + "/keys"}
	case "/keys":
		answer = jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: i.key.Public(), KeyID: i.id, Use: "sig", Algorithm: "RS256"}}}
	default:
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

// Claims are those of a good token for an audience, to be changed at will.
func (i *Issuer) Claims(audience, subject string, groups ...string) map[string]any {
	now := time.Now()
	return map[string]any{
		"iss": i.URL, "aud": audience, "sub": subject, "groups": groups,
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
}

// Sign makes a token of claims.
func (i *Issuer) Sign(claims map[string]any) string {
	i.t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	return SignWith(i.t, jose.RS256, i.key, i.id, claims)
}

// SignWith makes a token with any key and algorithm.
func SignWith(t testing.TB, algorithm jose.SignatureAlgorithm, key any, id string, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", id))
	if err != nil {
		t.Fatal(err)
	}
	content, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(content)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}
