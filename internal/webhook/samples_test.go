package webhook

import (
	"cmp"
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the .want.json files of the samples")

// wantItem is an item as a .want.json file shows it.
type wantItem struct {
	Action     string   `json:"action"`
	Ignored    string   `json:"ignored,omitempty"`
	Host       string   `json:"host,omitempty"`
	Repository string   `json:"repository,omitempty"`
	Tag        string   `json:"tag,omitempty"`
	Digest     string   `json:"digest,omitempty"`
	MediaType  string   `json:"media_type,omitempty"`
	Actor      string   `json:"actor,omitempty"`
	EventID    string   `json:"event_id,omitempty"`
	OccurredAt string   `json:"occurred_at"`
	Flags      []string `json:"flags,omitempty"`
	DedupeKey  string   `json:"dedupe_key"`
}

func wantItems(items []Item) []wantItem {
	all := []wantItem{}
	for _, i := range items {
		key := i.DedupeKey
		if strings.HasPrefix(key, "once:") {
			key = "once:(random)"
		}
		all = append(all, wantItem{
			Action: string(i.Event.Action), Ignored: i.Ignored, Host: i.Event.Host, Repository: i.Event.Repository,
			Tag: i.Event.Tag, Digest: string(i.Event.Digest), MediaType: i.Event.MediaType, Actor: i.Event.Actor,
			EventID: i.Event.EventID, OccurredAt: i.Event.OccurredAt.Format(time.RFC3339Nano), Flags: i.Event.Flags, DedupeKey: key,
		})
	}
	return all
}

// TestSamples sends every sample with its headers and compares what reaches
// the sink with the sample's .want.json.
func TestSamples(t *testing.T) {
	for _, f := range formats() {
		format, endpoint := f.name, sampleEndpoint(t, f.name)
		for _, name := range sampleCases(t, format) {
			t.Run(format+"/"+name, func(t *testing.T) {
				sink := &keeper{}
				w := httptest.NewRecorder()
				sampleHandler(t, sink, endpoint).ServeHTTP(w, sampleRequest(t, format, name, endpoint.Registry))
				path := filepath.Join("testdata", format, name+".want.json")
				if w.Code == http.StatusOK {
					compareWant(t, path, greeted(t, w))
					return
				}
				if w.Code != http.StatusAccepted {
					t.Fatalf("status %d: %s", w.Code, w.Body)
				}
				got := wantItems(sink.kept())
				compareWant(t, path, got)
				checkAnswer(t, w, got)
			})
		}
	}
}

// sampleHandler receives at the time the samples of the endpoint's format
// arrive, and knows the signer of those that are signed while the tests run.
func sampleHandler(t *testing.T, sink Sink, endpoint Endpoint) http.Handler {
	t.Helper()
	if endpoint.Auth.Kind == AuthSNS {
		endpoint.Auth.Certificate += sampleSigner().certificate
	}
	h, err := NewHandler([]Endpoint{endpoint}, sink, Metrics{}, withClock(sampleClock(t, endpoint.Format)))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// wantGreeting is the answer to a handshake as a .want.json file shows it.
type wantGreeting struct {
	Status int               `json:"status"`
	Header map[string]string `json:"header,omitempty"`
	Body   any               `json:"body,omitempty"`
}

func greeted(t *testing.T, w *httptest.ResponseRecorder) wantGreeting {
	t.Helper()
	got := wantGreeting{Status: w.Code}
	for name, values := range w.Header() {
		if got.Header == nil {
			got.Header = map[string]string{}
		}
		got.Header[name] = strings.Join(values, ", ")
	}
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &got.Body); err != nil {
			t.Fatal(err)
		}
	}
	return got
}

// compareWant compares with a .want.json file, which -update writes.
func compareWant[T any](t *testing.T, path string, got T) {
	t.Helper()
	if *update {
		writeWant(t, path, got)
	}
	var want T
	if err := json.Unmarshal(readFile(t, path), &want); err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func writeWant(t *testing.T, path string, want any) {
	t.Helper()
	b, err := json.MarshalIndent(want, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

func checkAnswer(t *testing.T, w *httptest.ResponseRecorder, items []wantItem) {
	t.Helper()
	var want Answer
	for _, i := range items {
		if i.Ignored == "" {
			want.Accepted++
		} else {
			want.Ignored++
		}
	}
	var got Answer
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got != want {
		t.Errorf("answer %s (%v), want %+v", w.Body, err, want)
	}
}

// TestSamplesNeedTheirCredential takes the credential away from every sample,
// empties it, gives a wrong one, and gives it twice.
func TestSamplesNeedTheirCredential(t *testing.T) {
	spoil := map[string]func(values []string) []string{
		"missing": func([]string) []string { return nil },
		"empty":   func([]string) []string { return []string{""} },
		"wrong":   func(v []string) []string { return []string{v[0][:len(v[0])-1] + "!"} },
		"twice":   func(v []string) []string { return []string{v[0], v[0]} },
	}
	for _, f := range formats() {
		endpoint := sampleEndpoint(t, f.name)
		for _, name := range sampleCases(t, f.name) {
			for how, change := range spoil {
				sink, w := &keeper{}, httptest.NewRecorder()
				r := sampleRequest(t, f.name, name, endpoint.Registry)
				changeCredential(t, r, endpoint.Auth, change)
				sampleHandler(t, sink, endpoint).ServeHTTP(w, r)
				if w.Code != http.StatusUnauthorized || sink.calls != 0 {
					t.Errorf("%s/%s with credential %s: status %d, %d calls of the sink", f.name, name, how, w.Code, sink.calls)
				}
			}
		}
	}
}

// changeCredential changes the values of the header or parameter that carries
// the credential of a sample.
func changeCredential(t *testing.T, r *http.Request, auth Auth, change func([]string) []string) {
	t.Helper()
	if auth.Kind == AuthSNS {
		changeSignature(t, r, change)
		return
	}
	if auth.Kind == AuthQuery {
		query, name := r.URL.Query(), cmp.Or(auth.Parameter, defaultParameter)
		query[name] = change(query[name])
		r.URL.RawQuery = query.Encode()
		return
	}
	name := http.CanonicalHeaderKey(credentialHeader(t, r, auth))
	r.Header[name] = change(r.Header[name])
}

// credentialHeader finds the header that a sample has its credential in: that of
// an HMAC is the format's own, unless the configuration names another.
func credentialHeader(t *testing.T, r *http.Request, auth Auth) string {
	t.Helper()
	switch auth.Kind {
	case AuthBearer, AuthBasic, AuthOIDC:
		return "Authorization"
	case AuthHeader:
		return auth.Header
	}
	for _, name := range []string{auth.Header, "X-Signature", "X-Gitea-Signature", "X-Hub-Signature-256", "X-JFrog-Event-Auth", "X-Nexus-Webhook-Signature"} {
		if name != "" && r.Header.Get(name) != "" {
			return name
		}
	}
	t.Fatalf("no credential of kind %s in %v", auth.Kind, r.Header)
	return ""
}
