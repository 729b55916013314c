package registry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"regexp"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/smithy-go"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// elastic lists through AWS's own interface (Amazon ECR API,
// DescribeRepositories). The credentials are those the AWS SDK finds by itself;
// account and region are in the registry's host.
type elastic struct {
	*vendorAPI
	account, region string

	mu     sync.Mutex
	client *ecr.Client
	who    aws.CredentialsProvider
}

// ecrPattern is the host of a private registry: account, "-fips", region, domain.
var ecrPattern = regexp.MustCompile(`^(\d{12})\.dkr[.-]ecr(-fips)?\.([a-z0-9-]+)\.(amazonaws\.com(?:\.cn)?|on\.aws)$`)

func ecrHost(host string) []string { return ecrPattern.FindStringSubmatch(host) }

// ecrHome is where the interface of a registry's region is.
func ecrHome(host string) string {
	m := ecrHost(host)
	if m == nil {
		return ""
	}
	domain := m[4]
	if domain == "on.aws" {
		domain = "amazonaws.com"
	}
	if m[2] != "" {
		return "https://ecr-fips." + m[3] + "." + domain
	}
	return "https://api.ecr." + m[3] + "." + domain
}

func newECR(c *connection) (lister, error) {
	a, err := newAPI(c, "the AWS identity of this process needs ecr:DescribeRepositories for registry "+c.settings.Name)
	if err != nil {
		return nil, err
	}
	m := ecrHost(c.settings.Host)
	return &elastic{vendorAPI: a, account: m[1], region: m[3]}, nil
}

// page reads a page; a place is AWS's token.
func (e *elastic) page(ctx context.Context, place string) (page, error) {
	asking, cancel := e.withTimeout(ctx)
	defer cancel()
	client, err := e.connect(asking)
	if err != nil {
		return page{}, err
	}
	input := &ecr.DescribeRepositoriesInput{RegistryId: aws.String(e.account), MaxResults: aws.Int32(pageSize)}
	if place != "" {
		input.NextToken = aws.String(place)
	}
	output, err := client.DescribeRepositories(asking, input)
	if err != nil {
		return page{}, e.fault(asking, err, place)
	}
	p := page{next: aws.ToString(output.NextToken)}
	for _, r := range output.Repositories {
		p.names = append(p.names, aws.ToString(r.RepositoryName))
	}
	return p, nil
}

// connect makes the client at first use, and checks that there are credentials:
// that there are none is to be told as such.
func (e *elastic) connect(ctx context.Context) (*ecr.Client, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.client == nil {
		settings, err := config.LoadDefaultConfig(ctx, config.WithRegion(e.region))
		if err != nil {
			return nil, errs.New(errs.Unauthorized, "the AWS configuration of this process cannot be read: %s", clean(err)).WithHint("%s", e.hint)
		}
		e.who = settings.Credentials
		e.client = ecr.NewFromConfig(settings, func(o *ecr.Options) {
			o.BaseEndpoint = aws.String(e.base.String())
			o.HTTPClient = boundedClient{e.door}
		})
	}
	if _, err := e.who.Retrieve(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, e.explain(ctx, err)
		}
		return nil, errs.New(errs.Unauthorized, "this process has no AWS credentials").WithHint("%s", e.hint)
	}
	return e.client, nil
}

// boundedClient sends the SDK's requests through the guard.
type boundedClient struct{ door *guard }

// Do sends a request.
func (b boundedClient) Do(req *http.Request) (*http.Response, error) {
	resp, err := b.door.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body = &boundedBody{resp.Body, maxListBytes}
	return resp, nil
}

// boundedBody ends a body that is too large with an error, which a plain limit
// would take for the end.
type boundedBody struct {
	io.ReadCloser
	left int64
}

// Read reads on.
func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errs.New(errs.TooLarge, "a page of the list is larger than %d bytes", maxListBytes)
	}
	return n, err
}

// fault gives AWS's error codes a kind (Amazon ECR API, "Common Errors").
func (e *elastic) fault(ctx context.Context, err error, place string) error {
	var answer smithy.APIError
	if !errors.As(err, &answer) {
		return e.explain(ctx, err)
	}
	kind, hint := errs.Unavailable, ""
	switch answer.ErrorCode() {
	case "AccessDeniedException", "AccessDenied", "NotAuthorized", "OptInRequired":
		kind, hint = errs.Forbidden, e.hint
	case "UnrecognizedClientException", "InvalidSignatureException", "IncompleteSignature", "ExpiredTokenException", "ExpiredToken",
		"InvalidClientTokenId", "MissingAuthenticationToken", "MissingAuthenticationTokenException":
		kind, hint = errs.Unauthorized, e.hint
	case "ThrottlingException", "Throttling", "TooManyRequestsException", "LimitExceededException", "RequestLimitExceeded":
		kind = errs.RateLimited
	case "InvalidParameterException", "ValidationException", "ValidationError":
		kind, hint = errs.Invalid, "check the host of registry "+e.settings.Name
		if place != "" {
			hint = "AWS does not know how to go on with this list any more; the next one begins anew"
		}
	}
	return errs.New(kind, "%s answered %s", e.base.Host, printable(answer.ErrorCode(), 80)).WithHint("%s", hint)
}
