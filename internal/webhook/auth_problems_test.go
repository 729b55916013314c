package webhook

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestAuthOfSignersIsChecked: what would never verify, or would let everybody in,
// is refused with the configuration and names its field.
func TestAuthOfSignersIsChecked(t *testing.T) {
	sns := func(change func(*Auth)) Auth { a := withCertificate(snsAuth()); change(&a); return a }
	google := func(change func(*Auth)) Auth { a := googleAuth(); change(&a); return a }
	entra := func(change func(*Auth)) Auth { a := entraAuth(); change(&a); return a }
	tests := []struct {
		name, format string
		auth         Auth
		want         []string
	}{
		{"SNS", "ecr-sns", sns(func(*Auth) {}), nil},
		{"SNS that fetches", "ecr-sns", snsAuth(), nil},
		{"two certificates", "ecr-sns", sns(func(a *Auth) { a.Certificate += strangeSigner().certificate }), nil},
		{"no topic", "ecr-sns", sns(func(a *Auth) { a.Topics = nil }), []string{"auth.topics: "}},
		{"topics that are none", "ecr-sns", sns(func(a *Auth) {
			a.Topics = []string{snsTopic, "ecr-events", "arn:aws:sqs:eu-west-1:444455556666:q", snsTopic + "\n"}
		}),
			[]string{"auth.topics[1]: ", "auth.topics[2]: ", "auth.topics[3]: "}},
		{"no certificate in it", "ecr-sns", sns(func(a *Auth) { a.Certificate = "x" }), []string{"auth.certificate_file: "}},
		{"a key in it", "ecr-sns", sns(func(a *Auth) { a.Certificate += "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n" }), []string{"auth.certificate_file: "}},
		{"a secret for SNS", "ecr-sns", sns(func(a *Auth) { a.Secrets = []string{"s"} }), []string{"auth.secrets: "}},
		{"a header for SNS", "ecr-sns", sns(func(a *Auth) { a.Header = "X" }), []string{"auth.header: "}},
		{"an audience for SNS", "ecr-sns", sns(func(a *Auth) { a.Audience = "x" }), []string{"auth.audience: "}},
		{"SNS elsewhere", "generic", sns(func(*Auth) {}), []string{"auth.kind: "}},
		{"Google", "gar-pubsub", google(func(*Auth) {}), nil},
		{"Google by its address", "gar-pubsub", google(func(a *Auth) { a.JWKS = "" }), nil},
		{"Google by name", "gar-pubsub", google(func(a *Auth) { a.Issuer = "accounts.google.com" }), nil},
		{"no audience", "gar-pubsub", google(func(a *Auth) { a.Audience = "" }), []string{"auth.audience: "}},
		{"Google without an account", "gar-pubsub", google(func(a *Auth) { a.Email, a.AppID = "", "x" }), []string{"auth.email: "}},
		{"no keys in it", "gar-pubsub", google(func(a *Auth) { a.JWKS = `{"keys":[]}` }), []string{"auth.jwks_file: "}},
		{"a symmetric key", "gar-pubsub", google(func(a *Auth) { a.JWKS = `{"keys":[{"kty":"oct","k":"c2VjcmV0","alg":"HS256"}]}` }), []string{"auth.jwks_file: "}},
		{"a key for encryption", "gar-pubsub", google(func(a *Auth) { a.JWKS = strings.Replace(a.JWKS, `"sig"`, `"enc"`, 1) }), []string{"auth.jwks_file: "}},
		{"a topic for Google", "gar-pubsub", google(func(a *Auth) { a.Topics = []string{snsTopic} }), []string{"auth.topics: "}},
		{"Entra", "eventgrid", entra(func(*Auth) {}), nil},
		{"Entra without an application", "eventgrid", entra(func(a *Auth) { a.AppID = "" }), []string{"auth.app_id: "}},
		{"Entra without keys", "eventgrid", entra(func(a *Auth) { a.JWKS, a.JWKSURL = "", "" }), []string{"auth.jwks_url: "}},
		{"keys over http", "eventgrid", entra(func(a *Auth) { a.JWKSURL = "http://login.microsoftonline.com/keys" }), []string{"auth.jwks_url: "}},
		{"keys with a password", "eventgrid", entra(func(a *Auth) { a.JWKSURL = "https://a:b@login.microsoftonline.com/keys" }), []string{"auth.jwks_url: "}},
		{"an issuer that is none", "eventgrid", entra(func(a *Auth) { a.Issuer = "login.microsoftonline.com" }), []string{"auth.issuer: "}},
		{"a token's settings for a secret", "generic", Auth{Kind: AuthBearer, Secrets: []string{"s"}, Issuer: "https://x", Audience: "x", Email: "x", AppID: "x", JWKSURL: "https://x", JWKS: "{}", Certificate: "x"},
			[]string{"auth.certificate_file: ", "auth.issuer: ", "auth.audience: ", "auth.email: ", "auth.app_id: ", "auth.jwks_url: ", "auth.jwks_file: "}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, err := range (Endpoint{Format: tt.format, Auth: tt.auth}).FormatProblems() {
				field, _, _ := strings.Cut(err.Error(), ": ")
				got = append(got, field+": ")
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}
