package vulndb

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/outbound"
)

// latestURL returns the address of the latest.json that a configured URL means.
func latestURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, errs.New(errs.Invalid, "vulndb: the database URL is not an http or https address").
			WithHint("name the base of a mirror, such as https://mirror.example/databases, or its latest.json")
	}
	if !strings.HasSuffix(u.Path, ".json") {
		u = u.JoinPath("v6", "latest.json")
	}
	return u, nil
}

// newClient returns a client that honours HTTP_PROXY, HTTPS_PROXY and NO_PROXY
// as they are now and trusts the authorities of caFile besides the system's.
func newClient(caFile string) (*http.Client, error) {
	roots, err := outbound.Roots(caFile)
	if err != nil {
		return nil, errs.Op("vulndb", err)
	}
	const patience = 30 * time.Second
	t := outbound.NewTransport(outbound.Settings{Roots: roots, ConnectTimeout: patience, AnswerTimeout: patience})
	t.DisableCompression = true // the bytes of the archive are what the checksum is of
	return &http.Client{Transport: t, CheckRedirect: checkRedirect}, nil
}

// checkRedirect follows redirects, but never from https to http. No target
// learns the address before it, whose query may hold a secret.
func checkRedirect(r *http.Request, via []*http.Request) error {
	switch {
	case len(via) >= 10:
		return errs.New(errs.Unavailable, "vulndb: too many redirects")
	case via[0].URL.Scheme == "https" && r.URL.Scheme != "https":
		return errs.New(errs.Unavailable, "vulndb: redirected from https to %s", r.URL.Scheme)
	}
	r.Header.Del("Referer")
	return nil
}
