// Package config reads how this installation is set up: one strict YAML file,
// a few environment variables over it, and the secrets they point to.
//
// It is responsible for the words of the file, their defaults, every check that
// can be made before anything starts, and the translation into the settings of
// the rooms. It must not connect anywhere and must not log; nothing it prints
// holds a secret.
package config

import (
	"time"

	"github.com/tidewaiter/tidewaiter/internal/image"
)

// The fields of the types below are the keys of the file. The tags yaml,
// default, env and flag and the comments are the reference: docs/configuration.md
// is made from them.

// Config is the whole file.
type Config struct {
	// Where findings are kept.
	Database Database `yaml:"database"`
	// Address that serves webhooks, API and health checks.
	Listen string `yaml:"listen" default:":8080" env:"TIDEWAITER_LISTEN" flag:"listen"`
	// Second address, for operators only, that serves /metrics and profiles under /debug/pprof/. When empty, metrics are served on `listen` and profiles nowhere.
	AdminListen string `yaml:"admin_listen" env:"TIDEWAITER_ADMIN_LISTEN" flag:"admin-listen"`
	// Address that people reach this service under, for links in messages, as https://tidewaiter.example.
	PublicURL string `yaml:"public_url" env:"TIDEWAITER_PUBLIC_URL"`
	// Proxies in front of this service, as addresses or networks (10.0.0.0/8). Their word is taken for where a request comes from, which rate limits, audit log and logs go by; nobody else's is.
	TrustedProxies []string `yaml:"trusted_proxies"`
	// Header in which trusted proxies say it, X-Forwarded-For or Forwarded; the other one is not looked at. The right-most address that is no trusted proxy's counts.
	ForwardedHeader string `yaml:"forwarded_header" default:"X-Forwarded-For"`
	// Bearer token that /metrics needs on `listen`; empty lets everybody read it who gets there. Not on `admin_listen`.
	MetricsToken Secret `yaml:"metrics_token" env:"TIDEWAITER_METRICS_TOKEN"`
	// HTTPS on `listen`.
	TLS TLS `yaml:"tls"`
	// What is logged and how. Logs go to standard error.
	Log Log `yaml:"log"`
	// Traces, by OpenTelemetry. [Metrics](metrics.md#traces) says what is in them.
	Telemetry Telemetry `yaml:"telemetry"`
	// The webhook receiver.
	Receiver Receiver `yaml:"receiver"`
	// What pulls, catalogues and judges images.
	Workers Workers `yaml:"workers"`
	// The JSON API.
	API API `yaml:"api"`
	// The vulnerability database.
	VulnDB VulnDB `yaml:"vulndb"`
	// What is news of a finding.
	Events Events `yaml:"events"`
	// For how long what is over is kept. [Retention](retention.md) says what that is; 0 keeps it for ever.
	Retention Retention `yaml:"retention"`
	// Who is told what is new. [Notifications](notifications.md) shows how.
	Notify Notify `yaml:"notify"`
	// Directory for files that a scan needs while it runs; empty means the system's.
	TempDir string `yaml:"temp_dir" path:"true" env:"TIDEWAITER_TEMP_DIR" flag:"temp-dir"`
	// What is kept of image layers.
	Cache Cache `yaml:"cache"`
	// PEM file of certificate authorities to trust for outgoing connections besides the system's. Proxies are taken from HTTP_PROXY, HTTPS_PROXY and NO_PROXY.
	CAFile string `yaml:"ca_file" path:"true" env:"TIDEWAITER_CA_FILE"`
	// What one webhook, image or document may cost.
	Limits Limits `yaml:"limits"`
	// Platforms of multi-platform images to scan, as `linux/amd64`; empty means all.
	Platforms []image.Platform `yaml:"platforms"`
	// The registries that images are pulled from and webhooks come from.
	Registries []Registry `yaml:"registries"`
}

// Database says where Postgres is.
type Database struct {
	// Postgres connection URL, or keywords as libpq takes them. Required.
	URL Secret `yaml:"url" env:"TIDEWAITER_DATABASE_URL" flag:"database-url"`
	// Connections this process may open.
	MaxConns int `yaml:"max_conns" default:"10" env:"TIDEWAITER_DATABASE_MAX_CONNS"`
}

// TLS names a certificate. Both files or none.
type TLS struct {
	// PEM file with the certificate chain. Read again when it changes.
	CertFile string `yaml:"cert_file" path:"true" env:"TIDEWAITER_TLS_CERT_FILE"`
	// PEM file with the private key.
	KeyFile string `yaml:"key_file" path:"true" env:"TIDEWAITER_TLS_KEY_FILE"`
}

// Log says what is logged and how.
type Log struct {
	// Least level that is logged: debug, info, warn or error.
	Level string `yaml:"level" default:"info" env:"TIDEWAITER_LOG_LEVEL" flag:"log-level"`
	// Form of the lines: text, json, or auto for text on a terminal and json elsewhere.
	Format string `yaml:"format" default:"auto" env:"TIDEWAITER_LOG_FORMAT" flag:"log-format"`
}

// Receiver is the webhook receiver.
type Receiver struct {
	// Whether this process takes webhooks.
	Enabled bool `yaml:"enabled" default:"true" env:"TIDEWAITER_RECEIVER_ENABLED" flag:"receiver"`
	// Time a push without a tag waits before it is scanned. Most are the images of an index that follows; its scan then does the work. `0s` for none.
	UntaggedHold time.Duration `yaml:"untagged_hold" default:"10s"`
	// Time a push without a digest waits before it is scanned, so that the several events some senders make of one push lead to one scan. `0s` for none.
	Coalesce time.Duration `yaml:"coalesce" default:"2s"`
	// Requests per second that one address may send to one endpoint; ten times as many may come at once. What is beyond is answered with 429 before it is read. 0 for no limit.
	RatePerSecond int `yaml:"rate_per_second" default:"1000"`
}

// API is the JSON API.
type API struct {
	// Whether this process serves the API.
	Enabled bool `yaml:"enabled" default:"true" env:"TIDEWAITER_API_ENABLED" flag:"api"`
	// Requests per second one token may make.
	RatePerSecond int `yaml:"rate_per_second" default:"50"`
	// Token of scope admin that gets an operator in, kept as a hash under the name initial-admin; another value replaces it. At least 32 characters, as `openssl rand -base64 33` makes them. When empty and there is no token yet, the service makes one at its first start and prints it, once, on standard error.
	AdminToken Secret `yaml:"admin_token" env:"TIDEWAITER_ADMIN_TOKEN"`
	// Issuers of OpenID Connect whose tokens are taken in place of API tokens.
	OIDC []OIDC `yaml:"oidc"`
}
