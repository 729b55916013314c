package hostileimage

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Push sends an artifact to a registry that speaks HTTP without a login, under a
// tag; an empty tag leaves it to its digest. What the registry has is not sent
// again.
func Push(ctx context.Context, host, repository, tag string, a Artifact) error {
	p := pusher{ctx: ctx, base: "http://" + host + "/v2/" + repository, sent: map[string]bool{}}
	if tag == "" {
		tag = a.Digest()
	}
	return p.artifact(a, tag)
}

type pusher struct {
	ctx  context.Context
	base string
	sent map[string]bool
}

func (p pusher) artifact(a Artifact, reference string) error {
	for _, c := range a.Children {
		if err := p.artifact(c, c.Digest()); err != nil {
			return err
		}
	}
	for _, b := range a.Blobs {
		if b.Absent || p.sent[b.Digest] {
			continue
		}
		p.sent[b.Digest] = true
		if err := p.blob(b); err != nil {
			return err
		}
	}
	_, err := p.do(http.MethodPut, p.base+"/manifests/"+reference, a.MediaType, bytes.NewReader(a.Manifest), int64(len(a.Manifest)), http.StatusCreated)
	return err
}

func (p pusher) blob(b Blob) error {
	if _, err := p.do(http.MethodHead, p.base+"/blobs/"+b.Digest, "", nil, 0, http.StatusOK); err == nil {
		return nil
	}
	location, err := p.do(http.MethodPost, p.base+"/blobs/uploads/", "", nil, 0, http.StatusAccepted)
	if err != nil {
		return err
	}
	to, err := url.Parse(p.base)
	if err == nil {
		to, err = to.Parse(location)
	}
	if err != nil {
		return fmt.Errorf("hostileimage: upload location: %w", err)
	}
	query := to.Query()
	query.Set("digest", b.Digest)
	to.RawQuery = query.Encode()
	content := b.Open()
	defer func() { _ = content.Close() }()
	_, err = p.do(http.MethodPut, to.String(), "application/octet-stream", content, b.Size, http.StatusCreated)
	return err
}

// do asks, expects a status and returns the Location of the answer.
func (p pusher) do(method, to, contentType string, body io.Reader, size int64, want int) (string, error) {
	req, err := http.NewRequestWithContext(p.ctx, method, to, body)
	if err != nil {
		return "", err
	}
	if body != nil {
		req.ContentLength = size
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("hostileimage: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != want {
		why, _ := io.ReadAll(io.LimitReader(resp.Body, 500))
		return "", fmt.Errorf("hostileimage: %s %s: %s %s", method, strings.TrimPrefix(to, p.base), resp.Status, why)
	}
	return resp.Header.Get("Location"), nil
}
