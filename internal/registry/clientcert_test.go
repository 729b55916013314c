package registry_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

// authority signs client certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	a.cert, a.key = a.sign(t, &x509.Certificate{IsCA: true, KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, Subject: pkix.Name{CommonName: "test authority"}})
	return a
}

// sign makes a certificate; the first signs itself.
func (a *authority) sign(t *testing.T, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber, template.NotBefore = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour)
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	parent, parentKey := a.cert, a.key
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// client writes a client certificate with its key.
func (a *authority) client(t *testing.T, certFile, keyFile string, until time.Time) {
	t.Helper()
	cert, key := a.sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "tidewaiter"}, NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, certFile, "CERTIFICATE", cert.Raw)
	writePEM(t, keyFile, "PRIVATE KEY", der)
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// demanding serves h to those who show a certificate of the authority.
func demanding(t *testing.T, h http.Handler, a *authority) (server *httptest.Server, caFile string) {
	t.Helper()
	server = httptest.NewUnstartedServer(h)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: x509.NewCertPool()}
	server.TLS.ClientCAs.AddCert(a.cert)
	server.StartTLS()
	t.Cleanup(server.Close)
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	writePEM(t, caFile, "CERTIFICATE", server.Certificate().Raw)
	return server, caFile
}

func TestClientCertificate(t *testing.T) {
	f := newFake(t)
	f.tag(image.MediaTypeOCIManifest, f.image("amd64"))
	a := newAuthority(t)
	server, ca := demanding(t, f, a)
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "client.pem"), filepath.Join(dir, "client.key")
	a.client(t, cert, key, time.Time{})
	s := registry.Settings{
		Name: "test", Host: "registry.example.com", Endpoint: strings.TrimPrefix(server.URL, "https://"),
		CAFile: ca, ClientCertFile: cert, ClientKeyFile: key,
	}
	resolve := func(c *registry.Client) error {
		server.CloseClientConnections()
		_, err := c.Resolve(t.Context(), ref(t, wanted))
		return err
	}
	c := client(t, s)
	if err := resolve(c); err != nil {
		t.Fatal(err)
	}

	newAuthority(t).client(t, cert, key, time.Time{})
	if err := resolve(c); !errs.Is(err, errs.Unauthorized) || !strings.Contains(errs.Hint(err), "client_cert_file of registry test") {
		t.Errorf("a certificate of somebody else: %v of kind %s with hint %q", err, errs.KindOf(err), errs.Hint(err))
	}
	a.client(t, cert, key, time.Now().Add(-time.Minute))
	if err := resolve(c); !errs.Is(err, errs.Unauthorized) || !strings.Contains(errs.Hint(err), "expired") {
		t.Errorf("an expired certificate: %v of kind %s with hint %q", err, errs.KindOf(err), errs.Hint(err))
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if err := resolve(c); !errs.Is(err, errs.Unauthorized) || !strings.Contains(errs.Hint(err), "client_key_file of registry test") {
		t.Errorf("without its key: %v of kind %s with hint %q", err, errs.KindOf(err), errs.Hint(err))
	}
	a.client(t, cert, key, time.Time{})
	if err := resolve(c); err != nil {
		t.Errorf("a certificate that was replaced is not read again: %v", err)
	}

	s.ClientCertFile, s.ClientKeyFile = "", ""
	if err := resolve(client(t, s)); !errs.Is(err, errs.Unauthorized) || !strings.Contains(errs.Hint(err), "wants a client certificate") {
		t.Errorf("without a certificate: %v of kind %s with hint %q", err, errs.KindOf(err), errs.Hint(err))
	}
}

// tunnel is a proxy behind which every host is the one at addr.
func tunnel(t *testing.T, addr string) *url.URL {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		inside, err := net.Dial("tcp", addr)
		if err != nil {
			t.Error(err)
			return
		}
		w.WriteHeader(http.StatusOK)
		outside, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		go func() { _, _ = io.Copy(inside, outside); _ = inside.Close() }()
		_, _ = io.Copy(outside, inside)
		_ = outside.Close()
	}))
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// Where a redirect leads has no business with the client certificate.
func TestTheClientCertificateStaysWithTheRegistry(t *testing.T) {
	f := newFake(t)
	d := f.tag(image.MediaTypeOCIManifest, f.image("amd64"))
	shown := map[string][]bool{}
	f.answer = func(w http.ResponseWriter, r *http.Request) bool {
		shown[r.Host] = append(shown[r.Host], len(r.TLS.PeerCertificates) > 0)
		path, isBlob := strings.CutPrefix(r.URL.Path, "/v2/shop/web/blobs/")
		switch {
		case r.Host == "store.example.com":
			_, _ = w.Write(f.content[strings.TrimPrefix(r.URL.Path, "/")].body)
		case isBlob:
			http.Redirect(w, r, "https://store.example.com/blobs/"+path, http.StatusFound)
		}
		return isBlob || r.Host == "store.example.com"
	}
	a, dir := newAuthority(t), t.TempDir()
	cert, key, ca := filepath.Join(dir, "client.pem"), filepath.Join(dir, "client.key"), filepath.Join(dir, "ca.pem")
	a.client(t, cert, key, time.Time{})
	writePEM(t, ca, "CERTIFICATE", a.cert.Raw)
	own, ownKey := a.sign(t, &x509.Certificate{DNSNames: []string{"registry.example.com", "store.example.com"}})
	server := httptest.NewUnstartedServer(f)
	server.TLS = &tls.Config{
		ClientAuth: tls.RequestClientCert, Certificates: []tls.Certificate{{Certificate: [][]byte{own.Raw}, PrivateKey: ownKey}},
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	s := registry.Settings{Name: "test", Host: "registry.example.com", CAFile: ca, ClientCertFile: cert, ClientKeyFile: key}
	public := func(string) ([]netip.Addr, error) { return []netip.Addr{netip.MustParseAddr("93.184.216.34")}, nil }
	err := readLayers(t, client(t, s.WithProxy(tunnel(t, server.Listener.Addr().String()), public)), d)
	if err != nil || len(shown["registry.example.com"]) == 0 || len(shown["store.example.com"]) == 0 {
		t.Fatalf("reading returned %v; asked were %v", err, shown)
	}
	if slices.Contains(shown["registry.example.com"], false) || slices.Contains(shown["store.example.com"], true) {
		t.Errorf("the certificate was shown, by host: %v", shown)
	}
}

func TestClientCertificateThatCannotBeUsed(t *testing.T) {
	for name, files := range map[string][2]string{
		"missing": {"/no/such/cert.pem", "/no/such/key.pem"}, "no key": {"clientcert_test.go", ""}, "no PEM": {"clientcert_test.go", "clientcert_test.go"},
	} {
		t.Run(name, func(t *testing.T) {
			s := registry.Settings{Host: "a.example.com", ClientCertFile: files[0], ClientKeyFile: files[1]}
			if _, err := registry.New([]registry.Settings{s}); !errs.Is(err, errs.Invalid) {
				t.Errorf("New returned %v", err)
			}
		})
	}
}
