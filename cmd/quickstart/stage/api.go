package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// api asks Tidewaiter the way any user's program would.
type api struct {
	base  string // http://127.0.0.1:8080
	token string
}

// image returns what is known of a tag, waiting for up to a minute for a final
// answer.
func (a api) image(ctx context.Context, ref string) (report.Image, error) {
	var got report.Image
	return got, a.get(ctx, "image", url.Values{"ref": {ref}, "wait": {"60s"}}, &got)
}

// findings returns the worst findings of a tag.
func (a api) findings(ctx context.Context, ref string, limit int) (report.FindingPage, error) {
	var got report.FindingPage
	return got, a.get(ctx, "findings", url.Values{"ref": {ref}, "limit": {fmt.Sprint(limit)}}, &got)
}

func (a api) get(ctx context.Context, path string, query url.Values, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	address := a.base + "/api/v1/" + path + "?" + query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return errs.Op("ask "+address, err)
	}
	request.Header.Set("Authorization", "Bearer "+a.token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return errs.Wrap(errs.Unavailable, "ask tidewaiter", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 2000))
		kind := errs.Internal
		if response.StatusCode == http.StatusNotFound {
			kind = errs.NotFound
		}
		return errs.New(kind, "GET %s: %s: %s", address, response.Status, text)
	}
	return errs.Op("read "+address, json.NewDecoder(response.Body).Decode(into))
}

// ready reports whether the service answers its readiness check.
func (a api) ready(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.base+"/readyz", nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}
