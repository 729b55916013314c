package webhook

import (
	"crypto/hmac"
	"encoding/hex"
	"hash"
	"net/http"
	"strings"
)

// signing says where a sender puts the HMAC of a body.
type signing struct {
	// header is the one used when the configuration names none.
	header string
	// prefix stands before the hex digits.
	prefix string
}

// plainSigning is where a caller without a convention of its own puts it; the
// one of our generic format.
var plainSigning = signing{"X-Signature", "sha256="}

// checkHMAC compares the signature with that of every secret. An empty or cut
// one never passes.
func (a Auth) checkHMAC(algorithm func() hash.Hash, header http.Header, body []byte, signed signing) error {
	name := a.Header
	if name == "" {
		name = signed.header
	}
	value, err := single(header, name)
	if err != nil {
		return err
	}
	encoded, ok := strings.CutPrefix(value, signed.prefix)
	sum, err := hex.DecodeString(encoded)
	if !ok || err != nil || len(sum) != algorithm().Size() {
		return refused(name)
	}
	good := false
	for _, secret := range a.Secrets {
		mac := hmac.New(algorithm, []byte(secret))
		mac.Write(body)
		if hmac.Equal(sum, mac.Sum(nil)) && secret != "" {
			good = true
		}
	}
	if !good {
		return refused(name)
	}
	return nil
}
