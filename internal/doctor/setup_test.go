package doctor_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/app"
	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/doctor"
	"github.com/tidewaiter/tidewaiter/internal/localregistry"
	"github.com/tidewaiter/tidewaiter/internal/pgtest"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// TestMain lets the doctor start this program as a worker process.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == app.CatalogWorker {
		fmt.Fprintln(os.Stderr, app.Catalogue())
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// The secrets of a set-up; no finding may hold one.
const (
	registryPassword = "pw-of-the-registry-5551"
	webhookSecret    = "webhook-secret-of-this-test-0123456789"
	channelSecret    = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
)

// installation is a set-up that works until a test breaks something of it.
type installation struct {
	t        *testing.T
	dir      string
	database string
	values   map[string]string // what stands in the file at @NAME@
	env      map[string]string
	free     func(string) (uint64, error)
	timeout  time.Duration
	server   string
}

const file = `
listen: "@listen@"
admin_listen: "@admin@"
public_url: @public@
database:
  url: "@dburl@"
  max_conns: @conns@
tls: {cert_file: "@cert@", key_file: "@key@"}
vulndb: {dir: "@vulndb@", url: "@mirror@", auto_update: @update@}
temp_dir: "@temp@"
cache: {dir: "@cache@", keep_free: 1MiB}
limits: {temp_bytes: 1MiB}
workers: {isolation: @isolation@}
notify:
  channels:
    - {name: ops, type: webhook, url: "@channel@", secrets: ["${CHANNEL_SECRET}"]}
registries:
  - name: prod
    host: @registry@
    plain_http: @plain@
    @ca@
    auth: {username: robot, password: "${REGISTRY_PASSWORD}"}
    webhook: {format: generic, auth: {kind: bearer, secrets: ["${WEBHOOK_SECRET}"]}}
@more@
`

// install makes a good set-up with a real Postgres and a real registry.
func install(t *testing.T) *installation {
	t.Helper()
	dir := t.TempDir()
	in := &installation{t: t, dir: dir, database: pgtest.URL(t), timeout: 30 * time.Second}
	r, err := localregistry.Start(t.Context(), localregistry.Config{Username: "robot", Password: registryPassword})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close(context.Background()) })
	cert, key := certificate(t, dir, "tidewaiter.example", time.Now().Add(90*24*time.Hour))
	in.values = map[string]string{
		"dburl": "${DATABASE_URL}", "listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "public": "https://tidewaiter.example", "conns": "4", "cert": cert, "key": key,
		"vulndb": filepath.Join(dir, "vulndb"), "mirror": mirror(t, time.Now()), "update": "true", "temp": filepath.Join(dir, "temp"),
		"cache": filepath.Join(dir, "cache"), "isolation": "process", "channel": serve(t, http.NotFoundHandler()).URL + "/hook",
		"registry": r.Host(), "plain": "true", "ca": "", "more": "",
	}
	in.env = map[string]string{
		"DATABASE_URL": in.database, "REGISTRY_PASSWORD": registryPassword, "WEBHOOK_SECRET": webhookSecret, "CHANNEL_SECRET": channelSecret,
	}
	in.free = func(string) (uint64, error) { return 100 << 30, nil }
	in.fill(time.Now(), false)
	return in
}

// fill makes a build of the date the one in force and has the endpoint heard.
func (in *installation) fill(built time.Time, sample bool) {
	in.t.Helper()
	store, err := postgres.Open(in.t.Context(), in.database)
	if err != nil {
		in.t.Fatal(err)
	}
	defer store.Close()
	in.must(store.SyncRegistries(in.t.Context(), []postgres.Registry{{Name: "prod", Host: "registry.example"}}))
	_, _, err = store.BeginBuild(in.t.Context(), vuln.Build{
		Checksum: "sha256:" + strings.Repeat("a", 64), SchemaVersion: "v6.1.0", Built: built, Source: "test", Engine: "grype", EngineVersion: "v0", Config: "c", Sample: sample,
	})
	in.must(err)
	_, err = store.Accept(in.t.Context(), "prod", []postgres.Delivery{{DedupeKey: "one", Ignored: "a test", Action: "push", Repository: "team/app"}},
		func(context.Context, pgx.Tx, int) error { return nil })
	in.must(err)
}

func (in *installation) must(err error) {
	in.t.Helper()
	if err != nil {
		in.t.Fatal(err)
	}
}

// sql runs a statement on the database.
func (in *installation) sql(statement string) {
	in.t.Helper()
	conn, err := pgx.Connect(in.t.Context(), in.database)
	in.must(err)
	defer func() { _ = conn.Close(context.Background()) }()
	_, err = conn.Exec(in.t.Context(), statement)
	in.must(err)
}

// look runs the doctor.
func (in *installation) look() []doctor.Finding {
	in.t.Helper()
	text := file
	for name, value := range in.values {
		text = strings.ReplaceAll(text, "@"+name+"@", value)
	}
	path := filepath.Join(in.dir, "tidewaiter.yaml")
	in.must(os.WriteFile(path, []byte(text), 0o600))
	env := func(name string) (string, bool) { v, ok := in.env[name]; return v, ok }
	return doctor.Run(in.t.Context(), doctor.Options{
		Load: func(options ...config.Option) (config.Config, error) { return config.Load(path, env, options...) },
		Path: path, Catalogues: true, Timeout: in.timeout, Free: in.free, Server: in.server,
	})
}

// mirror serves the latest.json of a build.
func mirror(t *testing.T, built time.Time) string {
	t.Helper()
	return serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"status":"active","schemaVersion":"v6.1.0","built":%q,"path":"db.tar.zst","checksum":"sha256:%s"}`, built.UTC().Format(time.RFC3339), strings.Repeat("a", 64))
	})).URL
}

func serve(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server
}

func host(s *httptest.Server) string {
	_, h, _ := strings.Cut(s.URL, "://")
	return h
}

// certificate makes one for a name, that authorises itself, and its key.
func certificate(t *testing.T, dir, name string, until time.Time) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: until.Add(-400 * 24 * time.Hour), NotAfter: until, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	for path, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "EC PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// dropRole removes a user of the server, who outlives the database.
func dropRole(ctx context.Context, in *installation, name string) {
	conn, err := pgx.Connect(ctx, in.database)
	if err != nil {
		in.t.Error(err)
		return
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, `DROP OWNED BY `+name+`; DROP ROLE `+name); err != nil {
		in.t.Error(err)
	}
}
