package httpserver

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// Question is what a server of this machine is asked about itself.
type Question struct {
	// Addr is what the server listens on, as Options.Addr. Where it listens on all
	// addresses, loopback is asked.
	Addr string
	// TLS says that it serves HTTPS. Its certificate is not looked at: it need not
	// name this machine, and nothing is told that anybody may not hear.
	TLS bool
	// Ready asks whether it can do its work and not only whether it answers.
	Ready bool
}

// Ask puts the question, as the health check of a container does. The error is of
// kind Unavailable when the server does not answer or is not ready, with a hint.
func Ask(ctx context.Context, q Question) error {
	host, err := loopback(q.Addr)
	if err != nil {
		return errs.Wrap(errs.Invalid, "httpserver: address "+q.Addr, err)
	}
	address := "http://" + host
	if q.TLS {
		address = "https://" + host
	}
	path := "/livez"
	if q.Ready {
		path = "/readyz"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address+path, nil)
	if err != nil {
		return errs.Wrap(errs.Invalid, "httpserver: address "+q.Addr, err)
	}
	// No proxy and no second connection: this is a question to ourselves.
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	client := http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	if err != nil {
		return &errs.Error{Kind: errs.Unavailable, Op: "httpserver: ask " + address + path, Err: err,
			Hint: "the service does not run, or listens on another address"}
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode == http.StatusOK {
		return nil
	}
	const most = 64 << 10
	return unready(response.Status, io.LimitReader(response.Body, most))
}

// unready tells which checks do not hold.
func unready(status string, body io.Reader) error {
	var told Readiness
	_ = json.NewDecoder(body).Decode(&told) // another program may answer anything
	var names, hints []string
	for _, c := range told.Checks {
		if c.OK {
			continue
		}
		names = append(names, c.Name+" ("+string(c.Kind)+")")
		if c.Hint != "" {
			hints = append(hints, c.Name+": "+c.Hint)
		}
	}
	if len(names) == 0 {
		return errs.New(errs.Unavailable, "the service answered %s", status)
	}
	err := errs.New(errs.Unavailable, "not ready: %s", strings.Join(names, ", "))
	if len(hints) > 0 {
		return err.WithHint("%s", strings.Join(hints, "; "))
	}
	return err
}

// loopback is where a listener is reached from this machine.
func loopback(addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", err
	}
	if port == "" || port == "0" {
		return "", errors.New("it has no port")
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port), nil
}
