package httpserver

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// healthy serves both health routes; ready holds unless the check fails.
func healthy(check Check) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /livez", Live())
	mux.Handle("GET /readyz", Ready(check))
	return mux
}

func TestAsk(t *testing.T) {
	good := Check{Name: "postgres", Check: func(context.Context) error { return nil }}
	bad := Check{Name: "vulndb", Check: func(context.Context) error {
		return errs.New(errs.Unavailable, "internal words").WithHint("import one")
	}}
	for _, test := range []struct {
		name       string
		check      Check
		tls, ready bool
		want       string // in the error; empty for none
		hint       string
	}{
		{"live", good, false, false, "", ""},
		{"ready", good, false, true, "", ""},
		{"over TLS, with a certificate for another name", good, true, true, "", ""},
		{"live though not ready", bad, false, false, "", ""},
		{"not ready", bad, false, true, "not ready: vulndb (unavailable)", "vulndb: import one"},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(healthy(test.check))
			if test.tls {
				server.StartTLS()
			} else {
				server.Start()
			}
			defer server.Close()
			err := Ask(t.Context(), Question{Addr: server.Listener.Addr().String(), TLS: test.tls, Ready: test.ready})
			if test.want == "" {
				if err != nil {
					t.Errorf("got %v, want no error", err)
				}
				return
			}
			if !errs.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), test.want) || errs.Hint(err) != test.hint {
				t.Errorf("got %v (hint %q), want %q (hint %q)", err, errs.Hint(err), test.want, test.hint)
			}
		})
	}
}

// What listens may be anything.
func TestAskSomethingElse(t *testing.T) {
	elsewhere := httptest.NewServer(healthy(Check{}))
	defer elsewhere.Close()
	server := httptest.NewServer(http.RedirectHandler(elsewhere.URL+"/livez", http.StatusFound))
	defer server.Close()
	err := Ask(t.Context(), Question{Addr: server.Listener.Addr().String()})
	if !errs.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), "302") {
		t.Errorf("got %v, want the status of a redirect that is not followed", err)
	}
}

func TestAskNobody(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if err := Ask(t.Context(), Question{Addr: l.Addr().String()}); !errs.Is(err, errs.Unavailable) || errs.Hint(err) == "" {
		t.Errorf("got %v, want unavailable with a hint", err)
	}
}

func TestLoopback(t *testing.T) {
	for addr, want := range map[string]string{
		":8080": "localhost:8080", "0.0.0.0:80": "localhost:80", "[::]:80": "localhost:80",
		"127.0.0.1:9": "127.0.0.1:9", "[::1]:9": "[::1]:9", "10.1.2.3:443": "10.1.2.3:443",
		"8080": "", ":": "", ":0": "",
	} {
		got, err := loopback(addr)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: got %q, %v, want %q", addr, got, err, want)
		}
	}
}
