package keys

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/json"

	"github.com/go-jose/go-jose/v4"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// algorithms are those a token may be signed with: asymmetric ones only, so that
// no public key can serve as a secret, and never "none".
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.ES256}

// Algorithms lists the names of the algorithms a token may be signed with (RFC
// 7518, section 3.1).
func Algorithms() []string {
	names := make([]string, len(algorithms))
	for i, a := range algorithms {
		names[i] = string(a)
	}
	return names
}

// Set is a set of public keys. It implements oidc.KeySet.
type Set struct{ keys []jose.JSONWebKey }

// maxKeys is more than any issuer has in use at once.
const maxKeys = 100

// ParseSet reads a JSON Web Key Set (RFC 7517, section 5). Keys that cannot
// check a signature of ours are left out: private and symmetric ones, those of
// other algorithms, and those for encryption. The error is of kind Invalid when
// none is left.
func ParseSet(text []byte) (Set, error) {
	var raw struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		return Set{}, errs.New(errs.Invalid, "is not a JSON Web Key Set")
	}
	var s Set
	for _, r := range raw.Keys[:min(len(raw.Keys), maxKeys)] {
		var key jose.JSONWebKey
		if err := json.Unmarshal(r, &key); err == nil && verifies(key) {
			s.keys = append(s.keys, key)
		}
	}
	if len(s.keys) == 0 {
		return Set{}, errs.New(errs.Invalid, "holds no public RSA or EC key for signatures")
	}
	return s, nil
}

func verifies(key jose.JSONWebKey) bool {
	switch key.Key.(type) {
	case *rsa.PublicKey, *ecdsa.PublicKey:
		return (key.Use == "" || key.Use == "sig") && key.Valid()
	}
	return false
}

// VerifySignature returns the content of a token that one of the keys has
// signed; if the token names a key, only that one counts. The error is of kind
// Unauthorized.
func (s Set) VerifySignature(_ context.Context, token string) ([]byte, error) {
	signed, id, err := parseToken(token)
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

// parseToken reads a JSON Web Signature in its compact form (RFC 7515, section
// 7.1) and the id of its key, which may be empty.
func parseToken(token string) (signed *jose.JSONWebSignature, id string, err error) {
	signed, err = jose.ParseSignedCompact(token, algorithms)
	if err != nil || len(signed.Signatures) != 1 {
		return nil, "", errs.New(errs.Unauthorized, "keys: not a token with a signature of a kind that is allowed")
	}
	return signed, signed.Signatures[0].Header.KeyID, nil
}
