package config

import (
	"github.com/tidewaiter/tidewaiter/internal/webhook"
)

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
		Format:  r.Webhook.Format,
		Auth:    webhook.Auth{Kind: r.Webhook.Auth.Kind, Header: r.Webhook.Auth.Header, Secrets: secrets},
		MaxBody: int64(maxBody),
	}
}
