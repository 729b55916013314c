// Package jwks checks what was signed with a private key whose public half is in
// a JSON Web Key Set (RFC 7517): it reads sets, keeps them, has them fetched again
// when they are old or lack a key, and verifies signatures with them.
//
// It is responsible for which algorithms and keys are good enough. It must not
// connect anywhere, which those do that know where a set may come from, and must
// not look at what a token claims.
package jwks

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"

	"github.com/go-jose/go-jose/v4"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// Algorithms are names of algorithms a token may be signed with (RFC 7518, section
// 3.1; RFC 8037). There are asymmetric ones only, so that no public key can serve
// as a secret, and never "none".
type Algorithms []jose.SignatureAlgorithm

// Usual is what senders of webhooks sign with, Wide whatever issuers of tokens do.
func Usual() Algorithms { return Algorithms{jose.RS256, jose.ES256} }

// Wide lists every algorithm that is allowed anywhere.
func Wide() Algorithms {
	return Algorithms{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA}
}

// Names lists the algorithms as tokens write them.
func (a Algorithms) Names() []string {
	names := make([]string, len(a))
	for i, name := range a {
		names[i] = string(name)
	}
	return names
}

// Set is a set of public keys.
type Set struct {
	algorithms Algorithms
	keys       []jose.JSONWebKey
}

// maxKeys is more than any issuer has in use at once.
const maxKeys = 100

// leastRSA is the size in bits from which on an RSA key is good enough (RFC 7518,
// section 3.3).
const leastRSA = 2048

// Parse reads a set (RFC 7517, section 5). Keys that cannot check a signature of
// ours are left out: private and symmetric ones, those of other algorithms, those
// for encryption, and RSA keys that are too short. The error is of kind Invalid
// when none is left.
func Parse(text []byte, algorithms Algorithms) (Set, error) {
	var raw struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		return Set{}, errs.New(errs.Invalid, "is not a JSON Web Key Set")
	}
	s := Set{algorithms: algorithms}
	for _, r := range raw.Keys[:min(len(raw.Keys), maxKeys)] {
		var key jose.JSONWebKey
		if err := json.Unmarshal(r, &key); err == nil && verifies(key) {
			s.keys = append(s.keys, key)
		}
	}
	if len(s.keys) == 0 {
		return Set{}, errs.New(errs.Invalid, "holds no public key for signatures")
	}
	return s, nil
}

func verifies(key jose.JSONWebKey) bool {
	switch k := key.Key.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < leastRSA {
			return false
		}
	case *ecdsa.PublicKey, ed25519.PublicKey:
	default:
		return false
	}
	return (key.Use == "" || key.Use == "sig") && key.Valid()
}

// VerifySignature returns the content of a token in its compact form that one of
// the keys has signed; if the token names a key, only that one counts. The error
// is of kind Unauthorized.
func (s Set) VerifySignature(_ context.Context, token string) ([]byte, error) {
	signed, id, err := parseToken(token, s.algorithms)
	if err != nil {
		return nil, err
	}
	for _, key := range s.keys {
		if !named(key, id) || key.Algorithm != "" && key.Algorithm != signed.Signatures[0].Header.Algorithm {
			continue
		}
		if content, err := signed.Verify(key.Key); err == nil {
			return content, nil
		}
	}
	return nil, errs.New(errs.Unauthorized, "keys: no key of the issuer has signed the token")
}

// has reports whether a token that names this key may be signed by the set.
func (s Set) has(id string) bool {
	for _, key := range s.keys {
		if named(key, id) {
			return true
		}
	}
	return false
}

func named(key jose.JSONWebKey, id string) bool {
	return id == "" || key.KeyID == "" || key.KeyID == id
}

// Unverified returns the content of a token without checking its signature, to
// find out whose keys to check it with. The error is of kind Unauthorized when it
// is no token with one signature of an allowed algorithm.
func Unverified(token string, algorithms Algorithms) ([]byte, error) {
	signed, _, err := parseToken(token, algorithms)
	if err != nil {
		return nil, err
	}
	return signed.UnsafePayloadWithoutVerification(), nil
}

// parseToken reads a JSON Web Signature in its compact form (RFC 7515, section
// 7.1) and the id of its key, which may be empty.
func parseToken(token string, algorithms Algorithms) (signed *jose.JSONWebSignature, id string, err error) {
	signed, err = jose.ParseSignedCompact(token, algorithms)
	if err != nil || len(signed.Signatures) != 1 {
		return nil, "", errs.New(errs.Unauthorized, "keys: not a token with a signature of a kind that is allowed")
	}
	return signed, signed.Signatures[0].Header.KeyID, nil
}
