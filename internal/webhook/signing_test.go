package webhook

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1"   // for crypto.SHA1
	_ "crypto/sha256" // for crypto.SHA256
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// signer signs as Amazon SNS and as an issuer of tokens do.
type signer struct {
	key         *rsa.PrivateKey
	certificate string // PEM
	keys        string // JSON Web Key Set
}

// sampleSigner signs the samples that were added to those of which nobody has
// the private key any more.
var sampleSigner = sync.OnceValue(newSigner)

// strangeSigner signs for somebody else.
var strangeSigner = sync.OnceValue(newSigner)

const signerKeyID = "test"

func newSigner() *signer {
	key := must(rsa.GenerateKey(rand.Reader, 2048))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sns.amazonaws.com"},
		NotBefore: sampleTime.AddDate(-1, 0, 0), NotAfter: sampleTime.AddDate(1, 0, 0),
	}
	der := must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: signerKeyID, Algorithm: "RS256", Use: "sig"}}}
	return &signer{
		key: key, certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		keys: string(must(json.Marshal(set))),
	}
}

// sign adds the signature to a message of SNS.
func (s *signer) sign(message map[string]any) {
	var m snsMessage
	if err := json.Unmarshal(must(json.Marshal(message)), &m); err != nil {
		panic(err)
	}
	hash := crypto.SHA256
	if m.SignatureVersion == "1" {
		hash = crypto.SHA1
	}
	digest := hash.New()
	_, _ = digest.Write([]byte(m.signed()))
	message["Signature"] = base64.StdEncoding.EncodeToString(must(rsa.SignPKCS1v15(nil, s.key, hash, digest.Sum(nil))))
}

// token signs claims.
func (s *signer) token(t testing.TB, claims map[string]any) string {
	t.Helper()
	return compactToken(t, jose.SigningKey{Algorithm: jose.RS256, Key: s.key}, claims)
}

func compactToken(t testing.TB, key jose.SigningKey, claims map[string]any) string {
	t.Helper()
	with, err := jose.NewSigner(key, (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", signerKeyID))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := with.Sign(must(json.Marshal(claims)))
	if err != nil {
		t.Fatal(err)
	}
	return must(signed.CompactSerialize())
}

// signSample signs the body of a sample of ecr-sns that has no signature.
func signSample(t testing.TB, format string, body []byte) []byte {
	t.Helper()
	var message map[string]any
	if format != "ecr-sns" || json.Unmarshal(body, &message) != nil || message["Type"] == nil || message["Signature"] != nil {
		return body
	}
	sampleSigner().sign(message)
	return must(json.Marshal(message))
}

// changeSignature changes the signature in the body of a request. Given twice,
// it is the header that says what the body is.
func changeSignature(t *testing.T, r *http.Request, change func([]string) []string) {
	t.Helper()
	var message map[string]any
	if err := json.NewDecoder(r.Body).Decode(&message); err != nil {
		t.Fatal(err)
	}
	values := change([]string{message["Signature"].(string)})
	delete(message, "Signature")
	if len(values) > 0 {
		message["Signature"] = values[0]
	}
	if len(values) > 1 {
		r.Header[snsTypeHeader] = append(r.Header[snsTypeHeader], r.Header[snsTypeHeader]...)
	}
	r.Body = io.NopCloser(bytes.NewReader(must(json.Marshal(message))))
	r.ContentLength = -1
}

// at makes a time of a sample readable.
func at(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
