package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// asker sends the requests that pull nothing: lists and HEADs. The library keeps
// the login of a pull to itself and begins every list at its start, so these log
// in on their own, with the parts that the library does offer.
type asker struct {
	*connection
	via http.RoundTripper // the guard, with blips bridged

	shaking turn

	mu        sync.Mutex // held over nothing that takes time
	handshake handshake
	logins    map[string]*login // by scope
}

// handshake is what a registry asks of everybody who comes, and what it will get.
type handshake struct {
	challenge *transport.Challenge
	auth      authn.Authenticator
	since     time.Time
}

// turn is held by who asks the registry for all others. Who waits for it gives up
// when his own time is over.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

// take waits for the turn; the error is that of ctx.
func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t turn) give() { <-t }

// login is a way to send requests of one scope.
type login struct {
	turn
	via   http.RoundTripper // nil before the first use
	since time.Time
}

func newAsker(c *connection) *asker {
	return &asker{connection: c, via: bridged(c.guard), shaking: newTurn(), logins: map[string]*login{}}
}

// bridged repeats a request after a blip, as pulls do.
func bridged(inner http.RoundTripper) http.RoundTripper {
	return transport.NewRetry(inner,
		transport.WithRetryBackoff(transport.Backoff{Duration: 100 * time.Millisecond, Factor: 3, Jitter: 0.1, Steps: 3}),
		transport.WithRetryPredicate(isBlip),
		transport.WithRetryStatusCodes(408, 500, 502, 503, 504),
	)
}

// ask sends a request under /v2/. Any answer of the registry is one, whatever its
// status; the caller closes its body. A login that has gone stale is renewed once.
func (a *asker) ask(ctx context.Context, method, scope string, to url.URL, header http.Header) (*http.Response, error) {
	to.Scheme, to.Host = a.registry.Scheme(), a.registry.RegistryStr()
	for fresh := false; ; fresh = true {
		via, kept, err := a.login(ctx, scope)
		if err != nil {
			return nil, err
		}
		req, err := http.NewRequestWithContext(ctx, method, to.String(), nil)
		if err != nil {
			return nil, errs.New(errs.Invalid, "%.300q cannot be asked for", to.Path)
		}
		req.Header = header.Clone()
		resp, err := via.RoundTrip(req)
		if err != nil || resp.StatusCode != http.StatusUnauthorized || !kept || fresh {
			return resp, err
		}
		_ = resp.Body.Close()
		a.logout(scope)
	}
}

// login returns a way to send requests of a scope, and whether it has been used
// before.
func (a *asker) login(ctx context.Context, scope string) (via http.RoundTripper, kept bool, err error) {
	l := a.place(scope)
	if err := l.take(ctx); err != nil {
		return nil, false, err
	}
	defer l.give()
	if l.via != nil && time.Since(l.since) < sessionLife {
		return l.via, true, nil
	}
	shake, err := a.shake(ctx)
	if err == nil {
		l.via, err = a.enter(ctx, shake, scope)
	}
	if err != nil {
		l.via = nil
		return nil, false, err
	}
	l.since = time.Now()
	return l.via, false, nil
}

// place finds the login of a scope, or makes room for one more.
func (a *asker) place(scope string) *login {
	a.mu.Lock()
	defer a.mu.Unlock()
	if l, ok := a.logins[scope]; ok {
		return l
	}
	for old := range a.logins {
		if len(a.logins) < maxSessions {
			break
		}
		delete(a.logins, old)
	}
	l := &login{turn: newTurn()}
	a.logins[scope] = l
	return l
}

func (a *asker) logout(scope string) {
	a.settings.credential.renew()
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.logins, scope)
	a.handshake = handshake{}
}

// shake asks what the registry wants of a client: once for all repositories, so
// that comparing thousands of them costs no request more than that.
func (a *asker) shake(ctx context.Context) (handshake, error) {
	if err := a.shaking.take(ctx); err != nil {
		return handshake{}, err
	}
	defer a.shaking.give()
	a.mu.Lock()
	known := a.handshake
	a.mu.Unlock()
	if known.challenge != nil && time.Since(known.since) < sessionLife {
		return known, nil
	}
	challenge, err := transport.Ping(ctx, a.registry, a.via)
	if err != nil {
		return handshake{}, err
	}
	known = handshake{challenge, a.settings.authenticator(), time.Now()}
	a.mu.Lock()
	a.handshake = known
	a.mu.Unlock()
	return known, nil
}

// enter makes a login of a scope, or of none: with a token where the registry
// refers to a token service.
func (a *asker) enter(ctx context.Context, s handshake, scope string) (http.RoundTripper, error) {
	var token transport.Token
	if http.CanonicalHeaderKey(s.challenge.Scheme) == "Bearer" {
		own, err := authn.Authorization(ctx, s.auth)
		if err != nil {
			return nil, err
		}
		token.Token = own.RegistryToken
	}
	if http.CanonicalHeaderKey(s.challenge.Scheme) == "Bearer" && token.Token == "" {
		var scopes []string
		if scope != "" {
			scopes = []string{scope}
		}
		got, err := transport.Exchange(ctx, a.registry, s.auth, a.via, scopes, s.challenge)
		if err != nil {
			return nil, err
		}
		token.Token = cmp.Or(got.AccessToken, got.Token)
	}
	return transport.FromToken(a.registry, s.auth, a.via, s.challenge, &token)
}

// maxListBytes bounds one page of any list. Some registries send all they have.
const maxListBytes = 16 << 20

// read decodes a page of a list and returns the header of the answer. Other
// statuses than 200 give a *transport.Error.
func (a *asker) read(ctx context.Context, scope string, from url.URL, into any) (http.Header, error) {
	resp, err := a.ask(ctx, http.MethodGet, scope, from, http.Header{"Accept": {"application/json"}})
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if err := transport.CheckError(resp, http.StatusOK); err != nil {
		return nil, err
	}
	return resp.Header, decode(resp.Body, into)
}

// decode reads a bounded JSON document. What it held is in no error.
func decode(body io.Reader, into any) error {
	text, err := io.ReadAll(io.LimitReader(body, maxListBytes+1))
	if err != nil {
		return err
	}
	if len(text) > maxListBytes {
		return errs.New(errs.TooLarge, "a page of the list is larger than %d bytes", maxListBytes)
	}
	if err := json.Unmarshal(text, into); err != nil {
		var kind *json.UnmarshalTypeError
		if errors.As(err, &kind) {
			return errs.New(errs.Malformed, "the list has a %s where it must not", kind.Value)
		}
		return errs.New(errs.Malformed, "the list is not JSON")
	}
	return nil
}
