package app

import (
	"context"
	"net/http"

	"github.com/tidewaiter/tidewaiter/internal/api"
	"github.com/tidewaiter/tidewaiter/internal/catalog"
	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/httpserver"
	"github.com/tidewaiter/tidewaiter/internal/intake"
	"github.com/tidewaiter/tidewaiter/internal/match"
	"github.com/tidewaiter/tidewaiter/internal/telemetry"
	"github.com/tidewaiter/tidewaiter/internal/webhook"
	"github.com/tidewaiter/tidewaiter/internal/webhook/keys"
)

// assembleHTTP mounts what is switched on and prepares the servers.
func (a *App) assembleHTTP(in *intake.Intake, cataloger *catalog.Cataloger, names func(string) (string, bool)) error {
	mux := http.NewServeMux()
	mux.Handle("GET /livez", a.open(httpserver.Live()))
	mux.Handle("GET /readyz", a.open(httpserver.Ready(a.checks()...)))
	if err := a.mountWebhooks(mux, in); err != nil {
		return err
	}
	if err := a.mountAPI(mux, in, cataloger, names); err != nil {
		return err
	}
	if a.config.AdminListen == "" {
		needToken := httpserver.NeedBearer(a.config.MetricsToken.Reveal())
		mux.Handle("GET /metrics", a.open(needToken(httpserver.Metrics(a.metrics))))
	} else {
		a.admin = httpserver.New(httpserver.Options{Addr: a.config.AdminListen, Handler: httpserver.Admin(a.metrics), Logger: a.logger})
	}
	route := httpserver.RoutePattern
	handler := httpserver.Chain(mux,
		httpserver.RequestID(telemetry.With),
		httpserver.Addresses(a.config.Proxies()),
		httpserver.TraceRequests(telemetry.StartRequest),
		httpserver.LogRequests(a.logger, route),
		httpserver.MeasureRequests(a.metrics, route),
		httpserver.Recover(a.logger),
		httpserver.SecurityHeaders,
	)
	options := httpserver.Options{Addr: a.config.Listen, Handler: handler, Logger: a.logger}
	if t := a.config.TLS; t.CertFile != "" {
		tls, err := httpserver.TLSFiles(t.CertFile, t.KeyFile, a.logger)
		if err != nil {
			return err
		}
		options.TLS = tls
	}
	a.server = httpserver.New(options)
	return nil
}

func (a *App) mountWebhooks(mux *http.ServeMux, in *intake.Intake) error {
	if !a.config.Receiver.Enabled {
		return nil
	}
	metrics, err := webhook.NewMetrics(a.metrics)
	if err != nil {
		return errs.Wrap(errs.Internal, "app: webhook metrics", err)
	}
	endpoints, err := a.config.WebhookEndpoints()
	if err != nil {
		return err
	}
	found, err := a.senderKeys()
	if err != nil {
		return err
	}
	handler, err := webhook.NewHandler(endpoints, in, metrics,
		webhook.WithLogger(a.logger), webhook.WithRejections(a.books.rejections.Add), webhook.WithKeys(found),
		webhook.WithRate(a.config.Receiver.RatePerSecond))
	if err != nil {
		return err
	}
	mux.Handle("/webhooks/", handler)
	return nil
}

// senderKeys finds the public keys of senders that sign.
func (a *App) senderKeys() (webhook.Keys, error) {
	metrics, err := keys.NewMetrics(a.metrics)
	if err != nil {
		return nil, err
	}
	return keys.New(keys.Options{CAFile: a.config.CAFile, Metrics: metrics})
}

func (a *App) mountAPI(mux *http.ServeMux, in *intake.Intake, cataloger *catalog.Cataloger, names func(string) (string, bool)) error {
	if !a.config.API.Enabled {
		return nil
	}
	tokens, err := a.identities()
	if err != nil {
		return err
	}
	handler, err := api.New(api.Options{
		Reader: a.store, Hosts: names, Requests: in, Reconciler: comparisons{a.store, a.lists.names()}, SBOMs: cataloger, Versions: versions{}, Tokens: tokens, Keyring: a.store, Audit: a.store,
		Forgetter: a.store, Program: program(a.build),
		Databases: a.store, DatabaseAlarm: a.config.VulnDB.AlarmAge, Endpoints: a.endpoints(),
		Notifications: notifications{a.store, a.notifier},
		Logger:        a.logger, Registerer: a.metrics,
		UploadBytes: int64(a.config.Limits.SBOMBytes), RatePerSecond: float64(a.config.API.RatePerSecond),
	})
	if err != nil {
		return err
	}
	mux.Handle(api.Prefix+"/", handler)
	return nil
}

// endpoints are the registries that send webhooks, to this process or another.
func (a *App) endpoints() (names []string) {
	for _, r := range a.config.Registries {
		if r.Webhook.Format != "" {
			names = append(names, r.Name)
		}
	}
	return names
}

// versions lends the API the matcher's way to compare versions.
type versions struct{}

// Satisfies is match.Satisfies.
func (versions) Satisfies(packageType, version, constraint string) (bool, error) {
	return match.Satisfies(packageType, version, constraint)
}

// Compare is match.CompareVersions.
func (versions) Compare(packageType, a, b string) (int, error) {
	return match.CompareVersions(packageType, a, b)
}

// noDatabase says that scans wait, and for what.
func (a *App) noDatabase() error {
	err := errs.New(errs.Unavailable, "app: there is no vulnerability database yet")
	if !a.config.VulnDB.AutoUpdate {
		return err.WithHint("vulndb.auto_update is off: import one with `tidewaiter vulndb import FILE`")
	}
	return err.WithHint("it is being fetched; where that cannot work, import one with `tidewaiter vulndb import FILE`")
}

// checks say when the process can do its work: a database that answers and,
// where scans run, a vulnerability database.
func (a *App) checks() []httpserver.Check {
	checks := []httpserver.Check{{Name: "postgres", Check: a.store.Ping}}
	if a.config.Workers.Enabled {
		checks = append(checks, httpserver.Check{Name: "vulndb", Check: func(context.Context) error {
			if _, ok := a.engine.Current(); !ok {
				return a.noDatabase()
			}
			return nil
		}})
	}
	return checks
}
