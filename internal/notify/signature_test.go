package notify_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/notify"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// tester is a notifier that only tries channels, which needs no store.
func tester(t *testing.T, channels ...notify.Channel) *notify.Notifier {
	t.Helper()
	n, err := notify.New(notify.Options{Channels: channels, PublicURL: "https://tidewaiter.example"})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func try(t *testing.T, c notify.Channel) report.NotificationTest {
	t.Helper()
	got, err := tester(t, c).Test(t.Context(), c.Name())
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// The vector is the one of the Standard Webhooks specification.
func TestSignIsWhatTheSpecificationSays(t *testing.T) {
	key, err := base64.StdEncoding.DecodeString("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	const want = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	at, body := time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`)
	if got := notify.Sign([][]byte{key}, "msg_p5jXN8AQM9LWM0D4loKWxJek", at, body); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	two := strings.Fields(notify.Sign([][]byte{[]byte("another key"), key}, "msg_p5jXN8AQM9LWM0D4loKWxJek", at, body))
	if len(two) != 2 || two[0] == want || two[1] != want {
		t.Errorf("two keys make %q", two)
	}
}

// verifier is a receiver that takes only what is signed with its secret.
func verifier(t *testing.T, key string) *httptest.Server {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(key, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mac := hmac.New(sha256.New, raw)
		_, _ = io.WriteString(mac, r.Header.Get("webhook-id")+"."+r.Header.Get("webhook-timestamp")+"."+string(body))
		for signature := range strings.FieldsSeq(r.Header.Get("webhook-signature")) {
			got, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(signature, "v1,"))
			if err == nil && hmac.Equal(got, mac.Sum(nil)) {
				_, _ = io.WriteString(w, "thanks")
				return
			}
		}
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, "no signature of mine\x00 "+strings.Repeat("é", 10_000))
	}))
	t.Cleanup(server.Close)
	return server
}

func TestAReceiverVerifies(t *testing.T) {
	const other = "whsec_QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="
	server := verifier(t, secret)
	tests := []struct {
		name    string
		secrets []string
		status  int
	}{
		{"the secret", []string{secret}, http.StatusOK},
		{"while it is replaced", []string{other, secret}, http.StatusOK},
		{"a wrong one", []string{other}, http.StatusUnauthorized},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := try(t, channel(t, notify.Settings{Name: "hook", Type: "webhook", URL: server.URL, Secrets: tt.secrets}))
			if got.Status != tt.status || got.Delivered != (tt.status == http.StatusOK) {
				t.Fatalf("%+v", got)
			}
			if got.Delivered {
				if got.Answer != "thanks" || got.Error != "" {
					t.Errorf("%+v", got)
				}
				return
			}
			if !strings.HasPrefix(got.Answer, "no signature of mine\uFFFD é") || !strings.HasSuffix(got.Answer, "é …") || len(got.Answer) > 600 {
				t.Errorf("answer of %d bytes: %q", len(got.Answer), got.Answer)
			}
			if got.Error != "the receiver answered 401 Unauthorized" {
				t.Errorf("error %q", got.Error)
			}
		})
	}
}

func TestATestOfNoChannel(t *testing.T) {
	if _, err := tester(t).Test(t.Context(), "nobody"); !errs.Is(err, errs.NotFound) {
		t.Errorf("%v", err)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	elsewhere := newReceiver(t, nil)
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, kind := range []string{"webhook", "slack", "teams"} {
			t.Run(kind+" "+http.StatusText(status), func(t *testing.T) {
				hook := newReceiver(t, func(_ int, w http.ResponseWriter) {
					w.Header().Set("Location", elsewhere.URL+"/stolen")
					w.WriteHeader(status)
				})
				s := notify.Settings{Name: "hook", Type: kind, URL: hook.URL + "/in"}
				if kind == "webhook" {
					s.Secrets = []string{secret}
				}
				got := try(t, channel(t, s))
				if got.Delivered || got.Status != status || !strings.Contains(got.Error, "redirects are not followed") {
					t.Errorf("%+v", got)
				}
				if len(hook.got()) != 1 || len(elsewhere.got()) != 0 {
					t.Errorf("%d requests here, %d elsewhere", len(hook.got()), len(elsewhere.got()))
				}
			})
		}
	}
}
