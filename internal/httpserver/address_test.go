package httpserver

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

func TestWhereARequestComesFrom(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	const peer, stranger = "10.1.1.1:4444", "203.0.113.9:4444"
	for _, tt := range []struct {
		name, peer, which string
		header            http.Header
		want, network     string
	}{
		{"nothing said", peer, "", nil, "10.1.1.1", "10.1.1.1"},
		{"a caller behind one proxy", peer, "", http.Header{"X-Forwarded-For": {"198.51.100.7"}}, "198.51.100.7", "198.51.100.7"},
		{"with a port", peer, "", http.Header{"X-Forwarded-For": {"198.51.100.7:81"}}, "198.51.100.7", "198.51.100.7"},
		{"behind two", peer, "", http.Header{"X-Forwarded-For": {"198.51.100.7, 10.2.2.2"}}, "198.51.100.7", "198.51.100.7"},
		{"made up by the caller", peer, "", http.Header{"X-Forwarded-For": {"127.0.0.1, 10.9.9.9, 198.51.100.7"}}, "198.51.100.7", "198.51.100.7"},
		{"made up in a line of its own", peer, "", http.Header{"X-Forwarded-For": {"127.0.0.1", "198.51.100.7"}}, "198.51.100.7", "198.51.100.7"},
		{"a stranger's word", stranger, "", http.Header{"X-Forwarded-For": {"127.0.0.1"}}, "203.0.113.9", "203.0.113.9"},
		{"the other header", peer, "", http.Header{"Forwarded": {"for=127.0.0.1"}}, "10.1.1.1", "10.1.1.1"},
		{"no address", peer, "", http.Header{"X-Forwarded-For": {"198.51.100.7, unknown"}}, "10.1.1.1", "10.1.1.1"},
		{"empty", peer, "", http.Header{"X-Forwarded-For": {""}}, "10.1.1.1", "10.1.1.1"},
		{"only proxies", peer, "", http.Header{"X-Forwarded-For": {"10.3.3.3, 10.2.2.2"}}, "10.3.3.3", "10.3.3.3"},
		{"IPv6", peer, "", http.Header{"X-Forwarded-For": {"2001:db8:1:2:3::4"}}, "2001:db8:1:2:3::4", "2001:db8:1:2::/64"},
		{"IPv4 within IPv6", "[::ffff:10.1.1.1]:4444", "", http.Header{"X-Forwarded-For": {"::ffff:198.51.100.7"}}, "198.51.100.7", "198.51.100.7"},
		{"Forwarded", peer, "Forwarded", http.Header{"Forwarded": {`for=127.0.0.1, proto=https;For="[2001:db8::1]:81";by=_x`}}, "2001:db8::1", "2001:db8::/64"},
		{"Forwarded, hidden", peer, "Forwarded", http.Header{"Forwarded": {`for=_secret`}}, "10.1.1.1", "10.1.1.1"},
		{"Forwarded, and the other made up", peer, "forwarded", http.Header{"Forwarded": {"for=198.51.100.7"}, "X-Forwarded-For": {"127.0.0.1"}}, "198.51.100.7", "198.51.100.7"},
		{"endless", peer, "", http.Header{"X-Forwarded-For": {strings.Repeat("10.1.1.1,", 9000) + "10.2.2.2"}}, "10.1.1.1", "10.1.1.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
			r.RemoteAddr = tt.peer
			for name, values := range tt.header {
				r.Header[name] = values
			}
			var got, network string
			Addresses(Proxies{Trusted: trusted, Header: tt.which})(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				got, network = AddressOf(r), NetworkOf(r)
			})).ServeHTTP(httptest.NewRecorder(), r)
			if got != tt.want || network != tt.network {
				t.Errorf("%s in %s, want %s in %s", got, network, tt.want, tt.network)
			}
		})
	}
}

func TestWithoutProxiesNobodyIsBelieved(t *testing.T) {
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	r.RemoteAddr = "127.0.0.1:1234"
	r.Header.Set("X-Forwarded-For", "198.51.100.7")
	Addresses(Proxies{})(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if got := AddressOf(r); got != "127.0.0.1" {
			t.Errorf("from %s", got)
		}
	})).ServeHTTP(httptest.NewRecorder(), r)
}
