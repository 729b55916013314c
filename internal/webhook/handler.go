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

// maxReading bounds how many bodies are read at once, over all endpoints: it
// bounds the memory that callers can hold who have not proved anything yet.
const maxReading = 128

type handler struct {
	reading   chan struct{}
	endpoints map[string]door
	sink      Sink
	metrics   Metrics
	logger    *slog.Logger
	now       func() time.Time
}

// door is an endpoint with its format.
type door struct {
	Endpoint
	format format
}

// NewHandler serves POST /webhooks/{registry} for every endpoint. It returns an
// error of kind Invalid for an endpoint that is not valid or is there twice. It
// never redirects: a sender would follow with a GET and take that for success.
// How long a body may take to arrive is the server's to bound.
func NewHandler(endpoints []Endpoint, sink Sink, metrics Metrics, options ...Option) (http.Handler, error) {
	h := &handler{
		reading:   make(chan struct{}, maxReading),
		endpoints: make(map[string]door, len(endpoints)),
		sink:      sink,
		metrics:   metrics.orUnregistered(),
		logger:    slog.New(slog.DiscardHandler),
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
		f, _ := findFormat(e.Format) // Validate knows it
		h.endpoints[e.Registry] = door{Endpoint: e, format: f}
		h.metrics.prepare(e.Registry, h.now())
	}
	return h, nil
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	registry, _ := strings.CutPrefix(r.URL.Path, pathPrefix)
	d, ok := h.endpoints[registry]
	switch {
	case !ok:
		h.metrics.reject("", string(errs.NotFound))
		httpserver.WriteProblem(w, r, errs.New(errs.NotFound, "webhook: there is no such endpoint").
			WithHint("the last part of the URL is the configured name of the registry"))
	case r.Method != http.MethodPost:
		h.metrics.reject(registry, reasonMethod)
		w.Header().Set("Allow", http.MethodPost)
		httpserver.MethodNotAllowed(w, r)
	default:
		h.receive(w, r, d)
	}
}

// receive is the way of a request: read, verify, parse, store, answer.
func (h *handler) receive(w http.ResponseWriter, r *http.Request, d door) {
	started := h.now()
	h.metrics.receive(d.Registry)
	items, err := h.items(w, r, d, started)
	if err == nil {
		err = h.store(r.Context(), d.Registry, items)
	}
	if err != nil {
		h.metrics.reject(d.Registry, string(errs.KindOf(err)))
		httpserver.WriteProblem(w, r, err)
		return
	}
	h.metrics.accept(d.Registry, items, started, h.now())
	h.warnOfHosts(r.Context(), d, items)
	answer(w, items)
}

// items reads and verifies a request within the bound on bodies, and parses it.
// A credential that is in the header alone is looked at before the body: who has
// none does not get us to read.
func (h *handler) items(w http.ResponseWriter, r *http.Request, d door, received time.Time) ([]Item, error) {
	if d.Auth.Kind != AuthHMACSHA256 {
		if err := d.format.verify(d.Auth, r.Header, nil); err != nil {
			return nil, err
		}
	}
	select {
	case h.reading <- struct{}{}:
		defer func() { <-h.reading }()
	default:
		return nil, &errs.Error{Kind: errs.Unavailable, Op: "webhook: too many requests at once", RetryAfter: time.Second}
	}
	return d.items(w, r, received)
}

// items reads, verifies and parses a request.
func (d door) items(w http.ResponseWriter, r *http.Request, received time.Time) ([]Item, error) {
	body, err := readBody(w, r, d.maxBody())
	if err != nil {
		return nil, err
	}
	if err := d.format.verify(d.Auth, r.Header, body); err != nil {
		return nil, err
	}
	items, err := d.format.parse(request{endpoint: d.Endpoint, header: r.Header, body: body, received: received})
	if err != nil {
		return nil, err
	}
	setKeys(items)
	return items, nil
}

func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil:
		return body, nil
	case errors.As(err, &tooLarge):
		return nil, errs.New(errs.TooLarge, "webhook: the body is larger than %d bytes", limit)
	case errs.KindOf(err) == errs.Internal:
		return nil, errs.Wrap(errs.Invalid, "webhook: read the body", err)
	}
	return nil, errs.Op("webhook: read the body", err)
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
