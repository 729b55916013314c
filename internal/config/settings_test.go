package config

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/registry"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/webhook"
)

func TestSettingsOfTheRooms(t *testing.T) {
	c := Default()
	c.CAFile = "/ca.pem"
	c.Limits.WebhookBody, c.Limits.ManifestBytes, c.Limits.ImageBytes, c.Limits.Layers = 2048, 4096, 7, 3
	c.Platforms = []image.Platform{{OS: "linux", Architecture: "amd64"}}
	c.Registries = []Registry{
		{
			Name: "a", Host: "a.example", Aliases: []string{"b.example"}, Endpoint: "a:5000", PlainHTTP: true, TrustedHosts: []string{"t.example"},
			RequestTimeout: time.Second, Auth: RegistryAuth{Username: "u", Password: "p"},
			Webhook: Webhook{Format: "generic", Auth: WebhookAuth{Kind: "hmac-sha256", Header: "X", Secrets: []Secret{"s1", "s2"}}},
		},
		{Name: "c", Host: "c.example", CAFile: "/own.pem", Auth: RegistryAuth{Token: "t"}},
		{
			Name: "d", Host: "d.example", Auth: RegistryAuth{DockerConfig: "/d.json"}, ClientCertFile: "/d.crt", ClientKeyFile: "/d.key",
			Limits: RegistryLimits{ConcurrentPulls: 2, RequestsPerSecond: 3, Bandwidth: 1 << 20},
			Mirrors: []Mirror{
				{Host: "m.example", RepositoryPrefix: "hub", TrustedHosts: []string{"s.example"}, Auth: RegistryAuth{Username: "m", Password: "n"}},
				{Host: "n.example", PlainHTTP: true, Auth: RegistryAuth{Keychain: "ecr"}},
			},
		},
	}
	wantRegistries := []registry.Settings{
		{
			Name: "a", Host: "a.example", Aliases: []string{"b.example"}, Endpoint: "a:5000", PlainHTTP: true, TrustedHosts: []string{"t.example"},
			RequestTimeout: time.Second, MaxManifestBytes: 4096, Auth: registry.Auth{Username: "u", Password: "p"},
		},
		{Name: "c", Host: "c.example", CAFile: "/own.pem", MaxManifestBytes: 4096, Auth: registry.Auth{Token: "t"}},
		{
			Name: "d", Host: "d.example", CAFile: "/ca.pem", MaxManifestBytes: 4096, Auth: registry.Auth{DockerConfig: "/d.json"},
			ClientCertFile: "/d.crt", ClientKeyFile: "/d.key",
			Limits: registry.Limits{ConcurrentPulls: 2, RequestsPerSecond: 3, Bandwidth: 1 << 20},
			Mirrors: []registry.Mirror{
				{Host: "m.example", RepositoryPrefix: "hub", CAFile: "/ca.pem", TrustedHosts: []string{"s.example"}, Auth: registry.Auth{Username: "m", Password: "n"}},
				{Host: "n.example", PlainHTTP: true, Auth: registry.Auth{Keychain: "ecr"}},
			},
		},
	}
	if diff := cmp.Diff(wantRegistries, c.RegistrySettings(), cmpopts.IgnoreUnexported(registry.Settings{}, registry.Auth{})); diff != "" {
		t.Errorf("registries (-want +got):\n%s", diff)
	}
	wantEndpoints := []webhook.Endpoint{{
		Registry: "a", Host: "a.example", Aliases: []string{"b.example"}, Format: "generic", MaxBody: 2048,
		Auth: webhook.Auth{Kind: "hmac-sha256", Header: "X", Secrets: []string{"s1", "s2"}},
	}}
	endpoints, err := c.WebhookEndpoints()
	if diff := cmp.Diff(wantEndpoints, endpoints); diff != "" || err != nil {
		t.Errorf("%v, endpoints (-want +got):\n%s", err, diff)
	}
	wantLimits := scan.Limits{ImageBytes: 7, Layers: 3, Platforms: c.Platforms}
	if diff := cmp.Diff(wantLimits, c.ScanLimits()); diff != "" {
		t.Errorf("limits (-want +got):\n%s", diff)
	}
	c.Receiver.Enabled = false
	if got, err := c.WebhookEndpoints(); len(got) != 0 || err != nil {
		t.Errorf("a receiver that is off has endpoints: %v, %v", got, err)
	}
}
