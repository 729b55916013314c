package doctor

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// lookAtAddresses tries to listen where the service would.
func (e *examination) lookAtAddresses(ctx context.Context) (found []Finding) {
	for _, a := range []struct {
		key, address string
		secure       bool
	}{{"listen", e.config.Listen, e.config.TLS.CertFile != ""}, {"admin_listen", e.config.AdminListen, false}} {
		name := "address " + a.key
		switch {
		case e.isWrong(a.key):
			found = append(found, left(name)...)
		case a.address != "":
			found = append(found, tryListening(ctx, name, a.key, a.address, a.secure))
		}
	}
	if e.config.AdminListen == "" {
		found = append(found, Finding{"address admin_listen", OK, "not set: metrics are on listen, profiles nowhere", ""})
	}
	return found
}

func tryListening(ctx context.Context, name, key, address string, secure bool) Finding {
	var listen net.ListenConfig
	l, err := listen.Listen(ctx, "tcp", address)
	switch {
	case err == nil:
		_ = l.Close()
		return Finding{name, OK, address + " is free", ""}
	case errors.Is(err, syscall.EADDRINUSE) && isOurs(ctx, address, secure):
		return Finding{name, OK, address + " is in use by Tidewaiter, which runs", ""}
	case errors.Is(err, syscall.EADDRINUSE):
		return Finding{name, Fail, address + " is in use by another program",
			fmt.Sprintf("stop that program (ss -ltnp shows it), or choose another address with %s", key)}
	case errors.Is(err, fs.ErrPermission):
		return Finding{name, Fail, "this user may not listen on " + address,
			fmt.Sprintf("choose a port from 1024 on with %s, or give the program CAP_NET_BIND_SERVICE", key)}
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return Finding{name, Fail, address + " is no address of this machine", fmt.Sprintf("leave the host out of %s, as :8080, or name one that this machine has", key)}
	}
	return failed(name, err, "correct "+key)
}

// isOurs asks whoever listens whether it lives, as only Tidewaiter answers.
func isOurs(ctx context.Context, address string, secure bool) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	const patience = 3 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	scheme := "http"
	if secure {
		scheme = "https"
	}
	to := url.URL{Scheme: scheme, Host: net.JoinHostPort(host, port), Path: "/livez"}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, to.String(), nil)
	if err != nil {
		return false
	}
	// Nothing is sent and little is believed; its certificate is judged elsewhere.
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	if err != nil {
		return false
	}
	defer func() { _ = response.Body.Close() }()
	var answer struct {
		Live bool `json:"live"`
	}
	const most = 1 << 10
	return json.NewDecoder(http.MaxBytesReader(nil, response.Body, most)).Decode(&answer) == nil && answer.Live
}

// lookAtPublicURL judges the address that messages and senders are told.
func (e *examination) lookAtPublicURL(context.Context) []Finding {
	const name = "public_url"
	if e.isWrong(name) {
		return left(name)
	}
	if e.config.PublicURL == "" {
		if e.config.Notify.Enabled && len(e.config.Notify.Channels) > 0 {
			return []Finding{{name, Warn, "not set: notifications have no links", "set public_url to the address that people open"}}
		}
		return []Finding{{name, OK, "not set; only notifications need it", ""}}
	}
	u, err := url.Parse(e.config.PublicURL)
	if err != nil {
		return []Finding{failed(name, err, "write it as https://tidewaiter.example")}
	}
	host := strings.ToLower(u.Hostname())
	ip := net.ParseIP(host)
	switch {
	case host == "localhost", ip != nil && (ip.IsLoopback() || ip.IsUnspecified()):
		return []Finding{{name, Warn, e.config.PublicURL + " leads every reader to his own machine", "name the address that others reach this service under"}}
	case u.Scheme == "http":
		return []Finding{{name, Warn, "the address has no TLS: API tokens and webhook secrets travel in the clear",
			"set tls.cert_file and tls.key_file, or put a proxy with TLS in front, and write https:// here"}}
	}
	return []Finding{{name, OK, e.config.PublicURL, ""}}
}
