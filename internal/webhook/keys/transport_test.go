package keys

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/outbound"
)

// withoutProxy is an environment without one.
func withoutProxy(t *testing.T) {
	t.Helper()
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "REQUEST_METHOD"} {
		t.Setenv(name, "")
	}
}

// TestNoPrivateAddress: neither a literal address nor a name leads inside.
func TestNoPrivateAddress(t *testing.T) {
	withoutProxy(t)
	o := startOutside(t, func(http.ResponseWriter, *http.Request) {})
	connections := atomic.Int64{}
	o.Config.ConnState = func(net.Conn, http.ConnState) { connections.Add(1) }
	port := o.Listener.Addr().(*net.TCPAddr).Port
	k, err := New(Options{CAFile: o.ca})
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"} {
		address := "https://" + host + ":" + (&net.TCPAddr{Port: port}).String()[1:] + "/keys"
		_, err := k.get(t.Context(), address, 100, fetchTimeout)
		if !errs.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), "not a public address") {
			t.Errorf("%s: %v", host, err)
		}
	}
	for _, address := range []string{"http://issuer.example/keys", "https://user@issuer.example/keys", "file:///etc/passwd", "https://", "%"} {
		if _, err := k.get(t.Context(), address, 100, fetchTimeout); !errs.Is(err, errs.Unauthorized) {
			t.Errorf("%s: %v", address, err)
		}
	}
	if connections.Load() > 0 || len(o.requests()) > 0 {
		t.Errorf("%d connections", connections.Load())
	}
}

// TestProxy goes through the proxy of the environment, which may have a private
// address, and trusts the authorities of the CA file.
func TestProxy(t *testing.T) {
	withoutProxy(t)
	o := startOutside(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) })
	var asked atomic.Value
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.Method + " " + r.Host)
		inside, err := net.Dial("tcp", o.Listener.Addr().String())
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
	t.Cleanup(proxy.Close)
	t.Setenv("HTTPS_PROXY", proxy.URL)
	network := outbound.System()
	network.LookUp = func(context.Context, string, string) ([]netip.Addr, error) { return nil, errors.New("no resolver") }
	k, err := New(Options{CAFile: o.ca, network: &network})
	if err != nil {
		t.Fatal(err)
	}
	f, err := k.get(t.Context(), setAddress, 100, fetchTimeout)
	if err != nil || string(f.body) != "hello" || asked.Load() != "CONNECT issuer.example:443" {
		t.Errorf("%q, %v, the proxy was asked %v", f.body, err, asked.Load())
	}
	if _, err := k.get(t.Context(), "https://169.254.169.254/keys", 100, fetchTimeout); err == nil || asked.Load() != "CONNECT issuer.example:443" {
		t.Errorf("the proxy was asked %v: %v", asked.Load(), err)
	}
	untrusting, err := New(Options{network: &network})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := untrusting.get(t.Context(), setAddress, 100, fetchTimeout); !errs.Is(err, errs.Unavailable) {
		t.Errorf("without the authority: %v", err)
	}
}

func TestCAFile(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{empty, empty + ".missing"} {
		if _, err := New(Options{CAFile: file}); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestNewMetricsOnce(t *testing.T) {
	registry := prometheus.NewRegistry()
	if _, err := NewMetrics(registry); err != nil {
		t.Fatal(err)
	}
	if _, err := NewMetrics(registry); !errs.Is(err, errs.Conflict) {
		t.Errorf("twice: %v", err)
	}
}
