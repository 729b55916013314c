package registry

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/awslabs/amazon-ecr-credential-helper/ecr-login/api"
	"github.com/google/go-containerregistry/pkg/authn"
)

// cloudTimeout bounds one request that a cloud's program makes; it goes on when
// nobody waits for it any more.
const cloudTimeout = time.Minute

// noCache is a directory that cannot be: the helper then keeps no credential on
// disk. They are kept in memory, by login.
const noCache = "~none"

func isECR(host string) bool {
	_, err := api.ExtractRegistry(hostname(host))
	return err == nil
}

// ecrCredential asks Amazon, in the region that the host names, with the
// identity that its SDK finds: environment, shared files, web identity,
// container or instance role.
func ecrCredential(ctx context.Context, host string) (authn.Authenticator, error) {
	registry, err := api.ExtractRegistry(host)
	if err != nil {
		return nil, err
	}
	options := []func(*config.LoadOptions) error{config.WithHTTPClient(awshttp.NewBuildableClient().WithTimeout(cloudTimeout))}
	if registry.Region != "" {
		options = append(options, config.WithRegion(registry.Region))
	}
	if registry.FIPS {
		options = append(options, config.WithUseFIPSEndpoint(aws.FIPSEndpointStateEnabled))
	}
	// The helper's own way to make a client panics on a broken configuration.
	settings, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, err
	}
	client := api.DefaultClientFactory{}.NewClientWithOptions(api.Options{Config: settings, CacheDir: noCache})
	found, err := client.GetCredentials(host)
	if err != nil {
		return nil, err
	}
	return &authn.Basic{Username: found.Username, Password: found.Password}, nil
}
