package vulndb

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/net/http/httpproxy"

	"github.com/tidewaiter/tidewaiter/internal/errs"
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
	t := http.DefaultTransport.(*http.Transport).Clone()
	proxy := httpproxy.FromEnvironment().ProxyFunc()
	t.Proxy = func(r *http.Request) (*url.URL, error) { return proxy(r.URL) }
	t.ResponseHeaderTimeout = 30 * time.Second
	t.DisableCompression = true // the bytes of the archive are what the checksum is of
	if caFile != "" {
		pool, err := authorities(caFile)
		if err != nil {
			return nil, err
		}
		t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{Transport: t, CheckRedirect: checkRedirect}, nil
}

func authorities(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, errs.Wrap(errs.Invalid, "vulndb: read the CA file", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errs.New(errs.Invalid, "vulndb: the CA file %s holds no certificate in PEM form", file)
	}
	return pool, nil
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
