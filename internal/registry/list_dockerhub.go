package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// dockerHub lists through Docker Hub's own interface (Docker Hub API, "List
// repositories"): its registry offers no catalog.
type dockerHub struct {
	*vendorAPI

	mu    sync.Mutex
	token string
	since time.Time
}

func newDockerHub(c *connection) (lister, error) {
	a, err := newAPI(c, "check auth and reconcile.token of registry "+c.settings.Name+
		": a Docker Hub user or organisation with a password or access token that may read the namespace")
	if err != nil {
		return nil, err
	}
	h := &dockerHub{vendorAPI: a}
	return namespaced{c.settings.Listing.Namespaces, h.repositories}, nil
}

func (h *dockerHub) repositories(ctx context.Context, namespace string, number int) (names []string, more bool, err error) {
	var doc struct {
		Next    string `json:"next"`
		Results []struct {
			Namespace string `json:"namespace"`
			Name      string `json:"name"`
		} `json:"results"`
	}
	authorization, err := h.login(ctx)
	if err != nil {
		return nil, false, err
	}
	_, err = h.get(ctx, authorization, numbered(number, vendorPage, "page_size"), &doc, "v2/namespaces", url.PathEscape(namespace), "repositories")
	if err != nil {
		h.forget(err)
		return nil, false, err
	}
	for _, r := range doc.Results {
		names = append(names, joined(namespace, r.Name))
	}
	// The address of the next page is not used: we know where it is.
	return names, doc.Next != "" && len(doc.Results) > 0, nil
}

// login trades user and password, or access token, for the token the interface
// takes; nothing for nobody, who sees what is public.
func (h *dockerHub) login(ctx context.Context) (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.token != "" && time.Since(h.since) < sessionLife {
		return "Bearer " + h.token, nil
	}
	user, secret, err := h.credential(ctx)
	if err != nil {
		return "", err
	}
	if own := h.settings.Listing.Token; own != "" {
		secret = own
	}
	if user == "" || secret == "" {
		return "", nil
	}
	if h.token, err = h.trade(ctx, user, secret); err != nil {
		return "", err
	}
	h.since = time.Now()
	return "Bearer " + h.token, nil
}

func (h *dockerHub) trade(ctx context.Context, user, secret string) (string, error) {
	asking, cancel := h.withTimeout(ctx)
	defer cancel()
	body, err := json.Marshal(map[string]string{"identifier": user, "secret": secret})
	if err != nil {
		return "", errs.Wrap(errs.Internal, "encode login", err)
	}
	req, err := http.NewRequestWithContext(asking, http.MethodPost, h.base.JoinPath("v2/auth/token").String(), bytes.NewReader(body))
	if err != nil {
		return "", errs.Wrap(errs.Internal, "make login", err)
	}
	req.Header.Set("Content-Type", "application/json")
	var doc struct {
		Token string `json:"access_token"`
	}
	// Not repeated after a blip: what is wrong twice may lock an account.
	if _, err := h.send(asking, h.door, req, &doc); err != nil {
		return "", errs.Op("log in to "+h.base.Host, err)
	}
	if doc.Token == "" {
		return "", errs.New(errs.Malformed, "log in to %s: no token in the answer", h.base.Host)
	}
	return doc.Token, nil
}

// forget drops a token that was refused.
func (h *dockerHub) forget(err error) {
	if errs.Is(err, errs.Unauthorized) {
		h.mu.Lock()
		h.token = ""
		h.mu.Unlock()
	}
}
