package httpserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

type valueKey struct{}

// start runs a server on a free port and returns its address, the stop signal
// and Run's result.
func start(t *testing.T, o Options) (addr string, stop context.CancelFunc, done chan error) {
	t.Helper()
	o.Addr = "127.0.0.1:0"
	s := New(o)
	if err := s.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithValue(t.Context(), valueKey{}, "kept"))
	done = make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(stop)
	return s.Addr(), stop, done
}

func TestRunningRequestsOutliveTheSignal(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	addr, stop, done := start(t, Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-release
		_, _ = fmt.Fprint(w, r.Context().Err(), r.Context().Value(valueKey{}))
	})})
	answer := make(chan string, 1)
	go func() { answer <- get(addr) }()
	<-entered
	stop()
	// The listener closes first, so a refused connection shows that the drain began.
	for {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			break
		}
		_ = c.Close()
	}
	close(release)
	if got := <-answer; got != "<nil> kept" && got != "<nil>kept" {
		t.Errorf("the request in flight got %q, want no cancellation and the values of the context", got)
	}
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestDrainEnds(t *testing.T) {
	entered := make(chan struct{})
	ended := make(chan error, 1)
	addr, stop, done := start(t, Options{DrainTimeout: time.Millisecond, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
		ended <- r.Context().Err()
	})})
	go get(addr)
	<-entered
	stop()
	if err := <-done; !errs.Is(err, errs.Timeout) {
		t.Errorf("Run: got %v, want kind timeout", err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the request that would not end got %v", err)
	}
}

func TestListenTellsATakenPort(t *testing.T) {
	addr, _, _ := start(t, Options{Handler: http.NotFoundHandler()})
	err := New(Options{Addr: addr}).Run(t.Context())
	if !errs.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), addr) || errs.Hint(err) == "" {
		t.Errorf("got %v, want kind unavailable naming %s, with a hint", err, addr)
	}
}

func TestSlowBodyIsCutOff(t *testing.T) {
	addr, _, _ := start(t, Options{BodyTimeout: 20 * time.Millisecond, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			WriteProblem(w, r, err)
		}
	})})
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_, _ = fmt.Fprint(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nten bytes.")
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusGatewayTimeout {
		t.Errorf("a body that never ends got %d, want 504", answer.StatusCode)
	}
}

// deadlines records what is done to the read deadline.
type deadlines struct {
	http.ResponseWriter
	set []bool // false when it was lifted
}

func (d *deadlines) SetReadDeadline(at time.Time) error {
	d.set = append(d.set, !at.IsZero())
	return nil
}

func TestBodyDeadlineIsLiftedAtTheEnd(t *testing.T) {
	tests := []struct {
		name string
		body io.Reader
		read bool
		want string
	}{
		{"no body", nil, true, "[]"},
		{"body read", strings.NewReader("x"), true, "[true false]"},
		{"body left", strings.NewReader("x"), false, "[true]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := &deadlines{ResponseWriter: httptest.NewRecorder()}
			h := limitBodyTime(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if tt.read {
					_, _ = io.ReadAll(r.Body)
				}
			}), time.Hour)
			h.ServeHTTP(d, httptest.NewRequest(http.MethodPost, "/", tt.body))
			if got := fmt.Sprint(d.set); got != tt.want {
				t.Errorf("deadline was set %s, want %s", got, tt.want)
			}
		})
	}
}

func get(addr string) string {
	answer, err := http.Get("http://" + addr + "/")
	if err != nil {
		return err.Error()
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err.Error()
	}
	return string(body)
}
