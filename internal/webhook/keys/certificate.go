package keys

import (
	"context"
	"crypto/x509"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

const (
	// A certificate is asked for again every day, and used on while it cannot be
	// had: at most for staleCertificate, and never past its own end.
	freshCertificate = 24 * time.Hour
	staleCertificate = 7 * 24 * time.Hour
	// refusedCertificate is how long a URL without a certificate is not asked
	// again.
	refusedCertificate = time.Minute

	maxCertificate  = 64 << 10
	maxCertificates = 64
)

// certificate is what is known of a URL: a certificate, why there is none, or
// both when the last attempt failed.
type certificate struct {
	value *x509.Certificate
	since time.Time // when value was fetched
	err   error
	until time.Time // when to ask again
}

// usable reports whether the certificate may still be used.
func (c certificate) usable(now time.Time) bool {
	return c.value != nil && now.Sub(c.since) < staleCertificate && inForce(c.value, now)
}

func inForce(c *x509.Certificate, now time.Time) bool {
	return !now.Before(c.NotBefore) && !now.After(c.NotAfter)
}

// Certificate returns the certificate at a URL of Amazon SNS. The error is of
// kind Unauthorized when the URL is not one of those, or what is there is not a
// certificate of SNS that is in force; Unavailable when it cannot be had now.
//
// The file holds the certificate alone and not those above it, so its chain
// cannot be followed: that it came from Amazon's host is what TLS vouches for.
func (k *Keys) Certificate(ctx context.Context, url string) (*x509.Certificate, error) {
	if SigningHost(url) == "" {
		return nil, errs.New(errs.Unauthorized, "keys: not the address of a certificate of Amazon SNS")
	}
	known := k.certificate(url)
	if k.now().After(known.until) {
		// Who waits may go; the answer is for all who ask.
		done := k.flights.DoChan(url, func() (any, error) {
			return k.renew(context.WithoutCancel(ctx), url), nil
		})
		select {
		case result := <-done:
			known = result.Val.(certificate)
		case <-ctx.Done():
			return nil, errs.Op("keys: wait for a certificate", ctx.Err())
		}
	}
	if known.usable(k.now()) {
		return known.value, nil
	}
	if known.err != nil {
		return nil, known.err
	}
	return nil, errs.New(errs.Unauthorized, "keys: the certificate is not in force")
}

func (k *Keys) certificate(url string) certificate {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.certificates[url]
}

// renew asks for a certificate and keeps the answer, good or bad.
func (k *Keys) renew(ctx context.Context, url string) certificate {
	known, now := k.certificate(url), k.now()
	if now.Before(known.until) {
		return known // somebody else just asked
	}
	if !k.certificateRate.AllowN(now, 1) {
		k.metrics.count(kindCertificate, outcomeLimited)
		known.err = unavailable("keys: too many certificates were asked for", nil)
		return known
	}
	value, err := k.fetchCertificate(ctx, url)
	switch {
	case err == nil:
		known = certificate{value: value, since: now, until: now.Add(freshCertificate)}
	case errs.Is(err, errs.Unavailable):
		known.err, known.until = err, now.Add(refusedCertificate)
	default:
		known = certificate{err: err, until: now.Add(refusedCertificate)}
	}
	k.keep(url, known)
	return known
}

func (k *Keys) fetchCertificate(ctx context.Context, url string) (*x509.Certificate, error) {
	f, err := k.fetch(ctx, kindCertificate, url, maxCertificate, fetchTimeout)
	if err != nil {
		return nil, err
	}
	all, err := ParseCertificates(f.body)
	switch {
	case err != nil:
		return nil, errs.Wrap(errs.Unauthorized, "keys: what is at the certificate's address", err)
	case !isSigner(all[0]):
		return nil, errs.New(errs.Unauthorized, "keys: the certificate is not one of Amazon SNS")
	case !inForce(all[0], k.now()):
		return nil, errs.New(errs.Unauthorized, "keys: the certificate is not in force")
	}
	return all[0], nil
}

// keep stores an answer. Bad ones make room first.
func (k *Keys) keep(url string, c certificate) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, good := range []bool{false, true} {
		for other, kept := range k.certificates {
			if len(k.certificates) >= maxCertificates && (kept.value != nil) == good {
				delete(k.certificates, other)
			}
		}
	}
	k.certificates[url] = c
}
