package keys

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidewaiter/tidewaiter/internal/outbound"
)

const (
	signingAddress = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem"
	topic          = "arn:aws:sns:eu-west-1:444455556666:ecr-events"
	confirmAddress = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=" + topic + "&Token=t1"
	setAddress     = "https://issuer.example/keys"
)

var start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// testKey is one for all tests: making one takes long.
var testKey = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// certificateFor makes a certificate with the test key that is its own authority.
func certificateFor(change func(*x509.Certificate)) []byte {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sns.amazonaws.com"}, DNSNames: []string{"sns.amazonaws.com"},
		NotBefore: start.AddDate(0, -1, 0), NotAfter: start.AddDate(0, 1, 0), IsCA: true, BasicConstraintsValid: true,
	}
	if change != nil {
		change(template)
	}
	return must(x509.CreateCertificate(rand.Reader, template, template, testKey().Public(), testKey()))
}

func pemOf(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// clock is set by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// outside is a server that stands for every host there is.
type outside struct {
	*httptest.Server
	ca string // PEM file with its authority

	mu    sync.Mutex
	asked []string
}

// startOutside serves all the names of the tests with TLS.
func startOutside(t *testing.T, handler http.HandlerFunc) *outside {
	t.Helper()
	o := &outside{}
	o.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		o.asked = append(o.asked, r.Method+" https://"+r.Host+r.URL.String())
		o.mu.Unlock()
		handler(w, r)
	}))
	der := certificateFor(func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		c.DNSNames = []string{"sns.eu-west-1.amazonaws.com", "issuer.example", "localhost"}
		c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	})
	o.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: testKey()}}}
	o.StartTLS()
	t.Cleanup(o.Close)
	o.ca = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(o.ca, []byte(pemOf(der)), 0o600); err != nil {
		t.Fatal(err)
	}
	return o
}

func (o *outside) requests() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string(nil), o.asked...)
}

// keys reach the server under whatever name, and everything else is as usual.
func (o *outside) keys(t *testing.T, c *clock) *Keys {
	t.Helper()
	roots, err := outbound.Roots(o.ca)
	if err != nil {
		t.Fatal(err)
	}
	via := outbound.NewTransport(outbound.Settings{Roots: roots})
	via.Proxy, via.DisableKeepAlives = nil, true
	via.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, o.Listener.Addr().String())
	}
	k, err := New(Options{Transport: via, Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// fetches reads the counter.
func fetches(t *testing.T, k *Keys, kind, outcome string) float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(k.metrics.fetches)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range families[0].GetMetric() {
		if m.GetLabel()[0].GetValue() == kind && m.GetLabel()[1].GetValue() == outcome {
			return m.GetCounter().GetValue()
		}
	}
	t.Fatalf("%s %s is not counted", kind, outcome)
	return 0
}

// setWith is a key set with the test key under ids.
func setWith(ids ...string) []byte {
	var set jose.JSONWebKeySet
	for _, id := range ids {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: testKey().Public(), KeyID: id, Algorithm: "RS256", Use: "sig"})
	}
	return must(json.Marshal(set))
}

// tokenOf names a key, which is always the test key.
func tokenOf(id string) string {
	options := &jose.SignerOptions{}
	if id != "" {
		options = options.WithHeader("kid", id)
	}
	signer := must(jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: testKey()}, options))
	return must(must(signer.Sign([]byte(`{"a":1}`))).CompactSerialize())
}
