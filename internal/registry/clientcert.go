package registry

import (
	"crypto/tls"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// checkClientCertificate tells at the start that the certificate cannot be used.
func (s Settings) checkClientCertificate() error {
	if s.ClientCertFile == "" && s.ClientKeyFile == "" {
		return nil
	}
	if _, err := tls.LoadX509KeyPair(s.ClientCertFile, s.ClientKeyFile); err != nil {
		return errs.New(errs.Invalid, "client certificate: %s", printable(err.Error(), 300))
	}
	return nil
}

// showCertificate reads the certificate that a server asks for. It is read for
// every connection, so that it can be replaced.
func (s Settings) showCertificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(s.ClientCertFile, s.ClientKeyFile)
	if err != nil {
		return nil, errs.New(errs.Unauthorized, "the client certificate cannot be read: %s", printable(err.Error(), 300)).
			WithHint("check client_cert_file and client_key_file of registry %s", s.Name)
	}
	return &pair, nil
}
