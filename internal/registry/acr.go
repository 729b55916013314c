package registry

import (
	"context"
	"strings"

	"github.com/chrismellard/docker-credential-acr-env/pkg/credhelper"
	"github.com/google/go-containerregistry/pkg/authn"
)

func isACR(host string) bool {
	h := hostname(host)
	for _, suffix := range []string{".azurecr.io", ".azurecr.cn", ".azurecr.us", ".azurecr.de"} {
		if strings.HasSuffix(h, suffix) {
			return true
		}
	}
	return false
}

// acrCredential asks Azure with the identity that the environment names: a
// service principal, workload identity, else the managed identity. What comes
// back is a refresh token for the registry.
func acrCredential(_ context.Context, host string) (authn.Authenticator, error) {
	user, secret, err := credhelper.NewACRCredentialsHelper().Get(host)
	if err != nil {
		return nil, err
	}
	return authn.FromConfig(authn.AuthConfig{Username: user, IdentityToken: secret}), nil
}
