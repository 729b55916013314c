package api_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/api"
	"github.com/tidewaiter/tidewaiter/internal/api/apitest"
	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/postgres/postgrestest"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/sbom"
)

// bench is an API over a real database.
type bench struct {
	*postgrestest.World
	t       *testing.T
	server  *httptest.Server
	handler http.Handler
	token   string // sees and does everything
}

func hosts(host string) (string, bool) {
	name, ok := map[string]string{postgrestest.Host: "main", "alias.example.com:5000": "main", "registry": "main"}[host]
	return name, ok
}

func newBench(t *testing.T, w *postgrestest.World, change ...func(*api.Options)) *bench {
	t.Helper()
	b := serve(t, w, newHandler(t, w, change...))
	b.token = b.newToken("all", report.ScopeAdmin)
	return b
}

func newHandler(t *testing.T, w *postgrestest.World, change ...func(*api.Options)) http.Handler {
	t.Helper()
	o := api.Options{
		Reader: w.Store, Hosts: hosts, Requests: requests{w.Store}, Reconciler: w.Store, SBOMs: converter{}, Versions: versions{}, Tokens: w.Store, Keyring: w.Store, Audit: w.Store, Databases: w.Store, Forgetter: w.Store,
		Notifications: notifications{w.Store, nil},
		RatePerSecond: 1e6, RateBurst: 1e6,
	}
	for _, c := range change {
		c(&o)
	}
	handler, err := api.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return handler
}

func serve(t *testing.T, w *postgrestest.World, handler http.Handler) *bench {
	b := &bench{World: w, t: t, handler: handler, server: httptest.NewServer(handler)}
	t.Cleanup(b.server.Close)
	return b
}

func (b *bench) newToken(name string, scope report.Scope, prefixes ...string) string {
	b.t.Helper()
	token, err := b.Store.CreateToken(b.t.Context(), name, scope, prefixes, time.Time{})
	if err != nil {
		b.t.Fatal(err)
	}
	return token
}

// reply is an answer that kept the contract.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// get asks with the token that sees everything. Parameters are pairs.
func (b *bench) get(path string, parameters ...string) reply {
	b.t.Helper()
	return b.do(http.MethodGet, path+encode(parameters), b.token, "", "")
}

// later is get beside the test. The channel closes without an answer when there
// is none.
func (b *bench) later(path string, parameters ...string) <-chan reply {
	out := make(chan reply, 1)
	go func() {
		defer close(out)
		out <- b.get(path, parameters...)
	}()
	return out
}

func encode(parameters []string) string {
	q := url.Values{}
	for i := 0; i < len(parameters); i += 2 {
		q.Add(parameters[i], parameters[i+1])
	}
	return "?" + q.Encode()
}

// do asks and holds the answer against the document.
func (b *bench) do(method, path, token, contentType, body string) reply {
	b.t.Helper()
	request, err := http.NewRequestWithContext(b.t.Context(), method, b.server.URL+api.Prefix+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	response, err := b.server.Client().Do(request)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	got, err := io.ReadAll(response.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	apitest.Check(b.t, request, response, got)
	return reply{response.StatusCode, response.Header, got}
}

// into decodes an answer that has to be good.
func into[T any](t *testing.T, r reply) T {
	t.Helper()
	var out T
	if r.status >= 300 {
		t.Fatalf("status %d: %s", r.status, r.body)
	}
	if err := json.Unmarshal(r.body, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// problem is what a refused caller is told.
type problem struct {
	Status int       `json:"status"`
	Kind   errs.Kind `json:"kind"`
	Field  string    `json:"field"`
	Detail string    `json:"detail"`
	Hint   string    `json:"hint"`
}

// refused checks the kind and field of a problem.
func (r reply) refused(t *testing.T, kind errs.Kind, field string) problem {
	t.Helper()
	var p problem
	if err := json.Unmarshal(r.body, &p); err != nil {
		t.Fatalf("no problem: %v: %s", err, r.body)
	}
	if p.Kind != kind || p.Field != field || p.Status != r.status || r.status != kind.Meaning().Status {
		t.Errorf("status %d, problem %+v; want kind %s, field %q", r.status, p, kind, field)
	}
	return p
}

// requests queue in the database and give nobody a permit.
type requests struct{ store *postgres.Store }

func (r requests) RequestScan(ctx context.Context, ref image.Reference) (int64, error) {
	if ref.Registry != postgrestest.Host {
		return 0, errs.New(errs.Invalid, "asked for host %s, not the registry's own", ref.Registry)
	}
	return r.store.RequestScan(ctx, "main", ref, postgrestest.NoPermits)
}

func (r requests) Hurry(ctx context.Context, scanID int64) error {
	return r.store.HurryScan(ctx, scanID)
}

func (r requests) Cancel(ctx context.Context, access report.Access, scanID int64, who string) (report.RunState, error) {
	return r.store.CancelScan(ctx, access, scanID, who)
}

func (r requests) Upload(ctx context.Context, repository, tag string, document []byte) (int64, image.Digest, error) {
	digest := image.DigestOf(document)
	id, err := r.store.SaveUpload(ctx, "sboms", repository, tag, digest, document, postgrestest.NoPermits)
	return id, digest, err
}

// converter stands in for syft, which is heavy: it wraps the document.
type converter struct{}

func (converter) Encode(_ context.Context, syftJSON []byte, f sbom.Format) ([]byte, error) {
	return json.Marshal(map[string]any{"format": f, "from": json.RawMessage(syftJSON)})
}

// versions stands in for grype, which is heavy: it knows "<" and digits.
type versions struct{}

func (versions) Satisfies(_, version, constraint string) (bool, error) {
	least, ok := strings.CutPrefix(constraint, "<")
	if !ok {
		return false, errs.New(errs.Invalid, "no constraint")
	}
	return version < least, nil
}

func (versions) Compare(_, a, b string) (int, error) { return strings.Compare(a, b), nil }
