package jwks

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// testKey is one for all tests: making one takes long.
var testKey = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// setWith is a key set with the test key under ids.
func setWith(ids ...string) []byte {
	var set jose.JSONWebKeySet
	for _, id := range ids {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: testKey().Public(), KeyID: id, Algorithm: "RS256", Use: "sig"})
	}
	return must(json.Marshal(set))
}

// tokenOf names a key, which is always the test key.
func tokenOf(id string) string { return signed(jose.RS256, testKey(), id) }

func signed(algorithm jose.SignatureAlgorithm, key any, id string) string {
	options := &jose.SignerOptions{}
	if id != "" {
		options = options.WithHeader("kid", id)
	}
	signer := must(jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, options))
	return must(must(signer.Sign([]byte(`{"a":1}`))).CompactSerialize())
}

func encode(keys ...jose.JSONWebKey) []byte {
	return must(json.Marshal(jose.JSONWebKeySet{Keys: keys}))
}

func TestParse(t *testing.T) {
	ec := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	ed, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	odd := strings.Replace(string(setWith("a")), `{"keys":[`, `{"keys":[7,{"kty":"OKP","crv":"X448","x":"AA"},{"kty":"RSA"},{"kty":"oct","k":"c2VjcmV0"},`, 1)
	short := `{"keys":[{"kty":"RSA","kid":"s","e":"AQAB","n":"` + strings.Repeat("w", 171) + `"}]}` // 1024 bits
	for name, tt := range map[string]struct {
		text []byte
		keys int
	}{
		"one":                   {setWith("a"), 1},
		"two":                   {setWith("a", "b"), 2},
		"EC":                    {encode(jose.JSONWebKey{Key: ec.Public(), KeyID: "e"}), 1},
		"Ed25519":               {encode(jose.JSONWebKey{Key: ed, KeyID: "d"}), 1},
		"beside keys of no use": {[]byte(odd), 1},
		"more than anybody has": {encode(make([]jose.JSONWebKey, 0)...), 0},
		"private":               {encode(jose.JSONWebKey{Key: testKey(), KeyID: "a"}), 0},
		"symmetric":             {encode(jose.JSONWebKey{Key: []byte("secret"), KeyID: "a", Algorithm: "HS256"}), 0},
		"for encryption":        {encode(jose.JSONWebKey{Key: testKey().Public(), Use: "enc"}), 0},
		"a short RSA key":       {[]byte(short), 0},
		"none":                  {[]byte(`{"keys":[]}`), 0},
		"a certificate":         {[]byte("-----BEGIN CERTIFICATE-----"), 0},
		"empty":                 {nil, 0},
	} {
		s, err := Parse(tt.text, Wide())
		if len(s.keys) != tt.keys || (err == nil) != (tt.keys > 0) || err != nil && !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %d keys, %v", name, len(s.keys), err)
		}
	}
	many := make([]string, 2*maxKeys)
	if s, err := Parse(setWith(many...), Usual()); err != nil || len(s.keys) != maxKeys {
		t.Errorf("%d keys of many, %v", len(s.keys), err)
	}
}

func TestSetChoosesTheKeyOfTheToken(t *testing.T) {
	set := func(ids ...string) Set { return must(Parse(setWith(ids...), Usual())) }
	for name, tt := range map[string]struct {
		set   Set
		token string
		ok    bool
	}{
		"named":                      {set("a", "b"), tokenOf("b"), true},
		"not named":                  {set("a"), tokenOf(""), true},
		"keys without names":         {set(""), tokenOf("x"), true},
		"another name, the same key": {set("a"), tokenOf("x"), false},
		"no token":                   {set("a"), "x", false},
	} {
		content, err := tt.set.VerifySignature(t.Context(), tt.token)
		if (err == nil) != tt.ok || tt.ok && string(content) != `{"a":1}` || err != nil && !errs.Is(err, errs.Unauthorized) {
			t.Errorf("%s: %s, %v", name, content, err)
		}
	}
	wrong := set("a")
	wrong.keys[0].Algorithm = "ES256"
	if _, err := wrong.VerifySignature(t.Context(), tokenOf("a")); !errs.Is(err, errs.Unauthorized) {
		t.Errorf("key of another algorithm: %v", err)
	}
}

func TestAlgorithms(t *testing.T) {
	ec := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	wide := must(Parse(encode(jose.JSONWebKey{Key: testKey().Public(), KeyID: "r"}, jose.JSONWebKey{Key: ec.Public(), KeyID: "e"},
		jose.JSONWebKey{Key: public, KeyID: "d"}), Wide()))
	narrow := Set{algorithms: Usual(), keys: wide.keys}
	for _, tt := range []struct {
		algorithm    jose.SignatureAlgorithm
		key          crypto.PrivateKey
		id           string
		wide, narrow bool
	}{
		{jose.RS256, testKey(), "r", true, true}, {jose.ES256, ec, "e", true, true},
		{jose.PS256, testKey(), "r", true, false}, {jose.RS512, testKey(), "r", true, false}, {jose.EdDSA, private, "d", true, false},
		{jose.RS256, testKey(), "e", false, false}, // a key of another type under that name
		{jose.HS256, []byte(strings.Repeat("k", 32)), "r", false, false},
	} {
		token := signed(tt.algorithm, tt.key, tt.id)
		for _, c := range []struct {
			set  Set
			want bool
		}{{wide, tt.wide}, {narrow, tt.narrow}} {
			if _, err := c.set.VerifySignature(t.Context(), token); (err == nil) != c.want {
				t.Errorf("%s by %s: %v, want %v", tt.algorithm, tt.id, err, c.want)
			}
		}
	}
}

// A set that lacks the key of a token, and cannot be fetched, says nothing about
// the token.
func TestAnUnknownKeyWhileTheIssuerIsDown(t *testing.T) {
	now := time.Now()
	down := false
	r := &Remote{Algorithms: Usual(), Now: func() time.Time { return now }, Fetch: func(context.Context) ([]byte, http.Header, error) {
		if down {
			return nil, nil, errs.New(errs.Unavailable, "no answer")
		}
		return setWith("a"), nil, nil
	}}
	check := func(step, id string, want errs.Kind) {
		t.Helper()
		if _, err := r.VerifySignature(t.Context(), tokenOf(id)); errs.KindOf(err) != want {
			t.Errorf("%s: %v, want %q", step, err, want)
		}
	}
	check("known", "a", "")
	check("unknown", "b", errs.Unauthorized)
	down, now = true, now.Add(RetryPause)
	check("unknown, and down", "b", errs.Unavailable)
	check("known, and down", "a", "")
}

func TestLifetime(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"": defaultAge, "no-store": defaultAge, "max-age=x": defaultAge, "max-age=": defaultAge,
		"max-age=3600": time.Hour, "public, Max-Age=7200": 2 * time.Hour, "s-maxage=1, max-age=600": 10 * time.Minute,
		"max-age=0": leastAge, "max-age=-5": leastAge, "max-age=99999999999": mostAge,
	} {
		if got := lifetime(http.Header{"Cache-Control": {header}}); got != want {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
	}
}
