package httpserver

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

func TestTLSFilesFollowsRenewals(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	var out bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&out, nil))
	if _, err := TLSFiles(certFile, keyFile, logger); !errs.Is(err, errs.Invalid) {
		t.Errorf("missing files: got %v, want kind invalid", err)
	}
	writePair(t, certFile, keyFile, 1)
	pair := &keyPair{certFile: certFile, keyFile: keyFile, logger: logger}
	if err := pair.load(pair.stamp()); err != nil {
		t.Fatal(err)
	}
	serial := func() int64 {
		pair.checked = time.Time{} // the next look is due
		cert, err := pair.get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return cert.Leaf.SerialNumber.Int64()
	}
	if got := serial(); got != 1 {
		t.Errorf("serial %d, want 1", got)
	}
	writePair(t, certFile, keyFile, 2)
	if got := serial(); got != 2 {
		t.Errorf("after the renewal serial %d, want 2", got)
	}
	if err := os.WriteFile(certFile, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := serial(); got != 2 || !strings.Contains(out.String(), "not renewed") {
		t.Errorf("after a bad renewal serial %d, log %q", got, out.String())
	}
}

func writePair(t *testing.T, certFile, keyFile string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "localhost"}, NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		// Two writes within the clock's grain would look the same.
		stamp := time.Unix(serial, 0)
		if err := os.Chtimes(name, stamp, stamp); err != nil {
			t.Fatal(err)
		}
	}
}
