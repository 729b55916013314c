package config

import (
	"cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

// RegistryLimits are how hard a registry may be used.
type RegistryLimits struct {
	// Images of this registry pulled at a time, counted over all processes; one process never has more of its layers open than that. 0 leaves it to `workers.count`.
	ConcurrentPulls int `yaml:"concurrent_pulls" default:"0"`
	// Requests per second that one process sends to the registry and its token service; as many may come at once. 0 for no limit.
	RequestsPerSecond int `yaml:"requests_per_second" default:"0"`
	// Bytes per second that one process reads from the registry and from where it redirects, as `50MiB`. 0 for no limit.
	Bandwidth Size `yaml:"bandwidth" default:"0B"`
}

// leastBandwidth still moves a manifest within the usual request_timeout.
const leastBandwidth = 16 << 10

func (l RegistryLimits) check(ps *Problems, path string) {
	ps.between(path+".concurrent_pulls", l.ConcurrentPulls, 0, 10_000)
	ps.between(path+".requests_per_second", l.RequestsPerSecond, 0, 100_000)
	if l.Bandwidth != 0 {
		ps.sizes(path+".bandwidth", l.Bandwidth, leastBandwidth, 1<<40)
	}
}

// Mirror is a host that serves copies of a registry's content.
type Mirror struct {
	// Host to connect to, with the port if it is not 443. Required.
	Host string `yaml:"host"`
	// Path that stands before the registry's repository names at the mirror, as `docker-hub` or `proxy/hub`; empty when they are the same.
	RepositoryPrefix string `yaml:"repository_prefix"`
	// Whether to speak HTTP without TLS to the mirror.
	PlainHTTP bool `yaml:"plain_http" default:"false"`
	// PEM file of certificate authorities to trust for the mirror besides the system's, in place of `ca_file`.
	CAFile string `yaml:"ca_file" path:"true"`
	// Hosts, with the port if it is not 443, of token and storage services that belong to the mirror. Only these and `host` may have private addresses.
	TrustedHosts []string `yaml:"trusted_hosts"`
	// How to log in to the mirror; the registry's own credential is never sent there.
	Auth RegistryAuth `yaml:"auth"`
}

// checkMirrors checks the mirrors of a registry, which are hosts of their own.
func (r Registry) checkMirrors(ps *Problems, path string) {
	seen := map[string]bool{}
	for i, m := range r.Mirrors {
		at := at(path, i)
		place := image.CanonicalHost(m.Host) + "/" + m.RepositoryPrefix
		switch {
		case m.Host == "":
			ps.add(at+".host", "empty")
		case !isHost(m.Host):
			ps.add(at+".host", notHost, m.Host)
		case place == image.CanonicalHost(cmp.Or(r.Endpoint, r.Host))+"/":
			ps.add(at+".host", "%q is the registry itself", m.Host)
		case seen[place]:
			ps.add(at+".host", "%q is a mirror of this registry already", m.Host)
		}
		seen[place] = true
		m.check(ps, at)
	}
}

func (m Mirror) check(ps *Problems, path string) {
	if m.RepositoryPrefix != "" && !image.IsRepository(m.RepositoryPrefix) {
		ps.add(path+".repository_prefix", "%.200q is not a path of lower-case names, as docker-hub or proxy/hub", m.RepositoryPrefix)
	}
	checkTrustedHosts(ps, path, m.TrustedHosts)
	if m.PlainHTTP && m.CAFile != "" {
		ps.add(path+".ca_file", noCertificate)
	}
	m.Auth.check(ps, path+".auth", m.Host)
}

// check checks a credential for a host.
func (a RegistryAuth) check(ps *Problems, path, host string) {
	ways := 0
	for _, set := range []bool{a.DockerConfig != "", a.Username != "" || a.Password != "", a.Token != "", a.Keychain != ""} {
		if set {
			ways++
		}
	}
	if ways > 1 {
		ps.add(path, "choose one of docker_config, username with password, token, and keychain")
	}
	if (a.Username == "") != (a.Password == "") {
		ps.add(path, "username and password belong together")
	}
	if a.Keychain == "" || host == "" {
		return
	}
	if err := registry.CheckKeychain(a.Keychain, host); err != nil {
		text := err.Error()
		if hint := errs.Hint(err); hint != "" {
			text += "; " + hint
		}
		ps.add(path+".keychain", "%s", text)
	}
}

// settings translates a credential.
func (a RegistryAuth) settings() registry.Auth {
	return registry.Auth{
		Username: a.Username, Password: a.Password.Reveal(), Token: a.Token.Reveal(),
		DockerConfig: a.DockerConfig, Keychain: a.Keychain,
	}
}

// mirrorSettings translates the mirrors; global is the CA file for all.
func (r Registry) mirrorSettings(global string) []registry.Mirror {
	var mirrors []registry.Mirror
	for _, m := range r.Mirrors {
		mirrors = append(mirrors, registry.Mirror{
			Host: m.Host, RepositoryPrefix: m.RepositoryPrefix, PlainHTTP: m.PlainHTTP,
			CAFile: ownOrGlobal(m.CAFile, m.PlainHTTP, global), TrustedHosts: m.TrustedHosts, Auth: m.Auth.settings(),
		})
	}
	return mirrors
}
