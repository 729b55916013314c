package webhook

import (
	"context"
	"crypto/x509"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// Keys finds what requests that are signed with a private key are checked with.
// What it is asked for was checked before against the configuration: it never
// sees an address that a request alone chose.
type Keys interface {
	// Certificate returns the certificate at a URL of Amazon SNS. The error is of
	// kind Unavailable when it cannot be had now, Unauthorized when what is there
	// is no certificate.
	Certificate(ctx context.Context, url string) (*x509.Certificate, error)
	// KeySet returns the JSON Web Key Set at a URL (RFC 7517), which it keeps and
	// fetches again for key ids it does not know.
	KeySet(url string) oidc.KeySet
	// Confirm visits the address by which a subscription is confirmed. The error
	// is of kind Unavailable when that did not work; the sender then asks again.
	Confirm(ctx context.Context, url string) error
}

// noKeys has none and visits nothing.
type noKeys struct{}

func (noKeys) Certificate(context.Context, string) (*x509.Certificate, error) {
	return nil, noneAtHand()
}
func (noKeys) Confirm(context.Context, string) error { return nil }
func (k noKeys) KeySet(string) oidc.KeySet           { return k }

// VerifySignature refuses: there is no key to verify with.
func (noKeys) VerifySignature(context.Context, string) ([]byte, error) { return nil, noneAtHand() }

func noneAtHand() error {
	return errs.New(errs.Unauthorized, "the sender's key is not at hand, and fetching it is not allowed here").
		WithHint("let it be fetched with --online, or name a file with it in certificate_file or jwks_file")
}
