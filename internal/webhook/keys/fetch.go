package keys

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// fetched is a small answer with status 200.
type fetched struct {
	body   []byte
	header http.Header
}

// fetch gets a URL and counts it under kind. The error is of kind Unauthorized
// when there is nothing of use at the URL, Unavailable when that cannot be told
// now.
func (k *Keys) fetch(ctx context.Context, kind, address string, limit int64, timeout time.Duration) (fetched, error) {
	f, err := k.get(ctx, address, limit, timeout)
	if err != nil {
		k.metrics.count(kind, outcomeFailed)
		return fetched{}, err
	}
	k.metrics.count(kind, outcomeOK)
	return f, nil
}

func (k *Keys) get(ctx context.Context, address string, limit int64, timeout time.Duration) (fetched, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return fetched{}, errs.New(errs.Unauthorized, "keys: not an https address")
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return fetched{}, errs.Wrap(errs.Unauthorized, "keys: make the request", err)
	}
	response, err := k.client.Do(request)
	if err != nil {
		return fetched{}, unavailable("keys: ask "+u.Host, withoutURL(err))
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	switch {
	case err != nil:
		return fetched{}, unavailable("keys: read the answer of "+u.Host, err)
	case response.StatusCode == http.StatusTooManyRequests || response.StatusCode >= 500:
		return fetched{}, unavailable("keys: ask "+u.Host, errs.New(errs.Unavailable, "status %d", response.StatusCode))
	case response.StatusCode != http.StatusOK:
		return fetched{}, errs.New(errs.Unauthorized, "keys: %s answers with status %d", u.Host, response.StatusCode)
	case int64(len(body)) > limit:
		return fetched{}, errs.New(errs.Unauthorized, "keys: the answer of %s is larger than %d bytes", u.Host, limit)
	}
	return fetched{body: body, header: response.Header}, nil
}

// withoutURL takes the address out of an error: it may hold the token that
// confirms a subscription.
func withoutURL(err error) error {
	var outer *url.Error
	if errors.As(err, &outer) {
		return outer.Err
	}
	return err
}

// retryAfter is what a sender is told when a key cannot be had.
const retryAfter = 30 * time.Second

func unavailable(op string, cause error) error {
	return &errs.Error{Kind: errs.Unavailable, Op: op, Err: cause, Hint: errs.Hint(cause), RetryAfter: retryAfter}
}
