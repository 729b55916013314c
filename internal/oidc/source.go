package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/jwks"
	"github.com/tidewaiter/tidewaiter/internal/outbound"
)

// fetchTimeout bounds each of the two requests for keys.
const fetchTimeout = 5 * time.Second

// source is where the keys of an issuer are. The configuration names the issuer, so
// that it may have a private address; redirects are not followed.
type source struct {
	issuer string
	client *http.Client
}

func newSource(i Issuer) (*source, error) {
	roots, err := outbound.Roots(i.CAFile)
	if err != nil {
		return nil, err
	}
	transport := outbound.NewTransport(outbound.Settings{Roots: roots, ConnectTimeout: fetchTimeout, AnswerTimeout: fetchTimeout})
	transport.DisableKeepAlives = true // it is asked a few times a day
	return &source{issuer: i.URL, client: &http.Client{
		Transport: transport, Timeout: fetchTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// fetch asks the issuer where its keys are (OpenID Connect Discovery 1.0, section
// 4), and gets them.
func (s *source) fetch(ctx context.Context) ([]byte, http.Header, error) {
	text, _, err := s.get(ctx, strings.TrimSuffix(s.issuer, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return nil, nil, err
	}
	var about struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	switch err := json.Unmarshal(text, &about); {
	case err != nil:
		return nil, nil, errs.New(errs.Unavailable, "oidc: what the issuer says of itself is no JSON")
	case about.Issuer != s.issuer:
		return nil, nil, errs.New(errs.Unavailable, "oidc: the issuer calls itself %.200q, not as it is configured", about.Issuer).
			WithHint("write api.oidc[].issuer exactly so")
	case !strings.HasPrefix(about.Keys, "https://"):
		return nil, nil, errs.New(errs.Unavailable, "oidc: the issuer's keys are not at an https address")
	}
	return s.get(ctx, about.Keys)
}

func (s *source) get(ctx context.Context, address string) ([]byte, http.Header, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, nil, errs.New(errs.Unavailable, "oidc: the issuer's keys are at no address")
	}
	request.Header.Set("Accept", "application/json")
	response, err := s.client.Do(request)
	if err != nil {
		var outer *url.Error
		if errors.As(err, &outer) {
			err = outer.Err
		}
		return nil, nil, errs.Wrap(errs.Unavailable, "oidc: ask "+request.URL.Host, err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, jwks.MaxBytes+1))
	switch {
	case err != nil:
		return nil, nil, errs.Wrap(errs.Unavailable, "oidc: read the answer of "+request.URL.Host, err)
	case response.StatusCode != http.StatusOK:
		return nil, nil, errs.New(errs.Unavailable, "oidc: %s answers with status %d", request.URL.Host, response.StatusCode)
	case len(body) > jwks.MaxBytes:
		return nil, nil, errs.New(errs.Unavailable, "oidc: the answer of %s is larger than %d bytes", request.URL.Host, jwks.MaxBytes)
	}
	return body, response.Header, nil
}
