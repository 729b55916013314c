package keys

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

func TestParseSet(t *testing.T) {
	ec := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	encode := func(keys ...jose.JSONWebKey) []byte { return must(json.Marshal(jose.JSONWebKeySet{Keys: keys})) }
	odd := strings.Replace(string(setWith("a")), `{"keys":[`, `{"keys":[7,{"kty":"OKP","crv":"X448","x":"AA"},{"kty":"RSA"},{"kty":"oct","k":"c2VjcmV0"},`, 1)
	for name, tt := range map[string]struct {
		text []byte
		keys int
	}{
		"one":                   {setWith("a"), 1},
		"two":                   {setWith("a", "b"), 2},
		"EC":                    {encode(jose.JSONWebKey{Key: ec.Public(), KeyID: "e"}), 1},
		"beside keys of no use": {[]byte(odd), 1},
		"more than anybody has": {encode(make([]jose.JSONWebKey, 0)...), 0},
		"private":               {encode(jose.JSONWebKey{Key: testKey(), KeyID: "a"}), 0},
		"symmetric":             {encode(jose.JSONWebKey{Key: []byte("secret"), KeyID: "a", Algorithm: "HS256"}), 0},
		"for encryption":        {encode(jose.JSONWebKey{Key: testKey().Public(), Use: "enc"}), 0},
		"none":                  {[]byte(`{"keys":[]}`), 0},
		"a certificate":         {[]byte("-----BEGIN CERTIFICATE-----"), 0},
		"empty":                 {nil, 0},
	} {
		s, err := ParseSet(tt.text)
		if len(s.keys) != tt.keys || (err == nil) != (tt.keys > 0) || err != nil && !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %d keys, %v", name, len(s.keys), err)
		}
	}
	many := make([]string, 2*maxKeys)
	if s, err := ParseSet(setWith(many...)); err != nil || len(s.keys) != maxKeys {
		t.Errorf("%d keys of many, %v", len(s.keys), err)
	}
}

func TestSetChoosesTheKeyOfTheToken(t *testing.T) {
	set := func(ids ...string) Set { return must(ParseSet(setWith(ids...))) }
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

// issuer serves a key set that can be changed.
type issuer struct {
	mu     sync.Mutex
	ids    []string
	status int
	cache  string
}

func (i *issuer) serve(w http.ResponseWriter, _ *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	w.Header().Set("Cache-Control", i.cache)
	w.WriteHeader(i.status)
	_, _ = w.Write(setWith(i.ids...))
}

func (i *issuer) set(status int, ids ...string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.status, i.ids = status, ids
}

func TestKeySetIsKept(t *testing.T) {
	i := &issuer{status: 200, ids: []string{"a"}, cache: "public, max-age=1200, must-revalidate"}
	o, c := startOutside(t, i.serve), &clock{now: start}
	k := o.keys(t, c)
	check := func(step, id string, kind errs.Kind, requests int) {
		t.Helper()
		if _, err := k.KeySet(setAddress).VerifySignature(t.Context(), tokenOf(id)); errs.KindOf(err) != kind || len(o.requests()) != requests {
			t.Errorf("%s: %v, requests %d, want kind %q and %d", step, err, len(o.requests()), kind, requests)
		}
	}
	check("first", "a", "", 1)
	c.pass(19 * time.Minute)
	check("fresh", "a", "", 1)
	c.pass(2 * time.Minute)
	check("old", "a", "", 2)
	i.set(200, "b")
	check("a new key, a moment later", "b", errs.Unauthorized, 2)
	c.pass(keySetPause)
	check("a new key", "b", "", 3)
	check("the key it replaced", "a", errs.Unauthorized, 3)
	i.set(500)
	c.pass(21 * time.Minute)
	check("old, in an outage", "b", "", 4)
	check("again", "b", "", 4)
	c.pass(staleKeySet)
	check("too old, in an outage", "b", errs.Unavailable, 5)
	i.set(200, "b")
	check("a moment later", "b", errs.Unavailable, 5)
	c.pass(keySetPause)
	check("back", "b", "", 6)
	if fetches(t, k, kindKeySet, outcomeOK) != 4 || fetches(t, k, kindKeySet, outcomeFailed) != 2 || fetches(t, k, kindKeySet, outcomeLimited) == 0 {
		t.Error("fetches are not counted by outcome")
	}
}

// TestFloodOfTokens: tokens that name keys nobody knows make us ask once in a
// while only, and do not stop those that name a known one.
func TestFloodOfTokens(t *testing.T) {
	i := &issuer{status: 200, ids: []string{"a"}}
	o := startOutside(t, i.serve)
	k := o.keys(t, &clock{now: start})
	var all sync.WaitGroup
	for n := range 50 {
		all.Go(func() {
			if _, err := k.KeySet(setAddress).VerifySignature(t.Context(), tokenOf(fmt.Sprint("x", n))); !errs.Is(err, errs.Unauthorized) {
				t.Errorf("unknown key: %v", err)
			}
			if _, err := k.KeySet(setAddress).VerifySignature(t.Context(), tokenOf("a")); err != nil {
				t.Errorf("known key: %v", err)
			}
		})
	}
	all.Wait()
	if len(o.requests()) != 1 {
		t.Errorf("%d requests", len(o.requests()))
	}
	// What is no token does not even count as a reason to ask.
	fresh := o.keys(t, &clock{now: start})
	if _, err := fresh.KeySet(setAddress).VerifySignature(t.Context(), "a.b.c"); !errs.Is(err, errs.Unauthorized) || len(o.requests()) != 1 {
		t.Errorf("no token: %v, %d requests", err, len(o.requests()))
	}
}

func TestLifetime(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"": defaultKeySet, "no-store": defaultKeySet, "max-age=x": defaultKeySet, "max-age=": defaultKeySet,
		"max-age=3600": time.Hour, "public, Max-Age=7200": 2 * time.Hour, "s-maxage=1, max-age=600": 10 * time.Minute,
		"max-age=0": leastKeySet, "max-age=-5": leastKeySet, "max-age=99999999999": mostKeySet,
	} {
		if got := lifetime(http.Header{"Cache-Control": {header}}); got != want {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
	}
}
