package config

import (
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
}

var webhookField = regexp.MustCompile(`^(format|source|repository_prefix|auth\.(kind|header|parameter|secrets(\[\d+\])?))$`)

// checkWebhook asks the webhook room, which knows the formats.
func (r Registry) checkWebhook(ps *Problems, path string) {
	if r.Webhook.Format == "" {
		if r.Webhook.Auth.Kind != "" || r.Webhook.Auth.Header != "" || len(r.Webhook.Auth.Secrets) > 0 {
			ps.add(path+".format", "empty")
		}
		return
	}
	for _, err := range r.endpoint(0).FormatProblems() {
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
// webhook, none when the receiver is off.
func (c Config) WebhookEndpoints() []webhook.Endpoint {
	var endpoints []webhook.Endpoint
	for _, r := range c.Registries {
		if c.Receiver.Enabled && r.Webhook.Format != "" {
			endpoints = append(endpoints, r.endpoint(c.Limits.WebhookBody))
		}
	}
	return endpoints
}

func (r Registry) endpoint(maxBody Size) webhook.Endpoint {
	secrets := make([]string, len(r.Webhook.Auth.Secrets))
	for i, s := range r.Webhook.Auth.Secrets {
		secrets[i] = s.Reveal()
	}
	return webhook.Endpoint{
		Registry: r.Name, Host: r.Host, Aliases: r.Aliases,
		Format: r.Webhook.Format, Source: r.Webhook.Source, RepositoryPrefix: r.Webhook.RepositoryPrefix,
		Auth: webhook.Auth{
			Kind: r.Webhook.Auth.Kind, Header: r.Webhook.Auth.Header, Parameter: r.Webhook.Auth.Parameter, Secrets: secrets,
		},
		MaxBody: int64(maxBody),
	}
}
