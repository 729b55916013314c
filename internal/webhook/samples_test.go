package webhook

import (
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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
	for _, format := range Formats() {
		endpoint := sampleEndpoint(t, format)
		for _, name := range sampleCases(t, format) {
			t.Run(format+"/"+name, func(t *testing.T) {
				sink := &keeper{}
				w := httptest.NewRecorder()
				mustHandler(t, sink, endpoint).ServeHTTP(w, sampleRequest(t, format, name, endpoint.Registry))
				if w.Code != http.StatusAccepted {
					t.Fatalf("status %d: %s", w.Code, w.Body)
				}
				got := wantItems(sink.kept())
				path := filepath.Join("testdata", format, name+".want.json")
				if *update {
					writeWant(t, path, got)
				}
				var want []wantItem
				if err := json.Unmarshal(readFile(t, path), &want); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("items (-want +got):\n%s", diff)
				}
				checkAnswer(t, w, got)
			})
		}
	}
}

func writeWant(t *testing.T, path string, items []wantItem) {
	t.Helper()
	b, err := json.MarshalIndent(items, "", "  ")
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
// empties it and gives a wrong one.
func TestSamplesNeedTheirCredential(t *testing.T) {
	spoil := map[string]func(h http.Header, name string){
		"missing": func(h http.Header, name string) { h.Del(name) },
		"empty":   func(h http.Header, name string) { h.Set(name, "") },
		"wrong":   func(h http.Header, name string) { h.Set(name, h.Get(name)[:len(h.Get(name))-1]+"x") },
		"twice":   func(h http.Header, name string) { h.Add(name, h.Get(name)) },
	}
	for _, format := range Formats() {
		endpoint := sampleEndpoint(t, format)
		header := map[string]string{AuthBearer: "Authorization", AuthHeader: endpoint.Auth.Header, AuthHMACSHA256: "X-Signature"}[endpoint.Auth.Kind]
		for _, name := range sampleCases(t, format) {
			for how, f := range spoil {
				sink, w := &keeper{}, httptest.NewRecorder()
				r := sampleRequest(t, format, name, endpoint.Registry)
				f(r.Header, header)
				mustHandler(t, sink, endpoint).ServeHTTP(w, r)
				if w.Code != http.StatusUnauthorized || sink.calls != 0 {
					t.Errorf("%s/%s with credential %s: status %d, %d calls of the sink", format, name, how, w.Code, sink.calls)
				}
			}
		}
	}
}
