// Package api serves the JSON API under /api/v1, as openapi.yaml describes it.
//
// It is responsible for tokens and what they may do, for reading and checking
// what callers send, and for the shape of answers and problems. It must not know
// SQL, registries or scanners: what it needs is handed to it as small
// interfaces. Request ids, logs, metrics and panics belong to httpserver.
package api

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/httpserver"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/sbom"
)

// Prefix is where every route of the API begins.
const Prefix = "/api/v1"

// Requests takes what callers ask to be done.
type Requests interface {
	// RequestScan queues a scan of ref, whose Registry is a configured host, and
	// returns its number; that of a scan of the same target that waits already.
	RequestScan(ctx context.Context, ref image.Reference) (scanID int64, err error)
	// Hurry lets a queued scan go ahead of pushes, because somebody waits for it;
	// one that runs or is over is left alone.
	Hurry(ctx context.Context, scanID int64) error
	// Cancel ends a scan that waits or runs, for who asked, and returns the state
	// it was in; one that is canceled already stays as it is. Errors are NotFound
	// for one that is not there or not to be seen, Conflict for one that is over.
	Cancel(ctx context.Context, access report.Access, scanID int64, who string) (was report.RunState, err error)
	// Upload keeps an SBOM under repository:tag of the registry "sboms" and
	// queues its judgement.
	Upload(ctx context.Context, repository, tag string, document []byte) (scanID int64, digest image.Digest, err error)
}

// Reconciler compares registries with what is known.
type Reconciler interface {
	// RequestReconciliation queues a comparison of a registry, by its configured
	// name, or of one repository of it, and returns its number; that of one that
	// waits already. The error is of kind Invalid for a registry that is not
	// configured.
	RequestReconciliation(ctx context.Context, registry, repository string) (id int64, err error)
}

// SBOMs converts documents.
type SBOMs interface {
	Encode(ctx context.Context, syftJSON []byte, format sbom.Format) ([]byte, error)
}

// Versions compares versions as the package type does. The error is of kind
// Invalid when the constraint cannot be read.
type Versions interface {
	Satisfies(packageType, version, constraint string) (bool, error)
	// Compare orders two versions; the error is of kind Invalid when one cannot be
	// read.
	Compare(packageType, a, b string) (int, error)
}

// Tokens tells who a token belongs to. The error is of kind Unauthorized when it
// is not good.
type Tokens interface {
	Authenticate(ctx context.Context, token string) (report.Principal, error)
}

// Options say what the API stands on. All fields are required but those with a
// default.
type Options struct {
	Reader report.Reader
	// Hosts returns the configured name of the registry with that canonical host
	// or alias.
	Hosts      func(host string) (registry string, ok bool)
	Requests   Requests
	Reconciler Reconciler
	SBOMs      SBOMs
	Versions   Versions
	Tokens     Tokens
	Keyring    Keyring
	Audit      Audit
	Databases  Databases
	Forgetter  Forgetter
	// Notifications may not be nil where no channel is configured either.
	Notifications Notifications
	// DatabaseAlarm is the age of the database in force that is an alarm; zero for
	// never.
	DatabaseAlarm time.Duration
	// Program is what GET /version says, but for what Postgres knows.
	Program report.Version
	// Endpoints are the configured names of the registries that send webhooks;
	// none is a good value.
	Endpoints []string

	// Logger receives a line for each request that changes something; nil
	// discards them.
	Logger *slog.Logger
	// Registerer takes the metrics of the API; nil for none.
	Registerer prometheus.Registerer

	UploadBytes    int64         // greatest SBOM; 32 MiB
	RequestTimeout time.Duration // for the work behind a request, waiting not counted; 30 s
	// RatePerSecond and RateBurst bound the requests of one token; 50 and 200.
	RatePerSecond float64
	RateBurst     int
	// MaxWaiting bounds how many requests wait for an answer at once; 1,000.
	MaxWaiting int
}

