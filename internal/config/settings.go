package config

import (
	"github.com/tidewaiter/tidewaiter/internal/registry"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// RegistrySettings returns what the registry client needs of each registry.
func (c Config) RegistrySettings() []registry.Settings {
	settings := make([]registry.Settings, len(c.Registries))
	for i, r := range c.Registries {
		settings[i] = registry.Settings{
			Name: r.Name, Host: r.Host, Aliases: r.Aliases, Endpoint: r.Endpoint,
			PlainHTTP: r.PlainHTTP, CAFile: r.caFile(c.CAFile), TrustedHosts: r.TrustedHosts,
			Auth: registry.Auth{
				Username: r.Auth.Username, Password: r.Auth.Password.Reveal(),
				Token: r.Auth.Token.Reveal(), DockerConfig: r.Auth.DockerConfig,
			},
			RequestTimeout:   r.RequestTimeout,
			MaxManifestBytes: int64(c.Limits.ManifestBytes),
		}
	}
	return settings
}

// caFile is the registry's own or, where TLS is spoken, the global one.
func (r Registry) caFile(global string) string {
	if r.CAFile != "" || r.PlainHTTP {
		return r.CAFile
	}
	return global
}

// ScanLimits returns the bounds of a scan.
func (c Config) ScanLimits() scan.Limits {
	return scan.Limits{ImageBytes: int64(c.Limits.ImageBytes), Layers: c.Limits.Layers, Platforms: c.Platforms}
}
