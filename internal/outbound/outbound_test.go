package outbound

import (
	"context"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

func TestIsPublic(t *testing.T) {
	tests := map[string]bool{
		"8.8.8.8": true, "52.94.0.1": true, "2606:4700::1111": true, "::ffff:8.8.8.8": true,
		"127.0.0.1": false, "::1": false, "10.1.2.3": false, "172.16.0.1": false, "192.168.1.1": false,
		"169.254.169.254": false, "fe80::1": false, "fe80::1%eth0": false, "fd00::1": false, "fec0::1": false,
		"100.64.0.1": false, "0.0.0.0": false, "0.1.2.3": false, "::": false, "255.255.255.255": false, "240.0.0.1": false,
		"224.0.0.1": false, "ff02::1": false, "198.18.0.1": false, "192.0.0.192": false,
		"::ffff:127.0.0.1": false, "::ffff:169.254.169.254": false, "::127.0.0.1": false,
		"64:ff9b::7f00:1": false, "64:ff9b:1::1": false, "2002:7f00:1::": false, "2001:0:7f00:1::": false,
	}
	for s, want := range tests {
		if got := isPublic(netip.MustParseAddr(s)); got != want {
			t.Errorf("isPublic(%s) is %v", s, got)
		}
	}
}

func TestIsInside(t *testing.T) {
	tests := map[string]bool{
		"registry.example.com": false, "x.io": false, "a.b.internal.example.com": false, "0x7f.example.com": false,
		"vault": true, "localhost": true, "127.1": true, "2130706433": true, "0x7f000001": true, "a.0x1": true, "a.": true, "": true,
		"x.localhost": true, "printer.local": true, "metadata.google.internal": true, "vault.prod.svc": true, "nas.home.arpa": true,
	}
	for host, want := range tests {
		if got := isInside(host); got != want {
			t.Errorf("isInside(%q) is %v", host, got)
		}
	}
}

// inside is a server at a private address that counts its connections.
func inside(t *testing.T) (port string, connections *atomic.Int64) {
	t.Helper()
	connections = &atomic.Int64{}
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port, connections
}

var errRefused = errors.New("refused")

func public(n Network) *Public {
	s := Settings{Network: &n}
	return NewPublic(s, NewTransport(s), func(string) error { return errRefused })
}

func get(t *testing.T, via http.RoundTripper, address string) error {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := via.RoundTrip(r)
	if err == nil {
		_ = resp.Body.Close()
	}
	return err
}

func noNames(context.Context, string, string) ([]netip.Addr, error) {
	return nil, errors.New("no resolver")
}

func TestNoNameLeadsInside(t *testing.T) {
	port, connections := inside(t)
	via := public(Network{Proxy: func(*url.URL) (*url.URL, error) { return nil, nil }})
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"} {
		if err := get(t, via, "http://"+host+":"+port+"/"); !errors.Is(err, errRefused) {
			t.Errorf("%s: %v", host, err)
		}
	}
	if n := connections.Load(); n > 0 {
		t.Errorf("%d connections were made", n)
	}
	anywhere := NewTransport(Settings{Network: &Network{Proxy: func(*url.URL) (*url.URL, error) { return nil, nil }}})
	defer anywhere.CloseIdleConnections()
	if err := get(t, anywhere, "http://127.0.0.1:"+port+"/"); err != nil || connections.Load() != 1 {
		t.Errorf("the transport to any address: %v, %d connections", err, connections.Load())
	}
}

// A proxy may have a private address; that opens the address to nothing else.
func TestTheProxyItselfIsNoTarget(t *testing.T) {
	port, connections := inside(t)
	proxy := &url.URL{Scheme: "http", Host: "127.0.0.1:" + port}
	via := public(Network{
		LookUp: noNames,
		Proxy: func(u *url.URL) (*url.URL, error) {
			if u.Hostname() == "127.0.0.1" {
				return nil, nil // as NO_PROXY has it
			}
			return proxy, nil
		},
	})
	defer via.CloseIdleConnections()
	if err := get(t, via, "http://outside.example.com/"); err != nil || connections.Load() != 1 {
		t.Fatalf("through the proxy: %v, %d connections", err, connections.Load())
	}
	if err := get(t, via, proxy.String()); !errors.Is(err, errRefused) || connections.Load() != 1 {
		t.Errorf("the proxy as a target: %v, %d connections", err, connections.Load())
	}
}

func TestBehindAProxy(t *testing.T) {
	port, connections := inside(t)
	via := public(Network{
		Proxy: func(*url.URL) (*url.URL, error) { return &url.URL{Scheme: "http", Host: "127.0.0.1:" + port}, nil },
		LookUp: func(_ context.Context, _, host string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("93.184.216.34"), netip.MustParseAddr("10.1.2.3")}, nil
		},
	})
	for _, host := range []string{"both.example.com", "10.1.2.3", "vault", "LOCALHOST.", "[fd00::1]"} {
		if err := get(t, via, "http://"+host+"/"); !errors.Is(err, errRefused) {
			t.Errorf("%s: %v", host, err)
		}
	}
	if n := connections.Load(); n > 0 {
		t.Errorf("the proxy was asked %d times", n)
	}
}

func TestProxyOfTheEnvironment(t *testing.T) {
	port, connections := inside(t)
	t.Setenv("REQUEST_METHOD", "")
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:"+port)
	t.Setenv("NO_PROXY", "")
	via := NewTransport(Settings{})
	defer via.CloseIdleConnections()
	if err := get(t, via, "http://outside.invalid/"); err != nil || connections.Load() != 1 {
		t.Errorf("%v, %d connections", err, connections.Load())
	}
}

func TestRoots(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	roots, err := Roots(good)
	if err != nil {
		t.Fatal(err)
	}
	via := NewTransport(Settings{Roots: roots})
	defer via.CloseIdleConnections()
	if err := get(t, via, server.URL); err != nil {
		t.Errorf("an authority of the file is not trusted: %v", err)
	}
	if roots, err := Roots(""); roots != nil || err != nil {
		t.Errorf("without a file: %v, %v", roots, err)
	}
	for file, words := range map[string]string{
		filepath.Join(dir, "none"):        "read the CA file: ",
		write("words.pem", []byte("hi!")): "holds no certificate in PEM form",
	} {
		if _, err := Roots(file); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", file, err)
		}
	}
}