func (o Options) withDefaults() Options {
	o.UploadBytes = cmp.Or(o.UploadBytes, 32<<20)
	o.RequestTimeout = cmp.Or(o.RequestTimeout, 30*time.Second)
	o.RatePerSecond = cmp.Or(o.RatePerSecond, 50)
	o.RateBurst = cmp.Or(o.RateBurst, 200)
	o.MaxWaiting = cmp.Or(o.MaxWaiting, 1000)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

func (o Options) validate() error {
	for name, missing := range map[string]bool{
		"Reader": o.Reader == nil, "Hosts": o.Hosts == nil, "Requests": o.Requests == nil, "Reconciler": o.Reconciler == nil,
		"SBOMs": o.SBOMs == nil, "Versions": o.Versions == nil, "Tokens": o.Tokens == nil,
		"Keyring": o.Keyring == nil, "Audit": o.Audit == nil, "Databases": o.Databases == nil, "Notifications": o.Notifications == nil,
		"Forgetter": o.Forgetter == nil,
	} {
		if missing {
			return errs.New(errs.Internal, "api: option %s is missing", name)
		}
	}
	return nil
}

// handler answers the routes.
type handler struct {
	Options
	metrics  *metrics
	tokens   *httpserver.Limiter // by who asks, of requests
	good     *httpserver.Limiter // by token: it was good lately
	failures *httpserver.Limiter // by address, of tokens that were refused
	public   *httpserver.Limiter // by address, of requests that need no token
	refusals *httpserver.Limiter // by who asks, of changes that were refused
	waiting  chan struct{}
	// uploading and converting are places for what holds whole documents in
	// memory.
	uploading, converting chan struct{}
	exporting             chan struct{} // places for exports
}

// New returns a handler for every path under Prefix. It leaves the route's
// template in the Pattern of the request it was given, for logs and metrics
// around it. The error says which option is missing.
func New(o Options) (http.Handler, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	m, err := newMetrics(o.Registerer)
	if err != nil {
		return nil, err
	}
	h := &handler{
		Options: o, metrics: m,
		tokens:    httpserver.NewLimiter(o.RatePerSecond, o.RateBurst),
		good:      httpserver.NewLimiter(1, 1),
		failures:  httpserver.NewLimiter(failuresPerSecond, failuresBurst),
		public:    httpserver.NewLimiter(publicPerSecond, publicBurst),
		refusals:  httpserver.NewLimiter(refusalsPerSecond, refusalsBurst),
		waiting:   make(chan struct{}, o.MaxWaiting),
		uploading: make(chan struct{}, maxUploading), converting: make(chan struct{}, maxConverting),
		exporting: make(chan struct{}, maxExporting),
	}
	router := h.router()
	return httpserver.SecurityHeaders(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		route := chi.NewRouteContext()
		route.Routes = router
		router.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), chi.RouteCtxKey, route)))
		r.Pattern = route.RoutePattern()
	})), nil
}

