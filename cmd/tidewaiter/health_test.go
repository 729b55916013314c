package main

import (
	"bytes"
	"context"
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/httpserver"
)

// TestHealth asks as the health check of a container does: without arguments but
// those in the image, told by the environment of the service.
func TestHealth(t *testing.T) {
	t.Setenv("TIDEWAITER_DATABASE_URL", "postgres://localhost/nothing")
	ready := httptest.NewServer(httpserver.Ready())
	defer ready.Close()
	unready := httptest.NewServer(httpserver.Ready(httpserver.Check{Name: "vulndb", Check: func(context.Context) error {
		return errs.New(errs.Unavailable, "none").WithHint("import one")
	}}))
	defer unready.Close()
	for _, test := range []struct {
		name   string
		listen string
		args   []string
		code   int
		says   string
	}{
		{"live", ready.Listener.Addr().String(), nil, 0, "live\n"},
		{"ready", ready.Listener.Addr().String(), []string{"--ready"}, 0, "ready\n"},
		{"not ready", unready.Listener.Addr().String(), []string{"--ready"}, 1, "not ready: vulndb (unavailable)\n  hint: vulndb: import one"},
		{"the flag wins", "127.0.0.1:1", []string{"--listen=" + ready.Listener.Addr().String()}, 0, "live\n"},
		{"nobody there", freeAddress(t), nil, 1, "does not run, or listens on another address"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("TIDEWAITER_LISTEN", test.listen)
			var out bytes.Buffer
			code := run(t.Context(), append([]string{"health"}, test.args...), &out, &out)
			if code != test.code || !strings.Contains(out.String(), test.says) {
				t.Errorf("exit code %d and %q, want %d and %q", code, out.String(), test.code, test.says)
			}
		})
	}
}

// freeAddress is one that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
