package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/httpserver"
)

// unreachable is a service that does not answer. Of the library's error only
// what it says of the connection is told, not the address with its parameters.
func (c *client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errs.Wrap(errs.KindOf(ctx.Err()), "ask "+c.base.Host, ctx.Err())
	}
	var with *url.Error
	if errors.As(err, &with) {
		err = with.Err
	}
	kind := errs.Unavailable
	var network net.Error
	if errors.As(err, &network) && network.Timeout() {
		kind = errs.Timeout
	}
	return &errs.Error{Kind: kind, Op: "ask " + c.base.Host, Err: err, Hint: "check that the service runs and that --server or TIDEWAITER_SERVER names it"}
}

const otherServer = "check that --server or TIDEWAITER_SERVER names a Tidewaiter, and that nothing in between answers in its place"

// refused turns an answer that is not good into an error.
func (c *client) refused(response *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(response.Body, maxProblem)) // a part may tell enough
	var p httpserver.Problem
	media, _, _ := strings.Cut(response.Header.Get("Content-Type"), ";")
	if media != httpserver.ProblemType || json.Unmarshal(body, &p) != nil || p.Kind == "" {
		return c.strange(response)
	}
	err := &errs.Error{Kind: p.Kind, Op: firstText(p.Detail, p.Title), Hint: p.Hint, Field: p.Field}
	if seconds, e := strconv.Atoi(response.Header.Get("Retry-After")); e == nil && seconds > 0 {
		err.RetryAfter = time.Duration(seconds) * time.Second
	}
	switch p.Kind {
	case errs.Unauthorized:
		err.Hint = "set TIDEWAITER_TOKEN to a token of this service; `tidewaiter token create NAME` makes one"
	case errs.RateLimited:
		err.Hint = firstText(err.Hint, fmt.Sprintf("try again in %s", max(err.RetryAfter, time.Second)))
	}
	if p.RequestID != "" && (p.Kind == errs.Internal || p.Kind == errs.Unavailable) {
		err.Op += " (request " + p.RequestID + ")"
	}
	return err
}

// strange is an answer that no Tidewaiter gives. Its words are not repeated: it
// may be a page of a proxy.
func (c *client) strange(response *http.Response) error {
	kind := errs.Unavailable
	switch {
	case response.StatusCode == http.StatusNotFound:
		kind = errs.NotFound
	case response.StatusCode < 500:
		kind = errs.Invalid
	}
	err := errs.New(kind, "%s answered with status %d, and not as Tidewaiter does", c.base.Host, response.StatusCode)
	if to, e := response.Location(); e == nil {
		return err.WithHint("it sends to %s: use that as --server if you trust it with the token", (&url.URL{Scheme: to.Scheme, Host: to.Host}).String())
	}
	return err.WithHint(otherServer)
}

func firstText(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
