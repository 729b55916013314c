package oidc_test

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/jwks"
	"github.com/tidewaiter/tidewaiter/internal/oidc"
	"github.com/tidewaiter/tidewaiter/internal/oidc/oidctest"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// clock is set by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

var rules = []oidc.Rule{
	{Groups: []string{"security"}, Scope: report.ScopeAdmin},
	{Groups: []string{"web", "shop"}, Scope: report.ScopeTriage, Prefixes: []string{"registry.example.com/web/"}},
}

// verify sets up a verifier for an issuer.
func verify(t *testing.T, i *oidctest.Issuer, c *clock, change ...func(*oidc.Issuer)) *oidc.Verifier {
	t.Helper()
	configured := oidc.Issuer{Name: "corp", URL: i.URL, Audience: "tidewaiter", CAFile: i.CAFile, Rules: rules}
	for _, f := range change {
		f(&configured)
	}
	v, err := oidc.New(oidc.Options{Issuers: []oidc.Issuer{configured}, Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestWhoATokenIsOf(t *testing.T) {
	i, c := oidctest.Start(t), &clock{now: time.Now()}
	with := func(name string, value any, groups ...string) map[string]any {
		claims := i.Claims("tidewaiter", "u-1", groups...)
		claims[name] = value
		return claims
	}
	named := func(o *oidc.Issuer) {
		o.UsernameClaim, o.GroupsClaim, o.Clients = "preferred_username", "realm_access.roles", []string{"cli"}
	}
	admin := report.Principal{Token: "corp/u-1", Subject: "u-1", Scope: report.ScopeAdmin}
	team := report.Principal{Token: "corp/u-1", Subject: "u-1", Scope: report.ScopeTriage, Access: report.Access{Prefixes: []string{"registry.example.com/web/"}}}
	for _, tt := range []struct {
		name   string
		change func(*oidc.Issuer)
		claims map[string]any
		want   report.Principal
	}{
		{"an administrator", func(*oidc.Issuer) {}, i.Claims("tidewaiter", "u-1", "x", "security"), admin},
		{"the first rule counts", func(*oidc.Issuer) {}, i.Claims("tidewaiter", "u-1", "web", "security"), admin},
		{"a team", func(*oidc.Issuer) {}, i.Claims("tidewaiter", "u-1", "shop"), team},
		{"one group, not a list", func(*oidc.Issuer) {}, with("groups", "web"), team},
		{"several audiences", func(*oidc.Issuer) {}, with("aud", []string{"account", "tidewaiter"}, "web"), team},
		{"a time with a fraction", func(*oidc.Issuer) {}, with("exp", float64(c.now.Unix())+3600.5, "web"), team},
		{"everybody", func(o *oidc.Issuer) { o.Rules = []oidc.Rule{{Groups: []string{"*"}, Scope: report.ScopeRead}} },
			with("groups", nil), report.Principal{Token: "corp/u-1", Subject: "u-1", Scope: report.ScopeRead}},
		{"claims of other names", named, map[string]any{
			"iss": i.URL, "aud": "tidewaiter", "sub": "u-1", "exp": c.now.Add(time.Hour).Unix(), "azp": "cli",
			"preferred_username": "alice\n\x1b[2J", "realm_access": map[string]any{"roles": []any{"security", 7}},
		}, report.Principal{Token: "corp/alice\uFFFD\uFFFD[2J", Subject: "u-1", Scope: report.ScopeAdmin}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := verify(t, i, c, tt.change).Authenticate(t.Context(), i.Sign(tt.claims))
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// unsigned makes a token with any header and no good signature.
func unsigned(header string, claims map[string]any) string {
	content, _ := json.Marshal(claims)
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(header)) + "." + encode(content) + "."
}

func TestTokensOfAttackersAreRefused(t *testing.T) {
	i, other, c := oidctest.Start(t), oidctest.Start(t), &clock{now: time.Now()}
	other.Rotate("first") // a key of its own under the name of the good one
	v := verify(t, i, c, func(o *oidc.Issuer) { o.Clients = []string{"cli"} })
	good := func() map[string]any {
		claims := i.Claims("tidewaiter", "u-1", "security")
		claims["azp"] = "cli"
		return claims
	}
	if _, err := v.Authenticate(t.Context(), i.Sign(good())); err != nil {
		t.Fatal(err)
	}
	with := func(name string, value any) string {
		claims := good()
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
		return i.Sign(claims)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(i.Key().Public()))})
	token := i.Sign(good())
	parts := strings.Split(token, ".")
	for name, tt := range map[string]struct{ token, why string }{
		"another issuer's own":              {other.Sign(other.Claims("tidewaiter", "u-1", "security")), "not configured"},
		"another issuer in our name":        {other.Sign(good()), "signed it"},
		"no issuer":                         {with("iss", nil), "not configured"},
		"an issuer that is no text":         {with("iss", 7), "claims"},
		"unsigned":                          {unsigned(`{"alg":"none","typ":"JWT"}`, good()), "not signed"},
		"unsigned, in another spelling":     {unsigned(`{"alg":"nOnE"}`, good()), "not signed"},
		"unsigned, of an allowed algorithm": {unsigned(`{"alg":"RS256","kid":"first"}`, good()), "sign"},
		"the public key as a secret":        {oidctest.SignWith(t, jose.HS256, public, "first", good()), "not signed"},
		"the public key's bytes as secret":  {oidctest.SignWith(t, jose.HS512, i.Key().N.Bytes(), "first", good()), "not signed"},
		"another algorithm than the key's":  {oidctest.SignWith(t, jose.RS512, i.Key(), "first", good()), "signed it"},
		"a key of its own in the header":    {embedded(t, other, good()), "sign"},
		"an unknown key":                    {oidctest.SignWith(t, jose.RS256, i.Key(), "second", good()), "signed it"},
		"claims that were changed":          {parts[0] + "." + strings.Split(with("sub", "root"), ".")[1] + "." + parts[2], "signed it"},
		"another audience":                  {with("aud", "other"), `not for "tidewaiter"`},
		"several others":                    {with("aud", []string{"tidewaiter2", "Tidewaiter"}), `not for "tidewaiter"`},
		"no audience":                       {with("aud", nil), `not for "tidewaiter"`},
		"expired":                           {with("exp", c.now.Add(-2*time.Minute).Unix()), "expired at "},
		"without an end":                    {with("exp", nil), "when it expires"},
		"an end out of range":               {with("exp", 1e30), "claims"},
		"an end that is a text":             {with("exp", "never"), "claims"},
		"not in force yet":                  {with("nbf", c.now.Add(2*time.Minute).Unix()), "not in force before"},
		"from the future":                   {with("iat", c.now.Add(2*time.Minute).Unix()), "in the future"},
		"of nobody":                         {with("sub", nil), "whom it is of"},
		"of another application":            {with("azp", "game"), "another application"},
		"of no application":                 {with("azp", nil), "which application"},
		"of two applications":               {with("client_id", "game"), "another application"},
		"huge":                              {with("pad", strings.Repeat("x", 20<<10)), "longer"},
		"no token":                          {"eyJ.eyJ.", "not signed"},
		"empty":                             {"", "not signed"},
	} {
		t.Run(name, func(t *testing.T) {
			who, err := v.Authenticate(t.Context(), tt.token)
			if !errs.Is(err, errs.Unauthorized) || !strings.Contains(err.Error(), tt.why) || who.Scope != "" {
				t.Errorf("%+v, %v; want it refused because %q", who, err, tt.why)
			}
			if err != nil && len(tt.token) > 20 && strings.Contains(err.Error(), tt.token[len(tt.token)-20:]) {
				t.Errorf("the error holds the token: %v", err)
			}
		})
	}
}

// embedded is a token that brings the key to check it with.
func embedded(t *testing.T, by *oidctest.Issuer, claims map[string]any) string {
	t.Helper()
	signer := must(jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: by.Key()}, &jose.SignerOptions{EmbedJWK: true}))
	return must(must(signer.Sign(must(json.Marshal(claims)))).CompactSerialize())
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestClocksMayDifferALittle(t *testing.T) {
	i, c := oidctest.Start(t), &clock{now: time.Now()}
	v := verify(t, i, c)
	claims := i.Claims("tidewaiter", "u-1", "web")
	claims["exp"], claims["iat"], claims["nbf"] = c.now.Add(-50*time.Second).Unix(), c.now.Add(50*time.Second).Unix(), c.now.Add(50*time.Second).Unix()
	if _, err := v.Authenticate(t.Context(), i.Sign(claims)); err != nil {
		t.Error(err)
	}
}

func TestNobodyWithoutAGroup(t *testing.T) {
	i, c := oidctest.Start(t), &clock{now: time.Now()}
	_, err := verify(t, i, c).Authenticate(t.Context(), i.Sign(i.Claims("tidewaiter", "u-1", "sales")))
	if !errs.Is(err, errs.Forbidden) || !strings.Contains(errs.Hint(err), "claim groups") {
		t.Errorf("%v, hint %q", err, errs.Hint(err))
	}
}

func TestKeysAreKeptAndRotated(t *testing.T) {
	i, c := oidctest.Start(t), &clock{now: time.Now()}
	v := verify(t, i, c)
	check := func(step, token string, want errs.Kind, asked int64) {
		t.Helper()
		if _, err := v.Authenticate(t.Context(), token); errs.KindOf(err) != want || i.Asked() != asked {
			t.Errorf("%s: %v after %d requests, want %q after %d", step, err, i.Asked(), want, asked)
		}
	}
	token := func() string { return i.Sign(i.Claims("tidewaiter", "u-1", "web")) }
	before := token()
	check("first", before, "", 2) // what it says of itself, and its keys
	check("again", before, "", 2)
	i.Rotate("second")
	check("a new key, a moment later", token(), errs.Unauthorized, 2)
	c.pass(jwks.RetryPause)
	check("a new key", token(), "", 4)
	check("the key before", before, errs.Unauthorized, 4)
}

func TestAnIssuerThatIsDownIsNotTheCallersFault(t *testing.T) {
	i, c := oidctest.Start(t), &clock{now: time.Now()}
	v, token := verify(t, i, c), i.Sign(i.Claims("tidewaiter", "u-1", "web"))
	i.Stop()
	_, err := v.Authenticate(t.Context(), token)
	if !errs.Is(err, errs.Unavailable) || errs.RetryAfter(err) == 0 || !strings.Contains(err.Error(), "keys of issuer corp") {
		t.Errorf("%v, retry after %s", err, errs.RetryAfter(err))
	}
}

// Whoever answers at the address of the issuer has to be it.
func TestAnIssuerOfAnotherName(t *testing.T) {
	i, c := oidctest.Start(t), &clock{now: time.Now()}
	i.CallsItself = "https://other.example"
	if _, err := verify(t, i, c).Authenticate(t.Context(), i.Sign(i.Claims("tidewaiter", "u-1", "web"))); !errs.Is(err, errs.Unavailable) {
		t.Errorf("%v", err)
	}
}
