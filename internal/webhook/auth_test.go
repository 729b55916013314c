package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

func signature(secret, body string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body))
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

func TestCheck(t *testing.T) {
	const body = `{"image":"a/b:1"}`
	bearer := Auth{Kind: AuthBearer, Secrets: []string{"new", "old"}}
	fixed := Auth{Kind: AuthHeader, Header: "X-Token", Secrets: []string{"new", "old"}}
	signed := Auth{Kind: AuthHMACSHA256, Secrets: []string{"new", "old"}}
	tests := []struct {
		name    string
		auth    Auth
		headers []string
		ok      bool
	}{
		{"bearer", bearer, []string{"Authorization", "Bearer new"}, true},
		{"bearer, second secret", bearer, []string{"Authorization", "Bearer old"}, true},
		{"bearer, scheme in lower case", bearer, []string{"Authorization", "bearer new"}, true},
		{"bearer, wrong", bearer, []string{"Authorization", "Bearer newer"}, false},
		{"bearer, part", bearer, []string{"Authorization", "Bearer ne"}, false},
		{"bearer, both secrets", bearer, []string{"Authorization", "Bearer new old"}, false},
		{"bearer, missing", bearer, nil, false},
		{"bearer, empty", bearer, []string{"Authorization", ""}, false},
		{"bearer, no token", bearer, []string{"Authorization", "Bearer "}, false},
		{"bearer, no scheme", bearer, []string{"Authorization", "new"}, false},
		{"bearer, other scheme", bearer, []string{"Authorization", "Basic new"}, false},
		{"bearer, twice", bearer, []string{"Authorization", "Bearer new", "Authorization", "Bearer new"}, false},
		{"bearer, signed instead", bearer, []string{"X-Signature", signature("new", body)}, false},
		{"header", fixed, []string{"X-Token", "new"}, true},
		{"header, second secret", fixed, []string{"x-token", "old"}, true},
		{"header, wrong", fixed, []string{"X-Token", "New"}, false},
		{"header, longer", fixed, []string{"X-Token", "new "}, false},
		{"header, missing", fixed, []string{"Authorization", "new"}, false},
		{"header, empty", fixed, []string{"X-Token", ""}, false},
		{"header, with scheme", fixed, []string{"X-Token", "Bearer new"}, false},
		{"hmac", signed, []string{"X-Signature", signature("new", body)}, true},
		{"hmac, second secret", signed, []string{"X-Signature", signature("old", body)}, true},
		{"hmac, upper case", signed, []string{"X-Signature", "sha256=" + strings.ToUpper(signature("new", body)[7:])}, true},
		{"hmac, other secret", signed, []string{"X-Signature", signature("other", body)}, false},
		{"hmac, empty secret", signed, []string{"X-Signature", signature("", body)}, false},
		{"hmac, other body", signed, []string{"X-Signature", signature("new", body+" ")}, false},
		{"hmac, missing", signed, nil, false},
		{"hmac, empty", signed, []string{"X-Signature", ""}, false},
		{"hmac, only the prefix", signed, []string{"X-Signature", "sha256="}, false},
		{"hmac, no prefix", signed, []string{"X-Signature", signature("new", body)[7:]}, false},
		{"hmac, other algorithm", signed, []string{"X-Signature", "sha1=" + signature("new", body)[7:47]}, false},
		{"hmac, cut", signed, []string{"X-Signature", signature("new", body)[:40]}, false},
		{"hmac, not hex", signed, []string{"X-Signature", "sha256=" + strings.Repeat("z", 64)}, false},
		{"hmac, twice", signed, []string{"X-Signature", signature("new", body), "X-Signature", signature("new", body)}, false},
		{"hmac, secret as bearer", signed, []string{"Authorization", "Bearer new"}, false},
		{"none", Auth{Kind: AuthNone}, nil, true},
		{"no kind", Auth{}, []string{"Authorization", "Bearer new"}, false},
		{"no secret", Auth{Kind: AuthHMACSHA256}, []string{"X-Signature", signature("", body)}, false},
		{"an empty secret", Auth{Kind: AuthHMACSHA256, Secrets: []string{""}}, []string{"X-Signature", signature("", body)}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			header := http.Header{}
			for i := 0; i < len(tt.headers); i += 2 {
				header.Add(tt.headers[i], tt.headers[i+1])
			}
			err := tt.auth.check(t.Context(), request{header: header, body: []byte(body)}, plainSigning)
			if tt.ok != (err == nil) || err != nil && !errs.Is(err, errs.Unauthorized) {
				t.Errorf("check: %v, want ok %v", err, tt.ok)
			}
		})
	}
}

// TestBadCredentialIsRefusedBeforeParsing: what is wrong with the body is told
// to nobody without a credential.
func TestBadCredentialIsRefusedBeforeParsing(t *testing.T) {
	e := openEndpoint("generic")
	e.Auth = Auth{Kind: AuthBearer, Secrets: []string{"s"}}
	for _, body := range []string{"", "{", `{"image":"A B"}`, strings.Repeat("[", 10_000)} {
		if w := post(mustHandler(t, &keeper{}, e), "prod", body); w.Code != http.StatusUnauthorized {
			t.Errorf("%.20q: status %d", body, w.Code)
		}
	}
}

func TestAuthHidesItsSecrets(t *testing.T) {
	a := Auth{Kind: AuthBearer, Secrets: []string{"swordfish"}}
	e := Endpoint{Registry: "prod", Auth: a}
	for _, text := range []string{fmt.Sprint(a), fmt.Sprintf("%+v", e), fmt.Sprintf("%#v", e), fmt.Sprintf("%v", &e)} {
		if strings.Contains(text, "swordfish") {
			t.Errorf("%s", text)
		}
	}
}
