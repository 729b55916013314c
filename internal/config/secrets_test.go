package config

import (
	"slices"
	"testing"
)

func TestSecretsFindsEverySecret(t *testing.T) {
	var c Config
	c.Database.URL = "postgres://owner:pw-database@db:5432/tidewaiter"
	c.VulnDB.URL = "https://user:pw-mirror@mirror.example/databases?sig=pw-signature"
	c.Registries = []Registry{{
		Auth:    RegistryAuth{Username: "robot", Password: "pw-registry"},
		Mirrors: []Mirror{{Auth: RegistryAuth{Token: "pw-mirror-token"}}},
		Webhook: Webhook{Auth: WebhookAuth{Secrets: []Secret{"pw-one", "user:pw-two"}}},
	}}
	c.Notify.Channels = []NotifyChannel{{URL: "https://hooks.example/pw-path", Email: NotifyEmail{Password: "pw-mail"}}}
	got := c.Secrets()
	for _, want := range []string{"pw-database", "pw-mirror", "pw-signature", "pw-registry", "pw-mirror-token", "pw-one", "pw-two", "https://hooks.example/pw-path", "pw-mail"} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is missing", want)
		}
	}
	for _, public := range []string{"robot", "https://user:pw-mirror@mirror.example/databases?sig=pw-signature"} {
		if slices.Contains(got, public) {
			t.Errorf("%s is no secret by itself", public)
		}
	}
}
