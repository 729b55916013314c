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
			ClientCertFile: r.ClientCertFile, ClientKeyFile: r.ClientKeyFile,
			Auth:             r.Auth.settings(),
			RequestTimeout:   r.RequestTimeout,
			MaxManifestBytes: int64(c.Limits.ManifestBytes),
			Limits: registry.Limits{
				ConcurrentPulls: r.Limits.ConcurrentPulls, RequestsPerSecond: r.Limits.RequestsPerSecond,
				Bandwidth: int64(r.Limits.Bandwidth),
			},
			Mirrors: r.mirrorSettings(c.CAFile),
			Listing: r.listing(),
		}
	}
	return settings
}

// caFile is the registry's own or, where TLS is spoken, the global one.
func (r Registry) caFile(global string) string { return ownOrGlobal(r.CAFile, r.PlainHTTP, global) }

func ownOrGlobal(own string, plainHTTP bool, global string) string {
	if own != "" || plainHTTP {
		return own
	}
	return global
}

// ScanLimits returns the bounds of a scan.
func (c Config) ScanLimits() scan.Limits {
	return scan.Limits{ImageBytes: int64(c.Limits.ImageBytes), Layers: c.Limits.Layers, Platforms: c.Platforms}
}
