package webhook

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

const (
	pushAccount  = "push@acme.iam.gserviceaccount.com"
	pushAudience = "https://scanner.acme.test/webhooks/gar"
	entraIssuer  = "https://login.microsoftonline.com/0b1c/v2.0"
	entraKeys    = "https://login.microsoftonline.com/0b1c/discovery/v2.0/keys"
	entraApp     = "4962773b-9cdb-44cf-a8bf-237846a00ab7"
)

// googleClaims are those of a token of a push subscription, with changes; a claim
// that is nil is left out.
func googleClaims(changes map[string]any) map[string]any {
	claims := map[string]any{
		"iss": "https://accounts.google.com", "aud": pushAudience, "sub": "1", "azp": "1", "email": pushAccount, "email_verified": true,
		"iat": sampleTime.Add(-time.Minute).Unix(), "exp": sampleTime.Add(time.Hour).Unix(),
	}
	for name, value := range changes {
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
	}
	return claims
}

func googleAuth() Auth {
	return Auth{Kind: AuthOIDC, Audience: pushAudience, Email: pushAccount, JWKS: sampleSigner().keys}
}

func entraAuth() Auth {
	return Auth{Kind: AuthOIDC, Issuer: entraIssuer, Audience: "api://scanner", AppID: entraApp, JWKSURL: entraKeys, JWKS: sampleSigner().keys}
}

func entraClaims(changes map[string]any) map[string]any {
	all := map[string]any{"iss": entraIssuer, "aud": "api://scanner", "azp": entraApp, "email": nil, "email_verified": nil}
	for name, value := range changes {
		all[name] = value
	}
	return googleClaims(all)
}

// checkToken verifies a request with a token, outside of which there is only out.
func checkToken(t *testing.T, auth Auth, out *internet, token string) error {
	t.Helper()
	r := request{header: headersOf("Authorization", "Bearer "+token), received: sampleTime, keys: keysFrom(t, out)}
	return auth.check(t.Context(), r, signing{})
}

func TestOIDCTokens(t *testing.T) {
	google, entra := googleAuth(), entraAuth()
	tests := []struct {
		name   string
		auth   Auth
		claims map[string]any
		ok     bool
	}{
		{"Google", google, googleClaims(nil), true},
		{"issuer without scheme", google, googleClaims(map[string]any{"iss": "accounts.google.com"}), true},
		{"several audiences", google, googleClaims(map[string]any{"aud": []string{"x", pushAudience}}), true},
		{"no time of issue", google, googleClaims(map[string]any{"iat": nil}), true},
		{"issuer's clock ahead", google, googleClaims(map[string]any{"iat": sampleTime.Add(time.Minute).Unix()}), true},
		{"another audience", google, googleClaims(map[string]any{"aud": pushAudience + "/"}), false},
		{"no audience", google, googleClaims(map[string]any{"aud": nil}), false},
		{"another issuer", google, googleClaims(map[string]any{"iss": "https://accounts.google.com.attacker.test"}), false},
		{"issuer with a slash", google, googleClaims(map[string]any{"iss": "https://accounts.google.com/"}), false},
		{"no issuer", google, googleClaims(map[string]any{"iss": nil}), false},
		{"another account", google, googleClaims(map[string]any{"email": "push@evil.iam.gserviceaccount.com"}), false},
		{"account in upper case", google, googleClaims(map[string]any{"email": strings.ToUpper(pushAccount)}), false},
		{"no account", google, googleClaims(map[string]any{"email": nil}), false},
		{"account not verified", google, googleClaims(map[string]any{"email_verified": false}), false},
		{"account not said to be verified", google, googleClaims(map[string]any{"email_verified": nil}), false},
		{"account verified as text", google, googleClaims(map[string]any{"email_verified": "true"}), false},
		{"expired", google, googleClaims(map[string]any{"exp": sampleTime.Add(-time.Second).Unix()}), false},
		{"never expires", google, googleClaims(map[string]any{"exp": nil}), false},
		{"issued in the future", google, googleClaims(map[string]any{"iat": sampleTime.Add(10 * time.Minute).Unix()}), false},
		{"not yet", google, googleClaims(map[string]any{"nbf": sampleTime.Add(10 * time.Minute).Unix()}), false},
		{"Entra, version 2", entra, entraClaims(nil), true},
		{"Entra, version 1", entra, entraClaims(map[string]any{"azp": nil, "appid": entraApp}), true},
		{"another application", entra, entraClaims(map[string]any{"azp": "b5b7"}), false},
		{"no application", entra, entraClaims(map[string]any{"azp": nil}), false},
		{"application as subject", entra, entraClaims(map[string]any{"azp": nil, "sub": entraApp}), false},
		{"another tenant", entra, entraClaims(map[string]any{"iss": "https://login.microsoftonline.com/ffff/v2.0"}), false},
		{"Google's for Entra", entra, entraClaims(map[string]any{"iss": "https://accounts.google.com"}), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out := &internet{}
			err := checkToken(t, tt.auth, out, sampleSigner().token(t, tt.claims))
			if tt.ok != (err == nil) || err != nil && !errs.Is(err, errs.Unauthorized) {
				t.Errorf("check: %v, want ok %v", err, tt.ok)
			}
			if err != nil && (strings.Contains(err.Error(), pushAccount) || strings.Contains(err.Error(), pushAudience)) {
				t.Errorf("the answer tells what would pass: %v", err)
			}
			if len(out.asked) > 0 {
				t.Errorf("asked %v", out.asked)
			}
		})
	}
}

