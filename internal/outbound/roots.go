package outbound

import (
	"crypto/x509"
	"os"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// Roots returns the system's authorities with those of a PEM file; nil, which
// stands for the system's, where no file is named. The error is of kind Invalid.
func Roots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, errs.Wrap(errs.Invalid, "read the CA file", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errs.New(errs.Invalid, "the CA file %s holds no certificate in PEM form", file)
	}
	return pool, nil
}
