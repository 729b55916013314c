package notify

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/outbound"
)

// Reach finds out whether the receiver of a channel can be reached, and sends no
// message: HTTP receivers are connected to, mail servers are logged in to as well.
// known is false where the channel has no way to find out. The error holds no
// secret.
func Reach(ctx context.Context, c Channel) (known bool, err error) {
	r, ok := c.(interface{ reach(context.Context) error })
	if !ok {
		return false, nil
	}
	return true, r.reach(ctx)
}

// reach connects to the receiver, or to the proxy that leads there.
func (p *poster) reach(ctx context.Context) error {
	to, err := url.Parse(p.url)
	if err != nil {
		return errs.New(errs.Invalid, "the address cannot be used")
	}
	transport, ok := p.client.Transport.(*http.Transport)
	if !ok {
		return errs.New(errs.Internal, "notify: the channel has no transport")
	}
	proxy, err := outbound.System().Proxy(to)
	if err != nil {
		return errs.New(errs.Invalid, "the proxy of the environment cannot be used")
	}
	if proxy != nil {
		return p.dial(ctx, proxy, transport, false)
	}
	return p.dial(ctx, to, transport, to.Scheme == "https")
}

func (p *poster) dial(ctx context.Context, to *url.URL, t *http.Transport, secure bool) error {
	address := to.Host
	if to.Port() == "" {
		port := "80"
		if to.Scheme == "https" {
			port = "443"
		}
		address = net.JoinHostPort(to.Hostname(), port)
	}
	var conn net.Conn
	var err error
	if secure {
		settings := t.TLSClientConfig.Clone()
		settings.ServerName = to.Hostname()
		conn, err = (&tls.Dialer{Config: settings}).DialContext(ctx, "tcp", address)
	} else {
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", address)
	}
	if err != nil {
		return p.unreachable(ctx, err)
	}
	_ = conn.Close()
	return nil
}

// reach connects, encrypts and logs in, as before a message.
func (e *email) reach(ctx context.Context) error {
	err := e.client.DialWithContext(ctx)
	if err == nil {
		_ = e.client.Close()
		return nil
	}
	kind := errs.Unavailable
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		kind = errs.Timeout
	}
	return errs.New(kind, "the mail server: %s", hide(err.Error(), e.secrets))
}