// TestOIDCForged: tokens nobody at the issuer has signed.
func TestOIDCForged(t *testing.T) {
	claims := googleClaims(nil)
	good := sampleSigner().token(t, claims)
	parts := strings.Split(good, ".")
	encode := base64.RawURLEncoding.EncodeToString
	unsigned := encode([]byte(`{"alg":"none"}`)) + "." + parts[1] + "."
	public := must(x509.MarshalPKIXPublicKey(sampleSigner().key.Public()))
	for name, token := range map[string]string{
		"alg none":                  unsigned,
		"alg none with a signature": unsigned + parts[2],
		"alg None":                  encode([]byte(`{"alg":"None"}`)) + "." + parts[1] + ".",
		"HS256 with the public key": compactToken(t, jose.SigningKey{Algorithm: jose.HS256, Key: public}, claims),
		"HS256 with the key set":    compactToken(t, jose.SigningKey{Algorithm: jose.HS256, Key: []byte(sampleSigner().keys)}, claims),
		"PS256 of the right key":    compactToken(t, jose.SigningKey{Algorithm: jose.PS256, Key: sampleSigner().key}, claims),
		"RS512 of the right key":    compactToken(t, jose.SigningKey{Algorithm: jose.RS512, Key: sampleSigner().key}, claims),
		"another key":               strangeSigner().token(t, claims),
		"an EC key":                 compactToken(t, jose.SigningKey{Algorithm: jose.ES256, Key: must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))}, claims),
		"claims of another token":   parts[0] + "." + encode(must(json.Marshal(googleClaims(map[string]any{"x": 1})))) + "." + parts[2],
		"signature missing":         parts[0] + "." + parts[1] + ".",
		"signature cut":             good[:len(good)-8],
		"two parts":                 parts[0] + "." + parts[1],
		"five parts":                good + ".a.b",
		"JSON":                      `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
		"claims that are none":      parts[0] + "." + encode([]byte("[]")) + "." + parts[2],
		"key in the header":         headerKey(t, claims),
		"text":                      "letmein",
		"long":                      strings.Repeat("a", maxToken+1),
		"white space inside":        parts[0] + ". " + parts[1] + "." + parts[2],
	} {
		t.Run(name, func(t *testing.T) {
			out := &internet{status: 200, body: strangeSigner().keys}
			if err := checkToken(t, googleAuth(), out, token); !errs.Is(err, errs.Unauthorized) {
				t.Errorf("check: %v", err)
			}
			if len(out.asked) > 0 {
				t.Errorf("asked %v", out.asked)
			}
		})
	}
	if err := checkToken(t, googleAuth(), &internet{}, good); err != nil {
		t.Errorf("the real one: %v", err)
	}
}

// headerKey signs with a key that the token brings along.
func headerKey(t *testing.T, claims map[string]any) string {
	t.Helper()
	with, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: strangeSigner().key}, &jose.SignerOptions{EmbedJWK: true})
	if err != nil {
		t.Fatal(err)
	}
	return must(must(with.Sign(must(json.Marshal(claims)))).CompactSerialize())
}

// TestOIDCKeysAreFetched from the address of the configuration and from nowhere
// a token names.
func TestOIDCKeysAreFetched(t *testing.T) {
	google, entra := googleAuth(), entraAuth()
	google.JWKS, entra.JWKS = "", ""
	for name, tt := range map[string]struct {
		auth   Auth
		claims map[string]any
		out    *internet
		kind   errs.Kind
		asked  string
	}{
		"Google":             {google, googleClaims(nil), &internet{status: 200, body: sampleSigner().keys}, "", googleJWKSURL},
		"Entra":              {entra, entraClaims(nil), &internet{status: 200, body: sampleSigner().keys}, "", entraKeys},
		"another key":        {google, googleClaims(nil), &internet{status: 200, body: strangeSigner().keys}, errs.Unauthorized, googleJWKSURL},
		"issuer elsewhere":   {google, googleClaims(map[string]any{"iss": "https://attacker.test"}), &internet{status: 200, body: sampleSigner().keys}, errs.Unauthorized, googleJWKSURL},
		"nobody there":       {google, googleClaims(nil), &internet{err: errors.New("x")}, errs.Unavailable, googleJWKSURL},
		"no key set":         {google, googleClaims(nil), &internet{status: 200, body: "{}"}, errs.Unavailable, googleJWKSURL},
		"redirect":           {google, googleClaims(nil), &internet{status: 301, header: http.Header{"Location": {"https://attacker.test/keys"}}}, errs.Unavailable, googleJWKSURL},
		"fault of the other": {entra, entraClaims(nil), &internet{status: 503}, errs.Unavailable, entraKeys},
	} {
		t.Run(name, func(t *testing.T) {
			err := checkToken(t, tt.auth, tt.out, sampleSigner().token(t, tt.claims))
			if errs.KindOf(err) != tt.kind {
				t.Errorf("check: %v, want kind %q", err, tt.kind)
			}
			if diff := cmp.Diff([]string{"GET " + tt.asked}, tt.out.asked); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
		})
	}
}

// TestOIDCAtTheHandler: a bad token is refused before the body is read, with 401,
// and the sender is told to come again when it could not be judged.
func TestOIDCAtTheHandler(t *testing.T) {
	e := Endpoint{Registry: "gar", Host: "gcr.io", Format: "gar-pubsub", Auth: googleAuth()}
	e.Auth.JWKS = ""
	send := func(out *internet, claims map[string]any) (int, int) {
		sink := &keeper{}
		h, err := NewHandler([]Endpoint{e}, sink, Metrics{}, withClock(sampleTime), WithKeys(keysFrom(t, out)))
		if err != nil {
			t.Fatal(err)
		}
		w := post(h, "gar", pubsub(`{"action":"INSERT","tag":"gcr.io/a/b:1"}`), "Authorization", "Bearer "+sampleSigner().token(t, claims))
		return w.Code, sink.calls
	}
	keys := &internet{status: 200, body: sampleSigner().keys}
	if status, calls := send(keys, googleClaims(nil)); status != http.StatusAccepted || calls != 1 || len(keys.asked) != 1 {
		t.Errorf("good: status %d, %d calls, asked %v", status, calls, keys.asked)
	}
	if status, calls := send(keys, googleClaims(map[string]any{"email": "x@y"})); status != http.StatusUnauthorized || calls != 0 {
		t.Errorf("another account: status %d, %d calls", status, calls)
	}
	if status, calls := send(&internet{err: errors.New("x")}, googleClaims(nil)); status != http.StatusServiceUnavailable || calls != 0 {
		t.Errorf("no keys: status %d, %d calls", status, calls)
	}
}

// TestOIDCForEventGrid: a token of Event Grid lets its events in, and its
// handshakes; without one there is neither.
func TestOIDCForEventGrid(t *testing.T) {
	e := sampleEndpoint(t, "eventgrid")
	e.Auth = entraAuth()
	h := mustHandler(t, &keeper{}, e)
	for name, want := range map[string]int{"image-pushed": 202, "cloudevent-image-pushed": 202, "subscription-validation": 200, "cloudevents-options": 200} {
		for token, want := range map[string]int{
			sampleSigner().token(t, entraClaims(nil)):                            want,
			sampleSigner().token(t, entraClaims(map[string]any{"azp": "other"})): 401,
			"": 401,
		} {
			r, w := sampleRequest(t, "eventgrid", name, e.Registry), httptest.NewRecorder()
			r.Header.Set("Authorization", "Bearer "+token)
			h.ServeHTTP(w, r)
			if w.Code != want {
				t.Errorf("%s: status %d, want %d: %s", name, w.Code, want, w.Body)
			}
		}
	}
}
