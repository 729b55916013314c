package config

import (
	"regexp"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
)

// Registry is a registry that images are pulled from.
type Registry struct {
	// Name in URLs and answers, unique; lower-case letters, digits and hyphens. `sboms` is taken. Required.
	Name string `yaml:"name"`
	// Host that users write in image references, with the port if it is not 443. Required.
	Host string `yaml:"host"`
	// Other hosts under which the same registry appears in webhooks and references.
	Aliases []string `yaml:"aliases"`
	// Host to connect to in place of `host`, when that is not reachable from here.
	Endpoint string `yaml:"endpoint"`
	// Whether to speak HTTP without TLS. Credentials then travel in the clear.
	PlainHTTP bool `yaml:"plain_http" default:"false"`
	// PEM file of certificate authorities to trust for this registry besides the system's, in place of `ca_file`.
	CAFile string `yaml:"ca_file" path:"true"`
	// PEM file with the certificate chain that this process shows the registry, together with `client_key_file`. Both are read again for every new connection.
	ClientCertFile string `yaml:"client_cert_file" path:"true"`
	// PEM file with the private key of `client_cert_file`.
	ClientKeyFile string `yaml:"client_key_file" path:"true"`
	// Hosts, with the port if it is not 443, of token and storage services that belong to the registry. Only these, `host` and `endpoint` may have private addresses.
	TrustedHosts []string `yaml:"trusted_hosts"`
	// Time one small request may take, and each pause within a layer.
	RequestTimeout time.Duration `yaml:"request_timeout" default:"30s"`
	// How to log in; nothing for anonymous. One of the four ways.
	Auth RegistryAuth `yaml:"auth"`
	// How hard the registry may be used.
	Limits RegistryLimits `yaml:"limits"`
	// Hosts that serve copies of the registry's content. They are asked for content by digest, in this order, before the registry; docs/registries.md says what is never asked there.
	Mirrors []Mirror `yaml:"mirrors"`
	// What the registry sends when something is pushed; leave it out when it sends nothing.
	Webhook Webhook `yaml:"webhook"`
	// Comparing what the registry lists with what is known, so that nothing goes unseen.
	Reconcile Reconcile `yaml:"reconcile"`
	// Which images are wanted; without rules, all. What somebody asks for is always looked at.
	Rules Rules `yaml:"rules"`
}

// RegistryAuth is how to log in to a registry.
type RegistryAuth struct {
	// Docker config.json whose credentials and credential helpers are used.
	DockerConfig string `yaml:"docker_config" path:"true"`
	// User name, together with `password`.
	Username string `yaml:"username"`
	// Password or access token of `username`.
	Password Secret `yaml:"password"`
	// Bearer token that is sent as it is.
	Token Secret `yaml:"token"`
	// Cloud that is asked for a credential, with the identity it gives this process: ecr, google or acr.
	Keychain string `yaml:"keychain"`
}

// reservedName is where uploaded SBOMs live; a registry cannot have it.
const reservedName = "sboms"

var registryName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// checkRegistries checks each registry and that no name and no host stands for
// two of them.
func (c Config) checkRegistries(ps *Problems) {
	names, hosts := map[string]string{}, map[string]string{}
	for i, r := range c.Registries {
		path := at("registries", i)
		r.checkName(ps, path, names)
		r.checkHosts(ps, path, hosts)
		r.checkConnection(ps, path)
		r.Auth.check(ps, path+".auth", r.Host)
		r.Limits.check(ps, path+".limits")
		r.checkMirrors(ps, path+".mirrors")
		r.checkWebhook(ps, path+".webhook")
		r.checkReconcile(ps, path+".reconcile")
		r.checkRules(ps, path+".rules")
	}
}

func (r Registry) checkName(ps *Problems, path string, taken map[string]string) {
	switch {
	case r.Name == "":
		ps.add(path+".name", "empty")
	case !registryName.MatchString(r.Name):
		ps.add(path+".name", "%.80q: use lower-case letters, digits and hyphens between them, at most 63", r.Name)
	case r.Name == reservedName:
		ps.add(path+".name", "%q is the name uploaded SBOMs have; choose another", reservedName)
	case taken[r.Name] != "":
		ps.add(path+".name", "%q is the name of %s already", r.Name, taken[r.Name])
	default:
		taken[r.Name] = path
	}
}

// checkHosts checks every host of a registry. The same endpoint may serve several
// registries.
func (r Registry) checkHosts(ps *Problems, path string, taken map[string]string) {
	r.checkHost(ps, path+".host", r.Host, taken)
	for i, alias := range r.Aliases {
		r.checkHost(ps, at(path+".aliases", i), alias, taken)
	}
	if r.Endpoint != "" && !isHost(r.Endpoint) {
		ps.add(path+".endpoint", notHost, r.Endpoint)
	}
	checkTrustedHosts(ps, path, r.TrustedHosts)
}

func checkTrustedHosts(ps *Problems, path string, hosts []string) {
	for i, host := range hosts {
		if !isHost(host) {
			ps.add(at(path+".trusted_hosts", i), notHost, host)
		}
	}
}

const notHost = "%.200q is not a host: write it without scheme and path, as registry.example or registry.example:5000"

func (r Registry) checkHost(ps *Problems, path, host string, taken map[string]string) {
	switch {
	case host == "":
		ps.add(path, "empty")
	case !isHost(host):
		ps.add(path, notHost, host)
	case !strings.ContainsAny(host, ".:") && host != "localhost":
		ps.add(path, "%q has neither a dot nor a port: in an image reference it would be read as a repository of Docker Hub", host)
	case taken[host] != "":
		ps.add(path, "%q is %s already; a host can belong to one registry, once", host, taken[host])
	default:
		taken[host] = path
	}
}

func isHost(s string) bool {
	_, err := name.NewRegistry(s, name.StrictValidation)
	return err == nil && !strings.ContainsAny(s, "/@?# ")
}

const noCertificate = "plain_http is true, so there is no certificate to check"

func (r Registry) checkConnection(ps *Problems, path string) {
	if r.PlainHTTP && r.CAFile != "" {
		ps.add(path+".ca_file", noCertificate)
	}
	switch {
	case r.ClientCertFile == "" && r.ClientKeyFile != "":
		ps.add(path+".client_key_file", "client_cert_file is missing; they belong together")
	case r.ClientKeyFile == "" && r.ClientCertFile != "":
		ps.add(path+".client_cert_file", "client_key_file is missing; they belong together")
	case r.PlainHTTP && r.ClientCertFile != "":
		ps.add(path+".client_cert_file", "plain_http is true, so no certificate can be shown")
	}
	ps.atLeast(path+".request_timeout", r.RequestTimeout, 1)
}
