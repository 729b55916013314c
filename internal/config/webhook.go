package config

import (
	"io"
	"os"
	"reflect"
	"regexp"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/webhook"
)

// Webhook is an endpoint: it is served at /webhooks/ followed by the registry's
// name.
type Webhook struct {
	// Format of the bodies; docs/webhooks.md lists them. Empty means no webhook.
	Format string `yaml:"format"`
	// How a body proves where it comes from.
	Auth WebhookAuth `yaml:"auth"`
	// Nexus and Artifactory: their own name of the repository that this registry is; events of others are ignored. Empty takes all.
	Source string `yaml:"source"`
	// Nexus and Artifactory: what stands before the names in events to make them those of image references: `none`, `source` (their own name of the repository), or a path. Empty means what is usual for the format.
	RepositoryPrefix string `yaml:"repository_prefix"`
}

// WebhookAuth is how a body proves where it comes from.
type WebhookAuth struct {
	// Kind of proof; docs/webhooks.md lists what each format takes. Required with `format`.
	Kind string `yaml:"kind"`
	// Header that carries the proof, where the kind leaves a choice.
	Header string `yaml:"header"`
	// Query parameter that carries the secret of kind `query`; empty means `token`.
	Parameter string `yaml:"parameter"`
	// Accepted secrets; two at once allow to change them without a gap.
	Secrets []Secret `yaml:"secrets"`
	// ARNs of the topics that kind `sns` takes messages of.
	Topics []string `yaml:"topics"`
	// PEM file with the certificates any of which kind `sns` verifies with; empty fetches the one a message names from Amazon.
	CertificateFile string `yaml:"certificate_file" path:"true"`
	// Issuer of the tokens of kind `oidc`; empty means Google.
	Issuer string `yaml:"issuer"`
	// Audience that the tokens of kind `oidc` must be for.
	Audience string `yaml:"audience"`
	// Verified e-mail address of the account that the tokens of kind `oidc` must be of. Google needs it.
	Email string `yaml:"email"`
	// Application that the tokens of kind `oidc` must be of (claim appid or azp). Other issuers than Google need it or `email`.
	AppID string `yaml:"app_id"`
	// Address of the issuer's keys for kind `oidc`; empty means Google's. Other issuers need it or `jwks_file`.
	JWKSURL string `yaml:"jwks_url"`
	// File with the issuer's keys for kind `oidc` as a JSON Web Key Set; with it nothing is fetched.
	JWKSFile string `yaml:"jwks_file" path:"true"`
}

var webhookField = regexp.MustCompile(`^(format|source|repository_prefix|auth\.(kind|header|parameter|(secrets|topics)(\[\d+\])?|certificate_file|issuer|audience|email|app_id|jwks_(url|file)))$`)

// checkWebhook asks the webhook room, which knows the formats.
func (r Registry) checkWebhook(ps *Problems, path string) {
	if r.Webhook.Format == "" {
		if !reflect.ValueOf(r.Webhook.Auth).IsZero() {
			ps.add(path+".format", "empty")
		}
		return
	}
	endpoint, err := r.endpoint(0)
	if err != nil {
		ps.add(path+"."+errs.Field(err), "%s", err)
		return
	}
	for _, err := range endpoint.FormatProblems() {
		key, text := path, err.Error()
		if field, rest, ok := strings.Cut(text, ": "); ok && webhookField.MatchString(field) {
			key, text = path+"."+field, rest
		}
		if hint := errs.Hint(err); hint != "" {
			text += "; " + hint
		}
		ps.add(key, "%s", text)
	}
}

// WebhookEndpoints returns the endpoints to serve: one for each registry with a
// webhook, none when the receiver is off. The error is of kind Invalid when a
// file with keys cannot be read any more.
func (c Config) WebhookEndpoints() ([]webhook.Endpoint, error) {
	var endpoints []webhook.Endpoint
	for _, r := range c.Registries {
		if !c.Receiver.Enabled || r.Webhook.Format == "" {
			continue
		}
		e, err := r.endpoint(c.Limits.WebhookBody)
		if err != nil {
			return nil, errs.Op("config: webhook of registry "+r.Name, err)
		}
		endpoints = append(endpoints, e)
	}
	return endpoints, nil
}

func (r Registry) endpoint(maxBody Size) (webhook.Endpoint, error) {
	auth, err := r.Webhook.Auth.settings()
	return webhook.Endpoint{
		Registry: r.Name, Host: r.Host, Aliases: r.Aliases,
		Format: r.Webhook.Format, Source: r.Webhook.Source, RepositoryPrefix: r.Webhook.RepositoryPrefix,
		Auth: auth, MaxBody: int64(maxBody),
	}, err
}

// settings translates the proof, with the content of the files.
func (a WebhookAuth) settings() (webhook.Auth, error) {
	secrets := make([]string, len(a.Secrets))
	for i, s := range a.Secrets {
		secrets[i] = s.Reveal()
	}
	certificate, err := keyFile("auth.certificate_file", a.CertificateFile)
	if err != nil {
		return webhook.Auth{}, err
	}
	jwks, err := keyFile("auth.jwks_file", a.JWKSFile)
	return webhook.Auth{
		Kind: a.Kind, Header: a.Header, Parameter: a.Parameter, Secrets: secrets,
		Topics: a.Topics, Certificate: certificate,
		Issuer: a.Issuer, Audience: a.Audience, Email: a.Email, AppID: a.AppID, JWKSURL: a.JWKSURL, JWKS: jwks,
	}, err
}

// maxKeyFile is more than the keys of any sender take.
const maxKeyFile = 256 << 10

// keyFile reads a file with public keys; an empty path stands for none. An empty
// file is an error, or the keys would be fetched instead.
func keyFile(key, path string) (string, error) {
	if path == "" {
		return "", nil
	}
	f, err := os.Open(path)
	if err != nil {
		return "", errs.New(errs.Invalid, "%s", err).WithField(key)
	}
	defer func() { _ = f.Close() }()
	content, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	switch {
	case err != nil:
		return "", errs.New(errs.Invalid, "%s", err).WithField(key)
	case len(content) == 0:
		return "", errs.New(errs.Invalid, "%s is empty", path).WithField(key)
	case len(content) > maxKeyFile:
		return "", errs.New(errs.Invalid, "%s is larger than %s", path, Size(maxKeyFile)).WithField(key)
	}
	return string(content), nil
}
