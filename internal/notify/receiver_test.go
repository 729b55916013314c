package notify_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/notify"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// receiver is an HTTP server that keeps what it is sent.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	requests []received
	answer   func(n int, w http.ResponseWriter) // of the nth request, from 1; nil for 204
}

type received struct {
	header http.Header
	body   []byte
}

func newReceiver(t *testing.T, answer func(n int, w http.ResponseWriter)) *receiver {
	t.Helper()
	r := &receiver{answer: answer}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, _ := io.ReadAll(request.Body)
	r.mu.Lock()
	r.requests = append(r.requests, received{request.Header.Clone(), body})
	n := len(r.requests)
	r.mu.Unlock()
	if r.answer == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	r.answer(n, w)
}

func (r *receiver) got() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]received{}, r.requests...)
}

const secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

// webhook is a channel called hook to the receiver.
func (r *receiver) webhook(t *testing.T) notify.Channel {
	t.Helper()
	return channel(t, notify.Settings{Name: "hook", Type: "webhook", URL: r.URL + "/in", Secrets: []string{secret}})
}

func channel(t *testing.T, s notify.Settings) notify.Channel {
	t.Helper()
	c, err := notify.NewChannel(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// everything is a rule that leaves nothing out.
func everything() notify.Rule {
	return notify.Rule{
		NewsRule: report.NewsRule{
			Name:   "all",
			Kinds:  []string{"opened", "reopened", "escalated", "fix_available", "closed"},
			Causes: []string{"push", "request", "upload", "reconcile", "delete", "build", "exception"},
		},
		Channels: []string{"hook"}, Limit: 10,
	}
}

// notifier is one that waits for nothing.
func notifier(t *testing.T, f *fleet, rule notify.Rule, channels ...notify.Channel) *notify.Notifier {
	t.Helper()
	n, err := notify.New(notify.Options{
		Store: f.Store, Channels: channels, Rules: []notify.Rule{rule}, PublicURL: "https://tidewaiter.example",
		Quiet: -1, Pauses: []time.Duration{time.Nanosecond, time.Nanosecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	return n
}

// round looks for news, and sends what there is to the channel hook.
func round(t *testing.T, n *notify.Notifier) {
	t.Helper()
	if err := n.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := n.Send(t.Context(), "hook"); err != nil {
		t.Fatal(err)
	}
}
