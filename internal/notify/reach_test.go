package notify_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/notify"
)

func TestReachConnectsAndSaysNothing(t *testing.T) {
	var requests atomic.Int64
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	channel, err := notify.NewChannel(notify.Settings{Name: "ops", Type: "slack", URL: receiver.URL + "/services/pw-in-the-path"})
	if err != nil {
		t.Fatal(err)
	}
	if known, err := notify.Reach(t.Context(), channel); err != nil || !known {
		t.Errorf("%v, %v", known, err)
	}
	receiver.Close()
	if requests.Load() != 0 {
		t.Error("the receiver was asked for something")
	}
	known, err := notify.Reach(t.Context(), channel)
	if !known || !errs.Is(err, errs.Unavailable) || strings.Contains(err.Error(), "pw-in-the-path") {
		t.Errorf("%v, %v", known, err)
	}
}

func TestReachDoesNotTrustEverybody(t *testing.T) {
	receiver := httptest.NewTLSServer(http.NotFoundHandler())
	defer receiver.Close()
	channel, err := notify.NewChannel(notify.Settings{Name: "ops", Type: "teams", URL: receiver.URL})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := notify.Reach(t.Context(), channel); !errs.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("got %v", err)
	}
}

func TestReachIsNotKnownOfServicesOfTheLibrary(t *testing.T) {
	channel, err := notify.NewChannel(notify.Settings{Name: "ops", Type: "other", URL: "discord://token@id"})
	if err != nil {
		t.Fatal(err)
	}
	if known, err := notify.Reach(t.Context(), channel); known || err != nil {
		t.Errorf("%v, %v", known, err)
	}
}
