package httpserver

import (
	"crypto/tls"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// TLSFiles returns settings that serve the certificate and key in the given PEM
// files and read them again when one of them changes, so that a renewed
// certificate needs no restart. A renewal that cannot be read is logged and
// leaves the last good certificate in use. The error is of kind Invalid.
func TLSFiles(certFile, keyFile string, logger *slog.Logger) (*tls.Config, error) {
	pair := &keyPair{certFile: certFile, keyFile: keyFile, logger: logger}
	if err := pair.load(pair.stamp()); err != nil {
		return nil, errs.Wrap(errs.Invalid, "httpserver: read TLS certificate", err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: pair.get}, nil
}

// keyPair is a certificate that follows its files.
type keyPair struct {
	certFile, keyFile string
	logger            *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	loaded  fileStamps
	checked time.Time
}

// fileStamps tells versions of the two files apart.
type fileStamps [2]struct {
	modified time.Time
	size     int64
}

const checkCertificateEvery = 10 * time.Second

func (k *keyPair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if time.Since(k.checked) >= checkCertificateEvery {
		k.refresh()
	}
	return k.current, nil
}

func (k *keyPair) refresh() {
	k.checked = time.Now()
	now := k.stamp()
	if now == k.loaded {
		return
	}
	// A half-written renewal fails here and is tried again next time.
	if err := k.load(now); err != nil {
		k.logger.Warn("tls certificate not renewed", "cert_file", k.certFile, "error", err)
	}
}

func (k *keyPair) load(stamp fileStamps) error {
	cert, err := tls.LoadX509KeyPair(k.certFile, k.keyFile)
	if err != nil {
		return err
	}
	k.current, k.loaded = &cert, stamp
	return nil
}

func (k *keyPair) stamp() fileStamps {
	var s fileStamps
	for i, name := range []string{k.certFile, k.keyFile} {
		if info, err := os.Stat(name); err == nil {
			s[i].modified, s[i].size = info.ModTime(), info.Size()
		}
	}
	return s
}
