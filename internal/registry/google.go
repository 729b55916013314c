package registry

import (
	"context"
	"errors"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/google"
)

func isGoogle(host string) bool {
	h := hostname(host)
	return h == "gcr.io" || strings.HasSuffix(h, ".gcr.io") || strings.HasSuffix(h, ".pkg.dev")
}

// googleCredential takes the application default credentials: a key file that
// the environment names, workload identity, the metadata service; else those of
// an installed gcloud. The library's own keychain tries once per process and
// stays anonymous when that was too early.
func googleCredential(ctx context.Context, _ string) (authn.Authenticator, error) {
	found, err := google.NewEnvAuthenticator(ctx)
	if err == nil {
		return found, nil
	}
	found, gcloudErr := google.NewGcloudAuthenticator(ctx)
	if gcloudErr == nil && found != authn.Anonymous {
		return found, nil
	}
	return nil, errors.Join(err, gcloudErr)
}
