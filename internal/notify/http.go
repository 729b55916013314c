package notify

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/outbound"
)

// poster sends requests to one address that the operator chose: it may be private.
// Redirects are not followed, so that what is signed for one receiver reaches no
// other.
type poster struct {
	url     string
	secrets []string // what no error and no kept answer may show
	client  *http.Client
}

const (
	connectTimeout = 10 * time.Second
	// maxAnswer is how much of an answer is kept, in bytes.
	maxAnswer = 512
	// maxRead is how much of an answer is looked at, in bytes.
	maxRead = 64 << 10
	// maxPause bounds what a receiver may ask for.
	maxPause = 12 * time.Hour
)

func newPoster(s Settings) (*poster, error) {
	u, err := url.Parse(s.URL)
	switch {
	case s.URL == "":
		return nil, errs.New(errs.Invalid, "empty").WithField("url")
	case err != nil, u.Host == "", u.Scheme != "https" && u.Scheme != "http":
		return nil, errs.New(errs.Invalid, "not an https:// or http:// address").WithField("url")
	}
	transport := outbound.NewTransport(outbound.Settings{Roots: s.Roots, ConnectTimeout: connectTimeout, AnswerTimeout: s.Timeout})
	return &poster{
		url: s.URL, secrets: append(partsOf(u), partsOfCredentials(s.Authorization)...),
		client: &http.Client{
			Transport: transport, Timeout: s.Timeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// partsOf lists what is secret of an address: the path of Slack's and Teams' is
// their password.
func partsOf(u *url.URL) []string {
	parts := []string{u.String(), u.RequestURI(), u.RawQuery, u.Path, u.User.String()}
	if password, ok := u.User.Password(); ok {
		// The client sends it as Basic, which anybody can read.
		pair := u.User.Username() + ":" + password
		parts = append(parts, password, pair, base64.StdEncoding.EncodeToString([]byte(pair)))
	}
	for _, values := range u.Query() {
		parts = append(parts, values...)
	}
	for _, pair := range strings.Split(u.RawQuery, "&") {
		_, value, _ := strings.Cut(pair, "=")
		parts = append(parts, value)
	}
	parts = append(parts, strings.Split(u.EscapedPath(), "/")...)
	return append(parts, strings.Split(u.Path, "/")...)
}

// partsOfCredentials lists what is secret of an Authorization header (RFC 9110,
// section 11.4): receivers repeat the token without its scheme.
func partsOfCredentials(header string) []string {
	scheme, token, _ := strings.Cut(header, " ")
	parts := []string{header, token}
	if strings.EqualFold(scheme, "Basic") {
		pair, _ := base64.StdEncoding.DecodeString(token)
		_, password, _ := strings.Cut(string(pair), ":")
		parts = append(parts, string(pair), password)
	}
	return parts
}

// hide takes secrets out of a text, the longest first, because one may be part of
// another. Short ones are left: they would take out parts of words, and no secret is
// that short.
func hide(s string, secrets []string) string {
	const least = 8
	longest := slices.SortedFunc(slices.Values(secrets), func(a, b string) int { return len(b) - len(a) })
	for _, secret := range longest {
		if len(secret) >= least {
			s = strings.ReplaceAll(s, secret, "xxxxx")
		}
	}
	return s
}

// post sends a body and reads what is answered. Everything but 2xx is an error.
func (p *poster) post(ctx context.Context, header http.Header, body []byte) (Receipt, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return Receipt{}, errs.New(errs.Invalid, "the address cannot be used")
	}
	request.Header = header
	request.Header.Set("User-Agent", "tidewaiter")
	response, err := p.client.Do(request)
	if err != nil {
		return Receipt{}, p.unreachable(ctx, err)
	}
	defer func() { _ = response.Body.Close() }()
	// Secrets are taken out before it is cut: half of one would stay.
	answer, _ := io.ReadAll(io.LimitReader(response.Body, maxRead)) // what came tells enough
	receipt := Receipt{
		Status: response.StatusCode, Answer: begin(hide(string(answer), p.secrets), maxAnswer), RetryAfter: retryAfter(response.Header.Get("Retry-After"), time.Now()),
		Gone: response.StatusCode == http.StatusGone,
	}
	if response.StatusCode >= 200 && response.StatusCode <= 299 {
		return receipt, nil
	}
	return receipt, p.refused(response)
}

// refused says what an answer that is not good means.
func (p *poster) refused(response *http.Response) error {
	status := response.StatusCode
	err := errs.New(kindOfStatus(status), "the receiver answered %d %s", status, http.StatusText(status))
	if status < 300 || status > 399 {
		return err
	}
	if to, e := response.Location(); e == nil {
		return err.WithHint("it sends to %s; redirects are not followed: set the address itself", hide(to.Scheme+"://"+to.Host, p.secrets))
	}
	return err.WithHint("redirects are not followed")
}

func kindOfStatus(status int) errs.Kind {
	switch {
	case status == http.StatusUnauthorized:
		return errs.Unauthorized
	case status == http.StatusForbidden:
		return errs.Forbidden
	case status == http.StatusNotFound, status == http.StatusGone:
		return errs.NotFound
	case status == http.StatusTooManyRequests:
		return errs.RateLimited
	case status >= 500:
		return errs.Unavailable
	}
	return errs.Invalid
}

// unreachable leaves the address out of what the library says: it is a secret.
func (p *poster) unreachable(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return errs.Wrap(errs.Canceled, "send", ctx.Err())
	}
	var with *url.Error
	if errors.As(err, &with) {
		err = with.Err
	}
	kind := errs.Unavailable
	var network net.Error
	if errors.As(err, &network) && network.Timeout() {
		kind = errs.Timeout
	}
	return errs.New(kind, "the receiver cannot be reached: %s", hide(err.Error(), p.secrets))
}

// retryAfter reads the header (RFC 9110, section 10.2.3): seconds or a date.
func retryAfter(header string, now time.Time) time.Duration {
	if header == "" {
		return 0
	}
	pause := time.Duration(0)
	if seconds, err := strconv.ParseUint(header, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		pause = time.Duration(min(seconds, uint64(maxPause/time.Second))) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		pause = at.Sub(now)
	}
	return min(max(pause, 0), maxPause)
}
