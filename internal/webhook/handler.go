package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/httpserver"
)

const (
	pathPrefix = "/webhooks/"
	// acceptTimeout ends a store that hangs. No sender waits as long; it only
	// keeps requests from piling up behind a database that does not answer.
	acceptTimeout = 10 * time.Second
	// storeRetryAfter is what a sender is told when the events could not be
	// stored and the error does not say.
	storeRetryAfter = 5 * time.Second
)

// Option changes a handler.
type Option func(*handler)

// WithLogger sets where the handler says what an operator has to mend, such as
// a host that is missing from the aliases. Without it nothing is logged;
// rejected requests are in any case in the request log of httpserver.
func WithLogger(logger *slog.Logger) Option {
	return func(h *handler) { h.logger = logger }
}

// maxReading bounds how many bodies are read at once, over all endpoints, and so
// the memory that callers can hold. Callers who have not proved anything yet have
// as many places of their own: they cannot keep out those who have.
const maxReading = 128

// WithKeys sets where the keys of senders that sign are found. Without it such
// requests are refused.
func WithKeys(keys Keys) Option { return func(h *handler) { h.keys = keys } }

// rateBurst is how many times a second's requests may come at once: a registry
// tells of many pushes or deletions together.
const rateBurst = 10

// WithRate bounds the requests per second that one address may send to one
// endpoint; ten times as many may come at once. What is beyond is refused before
// it is read. Zero, as without the option, is no bound.
func WithRate(perSecond int) Option {
	return func(h *handler) {
		if perSecond > 0 {
			h.rate = httpserver.NewLimiter(float64(perSecond), rateBurst*perSecond)
		}
	}
}

// WithRejections sets who is told of every request that was refused or not
// stored: the endpoint's registry, the status, the reason as metrics have it and
// the words the sender was told. It is called before the answer and must not
// block.
func WithRejections(told func(registry string, status int, reason, detail string)) Option {
	return func(h *handler) { h.rejected = told }
}

type handler struct {
	// reading and strangers are the places of callers with and without proof.
	reading   chan struct{}
	strangers chan struct{}
	endpoints map[string]door
	sink      Sink
	metrics   Metrics
	logger    *slog.Logger
	keys      Keys
	rate      *httpserver.Limiter // nil for no bound
	rejected  func(registry string, status int, reason, detail string)
	now       func() time.Time
}

// NewHandler serves /webhooks/{registry} for every endpoint. It returns an error
// of kind Invalid for an endpoint that is not valid or is there twice. It
// never redirects: a sender would follow with a GET and take that for success.
// How long a body may take to arrive is the server's to bound.
func NewHandler(endpoints []Endpoint, sink Sink, metrics Metrics, options ...Option) (http.Handler, error) {
	h := &handler{
		reading:   make(chan struct{}, maxReading),
		strangers: make(chan struct{}, maxReading),
		endpoints: make(map[string]door, len(endpoints)),
		sink:      sink,
		metrics:   metrics.orUnregistered(),
		logger:    slog.New(slog.DiscardHandler),
		rejected:  func(string, int, string, string) {},
		now:       time.Now,
	}
	for _, option := range options {
		option(h)
	}
	for _, e := range endpoints {
		if err := e.Validate(); err != nil {
			return nil, err
		}
		if _, twice := h.endpoints[e.Registry]; twice {
			return nil, errs.New(errs.Invalid, "webhook: registry: name %q is used twice", e.Registry)
		}
		h.endpoints[e.Registry] = newDoor(e, h.keys)
		h.metrics.prepare(e.Registry, h.now())
	}
	return h, nil
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, _ := strings.CutPrefix(r.URL.Path, pathPrefix)
	registry, rest, more := strings.Cut(path, "/")
	d, ok := h.endpoints[registry]
	if !ok {
		registry = "" // what is no endpoint counts as one
	}
	if pause := h.tooOften(r, registry); pause > 0 {
		h.reject(w, r, registry, httpserver.TooMany(pause, "webhook: too many requests from this address"))
		return
	}
	switch {
	case !ok, more && d.Auth.Kind != AuthPath:
		h.reject(w, r, "", errs.New(errs.NotFound, "webhook: there is no such endpoint").
			WithHint("the last part of the URL is the configured name of the registry"))
	case !d.format.takes(r.Method):
		h.metrics.reject(registry, reasonMethod)
		h.rejected(registry, http.StatusMethodNotAllowed, reasonMethod, "a "+clean(r.Method, maxWord)+" request")
		w.Header().Set("Allow", strings.Join(d.format.accepted(), ", "))
		httpserver.MethodNotAllowed(w, r)
	default:
		h.receive(w, r, d, rest)
	}
}

