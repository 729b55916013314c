// Package vulndb keeps grype v6 vulnerability databases on disk: it fetches,
// imports, builds, lists and removes them.
//
// It is responsible for a directory (the library) in which every installed
// database, called a build, lies under its checksum, and for the pointer that
// says which build is current. Whatever it installs has been checked, indexed
// and made durable before anybody can see it, and an attempt that fails changes
// nothing. It must not judge packages, must not decide when a new build becomes
// active for answers (that is the switch in Postgres) and must not log.
//
// # The name of a build
//
// A build is named by the SHA-256 of its database file as it was delivered,
// before indexes are added. Two replicas that import the same archive, the same
// bare file or the same download therefore agree on the name, whatever the
// compression and whatever version of grype adds the indexes. The sample, which
// every replica builds for itself, is named by the facts it is built from.
//
// # On disk
//
//	DIR/current                     checksum of the current build
//	DIR/builds/HEX/vulnerability.db indexed database, never written again
//	DIR/builds/HEX/import.json      grype's own note, so that its tools accept the directory
//	DIR/builds/HEX/build.json       what Installed says
//	DIR/builds/HEX/archive          the archive it came in, to be handed on
//	DIR/staging/                    work in progress, invisible to readers
//	DIR/downloads/, DIR/received/   partial downloads, kept so that they can resume
//	DIR/lock, DIR/update.lock       held while the library changes, or updates
//	DIR/receive.lock                held while a build comes from another library
package vulndb

import (
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// DefaultURL is where grype's official databases are published.
const DefaultURL = "https://grype.anchore.io/databases"

// The defaults of Config.
const (
	DefaultCheckTimeout    = 30 * time.Second
	DefaultDownloadTimeout = 15 * time.Minute
	DefaultMaxBytes        = 16 << 30
)

// Config says where databases are kept and where they come from.
type Config struct {
	// Dir is the library's directory. It is made when something is installed.
	Dir string
	// URL is the distribution to update from: the base of a mirror (to which
	// "/v6/latest.json" is added) or the address of a latest.json itself. Empty
	// means DefaultURL. User and password in it are sent as basic
	// authentication and never shown.
	URL string
	// CAFile names a PEM file of certificate authorities trusted besides the
	// system's own.
	CAFile string
	// CheckTimeout bounds the look at latest.json, DownloadTimeout the
	// download of one archive; zero means the default.
	CheckTimeout, DownloadTimeout time.Duration
	// MaxBytes bounds a database, packed or unpacked; zero means the default.
	MaxBytes int64
}

// Progress is told how far an operation is. Stage is one of "checking",
// "downloading", "receiving", "unpacking", "indexing", "building" and "packing"; done and
// total count bytes, for "building" files, and total is 0 while it is not
// known. A nil Progress is allowed. Calls come from one goroutine.
type Progress func(stage string, done, total int64)

func (p Progress) report(stage string, done, total int64) {
	if p != nil {
		p(stage, done, total)
	}
}

// Library is a directory of installed databases. Several processes may share
// it; a Library is safe for concurrent use.
type Library struct {
	dir    string
	cfg    Config
	latest *url.URL
	client *http.Client
}

// Open returns the library in cfg.Dir. The directory need not exist. Open does
// not touch the network; it fails with errs.Invalid when a setting cannot work.
func Open(cfg Config) (*Library, error) {
	if cfg.Dir == "" {
		return nil, errs.New(errs.Invalid, "vulndb: no directory is configured").
			WithHint("name one with --vulndb-dir or TIDEWAITER_VULNDB_DIR")
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, errs.Wrap(errs.Invalid, "vulndb: directory", err)
	}
	if err := checkPath(dir); err != nil {
		return nil, err
	}
	cfg = withDefaults(cfg)
	latest, err := latestURL(cfg.URL)
	if err != nil {
		return nil, err
	}
	client, err := newClient(cfg.CAFile)
	if err != nil {
		return nil, err
	}
	return &Library{dir: dir, cfg: cfg, latest: latest, client: client}, nil
}

func withDefaults(cfg Config) Config {
	if cfg.URL == "" {
		cfg.URL = DefaultURL
	}
	if cfg.CheckTimeout == 0 {
		cfg.CheckTimeout = DefaultCheckTimeout
	}
	if cfg.DownloadTimeout == 0 {
		cfg.DownloadTimeout = DefaultDownloadTimeout
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = DefaultMaxBytes
	}
	return cfg
}

// checkPath refuses directories that grype cannot open: it puts the path into
// an SQLite URI without escaping it.
func checkPath(dir string) error {
	if i := strings.IndexAny(dir, "?#%"); i >= 0 {
		return errs.New(errs.Invalid, "vulndb: directory %q contains %q, which SQLite cannot open", dir, dir[i:i+1])
	}
	return nil
}

// Dir returns the library's directory as an absolute path.
func (l *Library) Dir() string { return l.dir }

// Source returns the address that Update asks, without any secret in it.
func (l *Library) Source() string { return display(l.latest) }

func (l *Library) path(elem ...string) string {
	return filepath.Join(append([]string{l.dir}, elem...)...)
}

// makeDirs creates the directories an installation needs.
func (l *Library) makeDirs() error {
	for _, d := range []string{buildsDir, stagingDir, downloadsDir} {
		err := os.MkdirAll(l.path(d), 0o755)
		if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
			return (&errs.Error{Kind: errs.Invalid, Op: "vulndb: make directory", Err: err}).
				WithHint("this user may not write there; name another directory with --vulndb-dir or TIDEWAITER_VULNDB_DIR")
		}
		if err != nil {
			return diskError("vulndb: make directory", err)
		}
	}
	return nil
}
