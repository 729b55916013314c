package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/httpserver"
	"github.com/tidewaiter/tidewaiter/internal/outbound"
)

// lookAtServer asks a running service whether it is ready.
func (e *examination) lookAtServer(ctx context.Context) []Finding {
	const name = "server"
	ready, date, err := e.askServer(ctx)
	if err != nil {
		return []Finding{failed(name, err, "check --server, that the service runs, and that this machine may connect there")}
	}
	found := []Finding{{name, OK, "it runs and is ready", ""}}
	if !ready.Ready {
		found = nil
		for _, c := range ready.Checks {
			if !c.OK {
				fix := c.Hint
				if fix == "" {
					fix = "look into its log; this command tells what is wrong when it runs where the service does"
				}
				found = append(found, Finding{name, Fail, fmt.Sprintf("it runs and is not ready: %s (%s)", c.Name, c.Kind), fix})
			}
		}
	}
	if at, err := http.ParseTime(date); err == nil {
		if f := judgeClock("clock", "the server", time.Until(at), 2*time.Second); f.Status != OK {
			found = append(found, f)
		}
	}
	return found
}

// askServer asks without a token, as probes do.
func (e *examination) askServer(ctx context.Context) (answer httpserver.Readiness, date string, err error) {
	base, err := url.Parse(strings.TrimRight(e.Server, "/"))
	if err != nil || base.Host == "" || base.User != nil || base.Scheme != "http" && base.Scheme != "https" {
		return answer, "", errs.New(errs.Invalid, "--server is not the address of a service").WithHint("write it as https://tidewaiter.example or http://localhost:8080")
	}
	roots, err := outbound.Roots(e.config.CAFile)
	if err != nil {
		return answer, "", err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base.JoinPath("readyz").String(), nil)
	if err != nil {
		return answer, "", errs.Wrap(errs.Invalid, "--server", err)
	}
	const patience = 10 * time.Second
	transport := outbound.NewTransport(outbound.Settings{Roots: roots, ConnectTimeout: patience, AnswerTimeout: patience})
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	if err != nil {
		return answer, "", errs.Wrap(errs.Unavailable, "ask "+base.Host, err)
	}
	defer func() { _ = response.Body.Close() }()
	const most = 64 << 10
	if err := json.NewDecoder(http.MaxBytesReader(nil, response.Body, most)).Decode(&answer); err != nil || len(answer.Checks) == 0 {
		return answer, "", errs.New(errs.Malformed, "%s answers /readyz with %d and not as Tidewaiter does", base.Host, response.StatusCode).
			WithHint("check --server: another program may listen there, or a proxy answers in its place")
	}
	return answer, response.Header.Get("Date"), nil
}
