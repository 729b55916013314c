package registry

import (
	"os"

	"github.com/docker/cli/cli/config/configfile"
	"github.com/docker/cli/cli/config/types"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// authenticator returns what to log in with. It is consulted whenever a
// credential is sent; errors of looking one up come then.
func (s Settings) authenticator() authn.Authenticator {
	if s.credential == nil {
		return authn.Anonymous
	}
	return s.credential
}

// findCredential looks for the credential that counts now.
func (s Settings) findCredential(registry name.Registry) (authn.Authenticator, error) {
	switch a := s.Auth; {
	case a.Username != "" || a.Password != "":
		return &authn.Basic{Username: a.Username, Password: a.Password}, nil
	case a.Token != "":
		return &authn.Bearer{Token: a.Token}, nil
	case a.DockerConfig != "":
		return s.fromDockerConfig(registry)
	case a.Keychain != "":
		return s.fromCloud()
	case a.keychain != nil:
		found, err := a.keychain.Resolve(registry)
		if err != nil {
			return nil, errs.New(errs.Unauthorized, "the credentials of this user for %s cannot be read", s.Host).
				WithHint("log in again with docker login %s", s.Host)
		}
		return found, nil
	}
	return authn.Anonymous, nil
}

// fromDockerConfig looks the registry up in a Docker config.json, under the
// names that Docker itself may have stored it by. A credential helper is a
// program; it is given RequestTimeout.
func (s Settings) fromDockerConfig(registry name.Registry) (authn.Authenticator, error) {
	f, err := os.Open(s.Auth.DockerConfig)
	if err != nil {
		return nil, errs.New(errs.Unauthorized, "docker config: %v", err).
			WithHint("check auth.docker_config of registry %s, and that this process may read it", s.Name)
	}
	defer func() { _ = f.Close() }()
	config := configfile.New(s.Auth.DockerConfig)
	if err := config.LoadFromReader(f); err != nil {
		// The parser's message may quote the file.
		return nil, errs.New(errs.Unauthorized, "docker config %s cannot be parsed", s.Auth.DockerConfig).
			WithHint("it must be JSON as docker login writes it, with user:password in base64 under auths")
	}
	for _, key := range configKeys(s, registry) {
		found, err := s.ask(config, key)
		if err != nil {
			return nil, err
		}
		if found != (types.AuthConfig{ServerAddress: found.ServerAddress}) {
			return authn.FromConfig(authn.AuthConfig{
				Username: found.Username, Password: found.Password, Auth: found.Auth,
				IdentityToken: found.IdentityToken, RegistryToken: found.RegistryToken,
			}), nil
		}
	}
	return authn.Anonymous, nil
}

func configKeys(s Settings, registry name.Registry) []string {
	if s.Host == "docker.io" {
		return []string{authn.DefaultAuthKey, "docker.io"}
	}
	if registry.RegistryStr() == s.Host {
		return []string{s.Host}
	}
	return []string{s.Host, registry.RegistryStr()}
}
