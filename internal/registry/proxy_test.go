package registry_test

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
)

// A proxy resolves names itself, so the address of a connection tells nothing:
// names are looked up before.
func TestBehindAProxy(t *testing.T) {
	const public, inside = "93.184.216.34", "10.1.2.3"
	names := map[string][]netip.Addr{
		"registry.example.com": {netip.MustParseAddr(inside)},
		"store.example.com":    {netip.MustParseAddr(public)},
		"rebind.example.com":   {netip.MustParseAddr(inside)},
		"both.example.com":     {netip.MustParseAddr(public), netip.MustParseAddr(inside)},
		"metadata.example.com": {netip.MustParseAddr("169.254.169.254")},
		"six.example.com":      {netip.MustParseAddr("fd00:ec2::254")},
	}
	lookUp := func(host string) ([]netip.Addr, error) {
		if found, ok := names[host]; ok {
			return found, nil
		}
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	tests := []struct {
		name, to string
		trusted  []string
		kind     errs.Kind
	}{
		{"a public name", "store.example.com", nil, ""},
		{"a name with a private address", "rebind.example.com", nil, errs.Forbidden},
		{"a name with one private address of two", "both.example.com", nil, errs.Forbidden},
		{"a name of the metadata service", "metadata.example.com", nil, errs.Forbidden},
		{"a name of another metadata service", "six.example.com", nil, errs.Forbidden},
		{"a name only the proxy may know", "unknown.example.com", nil, ""},
		{"a name that is trusted", "rebind.example.com", []string{"rebind.example.com"}, ""},
		{"a private address", inside, nil, errs.Forbidden},
		{"the metadata service", "169.254.169.254", nil, errs.Forbidden},
		{"this machine", "localhost", nil, errs.Forbidden},
		{"this machine with a dot", "localhost.", nil, errs.Forbidden},
		{"this machine in short", "127.1", nil, errs.Forbidden},
		{"this machine as a number", "2130706433", nil, errs.Forbidden},
		{"this machine in hexadecimal", "0x7f000001", nil, errs.Forbidden},
		{"a name without a dot", "vault", nil, errs.Forbidden},
		{"a cloud's inside name", "metadata.google.internal", nil, errs.Forbidden},
		{"a cluster's inside name", "vault.prod.svc.cluster.local", nil, errs.Forbidden},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			d := f.tag(image.MediaTypeOCIManifest, f.image("amd64"))
			// The recording server is the proxy: it plays every host behind it.
			var carried []string
			f.answer = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Host != "registry.example.com" {
					carried = append(carried, r.Host)
					w.Header().Set("Content-Type", "application/octet-stream")
					r.URL.Path = strings.TrimPrefix(r.URL.Path, "/stored")
					b := f.content["blobs/"+string(image.DigestOf([]byte("layer of amd64")))]
					_, _ = w.Write(b.body)
					return true
				}
				if strings.Contains(r.URL.Path, "/blobs/") {
					http.Redirect(w, r, "http://"+tt.to+"/stored", http.StatusFound)
					return true
				}
				return false
			}
			proxy, err := url.Parse(f.URL)
			if err != nil {
				t.Fatal(err)
			}
			s := withPassword(f.settings())
			s.Endpoint, s.TrustedHosts = "registry.example.com", tt.trusted
			err = readLayers(t, client(t, s.WithProxy(proxy, lookUp)), d)
			if errs.KindOf(err) != tt.kind {
				t.Errorf("reading returned %v of kind %s", err, errs.KindOf(err))
			}
			checkNoSecret(t, err)
			if sent := len(carried) > 0; sent != (tt.kind == "") {
				t.Errorf("the proxy carried requests to %q", carried)
			}
		})
	}
}

func TestBehindAProxyWithoutNames(t *testing.T) {
	f := newFake(t)
	d := f.tag(image.MediaTypeOCIManifest, f.image("amd64"))
	proxy, err := url.Parse(f.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := f.settings()
	s.Endpoint = "registry.example.com"
	down := func(string) ([]netip.Addr, error) { return nil, errors.New("no resolver") }
	if err := readLayers(t, client(t, s.WithProxy(proxy, down)), d); err != nil {
		t.Errorf("the registry itself is not reached: %v", err)
	}
}