// router lists the routes. Names of images and repositories travel in the query,
// so that their slashes need no escaping.
func (h *handler) router() *chi.Mux {
	r := chi.NewRouter()
	r.NotFound(httpserver.NotFound)
	r.MethodNotAllowed(httpserver.MethodNotAllowed)
	r.Method(http.MethodGet, Prefix+"/openapi.yaml", httpserver.HoldToRate(h.public)(http.HandlerFunc(serveDocument)))
	r.Group(func(r chi.Router) {
		r.Use(h.authenticate, h.audited)
		r.Get(Prefix+"/registries", h.read(h.registries))
		r.Delete(Prefix+"/registries/{name}", h.guard(report.ScopeAdmin, true, h.forgetRegistry))
		r.Get(Prefix+"/repositories", h.read(h.repositories))
		r.Delete(Prefix+"/repositories", h.guard(report.ScopeAdmin, true, h.forgetRepository))
		r.Get(Prefix+"/tags", h.read(h.tags))
		r.Get(Prefix+"/tags/history", h.read(h.tagHistory))
		r.Get(Prefix+"/image", h.guard(report.ScopeRead, false, h.image))
		r.Get(Prefix+"/findings", h.read(h.findings))
		h.historyRoutes(r)
		r.Get(Prefix+"/sbom", h.read(h.sbom))
		r.Get(Prefix+"/vulnerabilities/{id}", h.read(h.vulnerability))
		r.Get(Prefix+"/vulnerabilities/{id}/images", h.read(h.vulnerabilityImages))
		r.Get(Prefix+"/packages", h.read(h.packages))
		r.Get(Prefix+"/scans", h.read(h.scans))
		r.Get(Prefix+"/scans/{id}", h.read(h.scan))
		r.Post(Prefix+"/scans", h.guard(report.ScopeTriage, true, h.requestScan))
		r.Delete(Prefix+"/scans/{id}", h.guard(report.ScopeTriage, true, h.cancelScan))
		r.Get(Prefix+"/deliveries", h.read(h.deliveries))
		r.Get(Prefix+"/coverage", h.read(h.coverage))
		r.Get(Prefix+"/coverage/repositories", h.read(h.repositoryCoverage))
		r.Get(Prefix+"/coverage/manifests", h.read(h.ledger))
		r.Get(Prefix+"/trace", h.read(h.trace))
		r.Post(Prefix+"/sboms", h.guard(report.ScopeTriage, false, h.upload))
		r.Get(Prefix+"/version", h.read(h.version))
		r.Get(Prefix+"/vulndb", h.read(h.vulndb))
		r.Post(Prefix+"/vulndb/check", h.guard(report.ScopeAdmin, true, h.checkBuilds))
		r.Get(Prefix+"/vulndb/{checksum}", h.read(h.build))
		r.Post(Prefix+"/vulndb/{checksum}/release", h.guard(report.ScopeAdmin, true, h.releaseBuild))
		r.Post(Prefix+"/vulndb/{checksum}/discard", h.guard(report.ScopeAdmin, true, h.discardBuild))
		r.Get(Prefix+"/notifications", h.read(h.notifications))
		r.Post(Prefix+"/notifications/{id}/redeliver", h.guard(report.ScopeAdmin, true, h.redeliver))
		r.Post(Prefix+"/notifications/channels/{name}/test", h.guard(report.ScopeAdmin, true, h.testChannel))
		r.Get(Prefix+"/reconciliations", h.read(h.reconciliations))
		r.Get(Prefix+"/reconciliations/{id}", h.read(h.reconciliation))
		r.Post(Prefix+"/reconciliations", h.guard(report.ScopeTriage, true, h.requestReconciliation))
		r.Get(Prefix+"/tokens", h.guard(report.ScopeAdmin, true, h.listTokens))
		r.Post(Prefix+"/tokens", h.guard(report.ScopeAdmin, true, h.createToken))
		r.Delete(Prefix+"/tokens/{id}", h.guard(report.ScopeAdmin, true, h.revokeToken))
		r.Get(Prefix+"/audit", h.guard(report.ScopeAdmin, true, h.auditLog))
	})
	return r
}

// answer is a handler that may fail; its error is told as a problem. It has
// written nothing when it returns one.
type answer func(w http.ResponseWriter, r *http.Request, who report.Principal) error

func (h *handler) read(next answer) http.HandlerFunc { return h.guard(report.ScopeRead, true, next) }

// guard lets through who may. timed bounds the time the answer takes; handlers
// that wait, or read large bodies, bound their own.
func (h *handler) guard(need report.Scope, timed bool, next answer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		who := principal(r.Context())
		if !who.Scope.Allows(need) {
			h.metrics.reject("forbidden")
			tellProblem(w, r, errs.New(errs.Forbidden, "the token's scope %q does not allow this", who.Scope).
				WithHint("use a token with scope %s", need))
			return
		}
		if timed {
			var cancel context.CancelFunc
			r, cancel = h.timed(r)
			defer cancel()
		}
		if err := next(w, r, who); err != nil {
			tellProblem(w, r, timely(r.Context(), err))
		}
	}
}

// tellProblem answers with an error, which the audit log is told first.
func tellProblem(w http.ResponseWriter, r *http.Request, err error) {
	changeOf(r).err = err
	httpserver.WriteProblem(w, r, err)
}

// timed bounds what is done for a request from now on.
func (h *handler) timed(r *http.Request) (*http.Request, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(r.Context(), h.RequestTimeout)
	return r.WithContext(ctx), cancel
}

// timely names a deadline that passed, whatever it broke on its way.
func timely(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) && errs.KindOf(err) != errs.Timeout {
		return errs.Wrap(errs.Timeout, "api: answer the request", err)
	}
	return err
}
