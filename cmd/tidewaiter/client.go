package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/api"
	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/outbound"
	"github.com/tidewaiter/tidewaiter/internal/telemetry"
)

// serverFlags name a running service, for commands that ask it.
type serverFlags struct {
	Server string `placeholder:"URL" default:"http://localhost:8080" env:"TIDEWAITER_SERVER" help:"Address of the service."`
	Token  string `placeholder:"TOKEN" env:"TIDEWAITER_TOKEN" help:"API token; file:PATH reads it from a file. A flag can be seen in the list of processes, so prefer the variable or a file."`
	CAFile string `name:"ca-file" placeholder:"FILE" env:"TIDEWAITER_CA_FILE" help:"PEM file of certificate authorities to trust besides the system's."`
}

// Bounds of what one request to the service may cost.
const (
	clientTimeout  = time.Minute
	connectTimeout = 30 * time.Second
	maxAnswer      = 32 << 20 // bytes
	maxProblem     = 64 << 10
)

// client asks the API of a running service. The token goes to that service and
// nowhere else: redirects are not followed.
type client struct {
	base  *url.URL // without the prefix of the API
	token string
	http  *http.Client
}

// client checks the flags and connects to nothing yet. The error is of kind
// Invalid and never holds the token.
func (f serverFlags) client() (*client, error) {
	base, err := f.base()
	if err != nil {
		return nil, err
	}
	token, err := f.token()
	if err != nil {
		return nil, err
	}
	roots, err := outbound.Roots(f.CAFile)
	if err != nil {
		return nil, errs.Op("--ca-file", err)
	}
	return &client{base: base, token: token, http: &http.Client{
		Transport: outbound.NewTransport(outbound.Settings{Roots: roots, ConnectTimeout: connectTimeout}), Timeout: clientTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// base reads --server. What follows the host is kept: a proxy may serve the
// service below a path. The prefix of the API may be there and need not.
func (f serverFlags) base() (*url.URL, error) {
	given := f.Server
	if given == "" {
		given = "http://localhost:8080" // a variable that is set to nothing counts as not set
	}
	u, err := url.Parse(given)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Host == "", u.RawQuery != "", u.Fragment != "":
		return nil, errs.New(errs.Invalid, "--server is not the address of a service").
			WithHint("write it as https://tidewaiter.example or http://localhost:8080")
	case u.User != nil:
		return nil, errs.New(errs.Invalid, "--server holds a user name").
			WithHint("the service knows tokens only: set TIDEWAITER_TOKEN")
	}
	path := strings.TrimRight(u.EscapedPath(), "/")
	path = strings.TrimRight(strings.TrimSuffix(path, api.Prefix), "/")
	return u.Parse(path + "/")
}

// token reads --token, which may name a file.
func (f serverFlags) token() (string, error) {
	token := f.Token
	if path, ok := strings.CutPrefix(token, "file:"); ok {
		content, err := os.ReadFile(path)
		if err != nil {
			return "", errs.Wrap(errs.Invalid, "--token", err)
		}
		token = string(content)
	}
	token = strings.TrimSpace(token)
	switch {
	case token == "":
		return "", errs.New(errs.Invalid, "there is no token").WithHint("set TIDEWAITER_TOKEN, or --token file:PATH; `tidewaiter token create NAME` makes one")
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", errs.New(errs.Invalid, "the token holds a character that no token has").WithHint("a token is one line that begins with tw_")
	}
	return token, nil
}

// get asks for a path below the prefix of the API, as "/trace", and decodes the
// answer into the pointer; *json.RawMessage keeps it as it came. A problem the
// service tells becomes an error with its kind, field and hint.
func (c *client) get(ctx context.Context, path string, parameters url.Values, into any) error {
	return c.do(ctx, http.MethodGet, path, parameters, nil, into)
}

// post sends a body as JSON, none when it is nil, and else does as get does.
// An answer without a body leaves the pointer alone.
func (c *client) post(ctx context.Context, path string, body, into any) error {
	return c.do(ctx, http.MethodPost, path, nil, body, into)
}

// delete asks that something ends, and does as get does.
func (c *client) delete(ctx context.Context, path string, into any) error {
	return c.do(ctx, http.MethodDelete, path, nil, nil, into)
}

func (c *client) do(ctx context.Context, method, path string, parameters url.Values, body, into any) error {
	request, err := c.request(ctx, method, path, parameters, body)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return c.unreachable(ctx, err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return c.refused(response)
	}
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return c.unreachable(ctx, err)
	case len(answer) > maxAnswer:
		return errs.New(errs.TooLarge, "the answer of %s is larger than %d bytes", c.base.Host, maxAnswer)
	case into == nil || len(answer) == 0:
		return nil
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return &errs.Error{Kind: errs.Malformed, Op: "the answer of " + c.base.Host + " cannot be read", Err: err, Hint: otherServer}
	}
	return nil
}

func (c *client) request(ctx context.Context, method, path string, parameters url.Values, body any) (*http.Request, error) {
	target := c.base.JoinPath(api.Prefix, path)
	target.RawQuery = parameters.Encode()
	var content io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return nil, errs.Wrap(errs.Internal, "encode the request", err)
		}
		content = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, target.String(), content)
	if err != nil {
		return nil, errs.Wrap(errs.Internal, "make the request", err)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	request.Header.Set("User-Agent", "tidewaiter/"+telemetry.ReadBuild(version).Version)
	return request, nil
}