// tooOften returns how long the sender has to pause; zero for not at all.
func (h *handler) tooOften(r *http.Request, registry string) time.Duration {
	if h.rate == nil {
		return 0
	}
	return h.rate.Allow(registry + "\n" + httpserver.NetworkOf(r))
}

// receive is the way of a request: verify, read, parse, store, answer.
func (h *handler) receive(w http.ResponseWriter, r *http.Request, d door, rest string) {
	started := h.now()
	h.metrics.receive(d.Registry)
	read, err := h.read(w, r, d, rest, started)
	if err == nil {
		err = h.store(r.Context(), d.Registry, read.items)
	}
	if err != nil {
		h.reject(w, r, d.Registry, err)
		return
	}
	if read.greeting != nil {
		h.metrics.greet(d.Registry)
		read.greeting.write(w)
		return
	}
	h.metrics.accept(d.Registry, read.items, started, h.now())
	h.warnOfHosts(r.Context(), d, read.items)
	answer(w, read.items)
}

// reject answers with a problem and leaves a trace of it.
func (h *handler) reject(w http.ResponseWriter, r *http.Request, registry string, err error) {
	problem := httpserver.ProblemOf(err)
	h.metrics.reject(registry, string(problem.Kind))
	h.rejected(registry, problem.Status, string(problem.Kind), problem.Detail)
	if problem.Status == http.StatusUnauthorized && h.endpoints[registry].Auth.Kind == AuthBasic {
		// Amazon SNS shows its password only when it is asked like this.
		w.Header().Set("WWW-Authenticate", `Basic realm="tidewaiter"`)
	}
	httpserver.WriteProblem(w, r, err)
}

// read verifies and reads a request within the bound on bodies. A credential
// that does not depend on the body is looked at before it: who has none does not
// get us to read.
func (h *handler) read(w http.ResponseWriter, r *http.Request, d door, rest string, received time.Time) (reading, error) {
	in := request{
		endpoint: d.Endpoint, method: r.Method, rest: rest, query: r.URL.Query(), header: r.Header, received: received, keys: d.keys,
	}
	if !d.Auth.needsBody() {
		if err := d.format.verify(r.Context(), in); err != nil {
			return reading{}, err
		}
	}
	places := h.reading
	if d.Auth.needsBody() || d.Auth.Kind == AuthNone {
		places = h.strangers
	}
	select {
	case places <- struct{}{}:
		defer func() { <-places }()
	default:
		return reading{}, &errs.Error{Kind: errs.Unavailable, Op: "webhook: too many requests at once", RetryAfter: time.Second}
	}
	var err error
	if in.body, err = readBody(w, r, d.maxBody()); err != nil {
		return reading{}, err
	}
	return d.read(r.Context(), in)
}

func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil:
		return body, nil
	case errors.As(err, &tooLarge):
		return nil, bodyTooLarge(limit)
	case errs.KindOf(err) == errs.Internal:
		return nil, errs.Wrap(errs.Invalid, "webhook: read the body", err)
	}
	return nil, errs.Op("webhook: read the body", err)
}

func bodyTooLarge(limit int64) error {
	return errs.New(errs.TooLarge, "webhook: the body is larger than %d bytes", limit)
}

// store makes the items durable. Whatever goes wrong, the sender is told to
// come again: events must not be lost for a fault of ours.
func (h *handler) store(ctx context.Context, registry string, items []Item) error {
	if len(items) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, acceptTimeout)
	defer cancel()
	err := h.sink.Accept(ctx, registry, items)
	if err == nil {
		return nil
	}
	pause := errs.RetryAfter(err)
	if pause <= 0 {
		pause = storeRetryAfter
	}
	return &errs.Error{Kind: errs.Unavailable, Op: "webhook: the events could not be stored", Err: err, RetryAfter: pause}
}

// warnOfHosts names a host the endpoint does not have, once per request: it is
// either an alias that is missing or a registry that uses the wrong endpoint.
func (h *handler) warnOfHosts(ctx context.Context, d door, items []Item) {
	for _, item := range items {
		if item.Ignored == ReasonOtherRegistry {
			h.logger.WarnContext(ctx, "webhook event names a host that is not among the registry's",
				"registry", d.Registry, "host", item.Event.Host, "repository", item.Event.Repository)
			return
		}
	}
}

// Answer is the body of a 202.
type Answer struct {
	Accepted int `json:"accepted"`
	Ignored  int `json:"ignored"`
}

func answer(w http.ResponseWriter, items []Item) {
	var a Answer
	for _, item := range items {
		if item.Ignored == "" {
			a.Accepted++
		} else {
			a.Ignored++
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	_ = json.NewEncoder(w).Encode(a) // the sender may be gone; the events are stored
}
