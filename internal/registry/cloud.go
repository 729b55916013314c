package registry

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// The clouds that can be asked for a credential.
const (
	KeychainECR    = "ecr"
	KeychainGoogle = "google"
	KeychainACR    = "acr"
)

// cloud is a service that gives out credentials for its own registries. Its
// programs talk to it with clients of their own, outside the guard: that is what
// naming a keychain means. What they are asked for comes from the configuration.
type cloud struct {
	owner string // for people
	hosts string // what its registries are called, for people
	// serves reports whether a host is one of its registries. Its credentials
	// open more than a registry, so they must not go anywhere else.
	serves func(host string) bool
	// credential asks for a credential for the host. ctx may outlast the caller,
	// who waits only so long.
	credential func(ctx context.Context, host string) (authn.Authenticator, error)
}

func cloudOf(keychain string) (cloud, bool) {
	switch keychain {
	case KeychainECR:
		return cloud{"Amazon", "ACCOUNT.dkr.ecr.REGION.amazonaws.com or public.ecr.aws", isECR, ecrCredential}, true
	case KeychainGoogle:
		return cloud{"Google", "REGION-docker.pkg.dev or gcr.io", isGoogle, googleCredential}, true
	case KeychainACR:
		return cloud{"Azure", "NAME.azurecr.io", isACR, acrCredential}, true
	}
	return cloud{}, false
}

// CheckKeychain tells whether the keychain exists and has credentials for the
// registry of that host. The error is of kind Invalid.
func CheckKeychain(keychain, host string) error {
	c, ok := cloudOf(keychain)
	switch {
	case !ok:
		return errs.New(errs.Invalid, "%.40q is none of ecr, google, acr", keychain)
	case !c.serves(host):
		return errs.New(errs.Invalid, "%s has credentials for its own registries only, and %.200q is none of these", c.owner, host).
			WithHint("they are called %s; for another name of one, use a credential helper in docker_config", c.hosts)
	}
	return nil
}

// fromCloud asks a keychain, as long as a small request may take.
func (s Settings) fromCloud() (authn.Authenticator, error) {
	c, _ := cloudOf(s.Auth.Keychain)
	late := errs.New(errs.Timeout, "%s gave no credential for %s within %s", c.owner, s.Host, s.RequestTimeout).
		WithHint("keychain %s of registry %s needs its cloud's identity and metadata services", s.Auth.Keychain, s.Name)
	found, err := within(s.straggler, s.RequestTimeout, late, func() (authn.AuthConfig, error) {
		// The caller's context would end what a token is renewed with.
		a, err := c.credential(context.Background(), hostname(s.Host))
		if err != nil {
			return authn.AuthConfig{}, err
		}
		return resolved(a)
	})
	var known *errs.Error
	switch {
	case err == nil:
		return authn.FromConfig(found), nil
	case errors.As(err, &known):
		return nil, known
	}
	return nil, errs.New(errs.Unauthorized, "%s gave no credential for %s: %s", c.owner, s.Host, cloudSays(err)).
		WithHint("check the identity that this process has at its cloud; registry %s asks keychain %s", s.Name, s.Auth.Keychain)
}

// cloudSays is the reason a cloud's program gives, without addresses and without
// the answer it quotes.
func cloudSays(err error) string {
	var at *url.Error
	for errors.As(err, &at) {
		err = at.Err
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	text, _, _ = strings.Cut(text, "Response body")
	return printable(text, 300)
}

// resolved is what an authenticator says now.
func resolved(a authn.Authenticator) (authn.AuthConfig, error) {
	config, err := a.Authorization()
	if err != nil {
		return authn.AuthConfig{}, err
	}
	return *config, nil
}
