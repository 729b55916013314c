package webhook

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
)

// discard is a Sink that has no memory.
type discard struct{}

func (discard) Accept(context.Context, string, []Item) error { return nil }

func FuzzDistribution(f *testing.F)   { fuzzFormat(f, "distribution") }
func FuzzHarbor(f *testing.F)         { fuzzFormat(f, "harbor") }
func FuzzAcr(f *testing.F)            { fuzzFormat(f, "acr") }
func FuzzDockerhub(f *testing.F)      { fuzzFormat(f, "dockerhub") }
func FuzzQuay(f *testing.F)           { fuzzFormat(f, "quay") }
func FuzzGhcr(f *testing.F)           { fuzzFormat(f, "ghcr") }
func FuzzEventgrid(f *testing.F)      { fuzzFormat(f, "eventgrid") }
func FuzzGitea(f *testing.F)          { fuzzFormat(f, "gitea") }
func FuzzCloudevents(f *testing.F)    { fuzzFormat(f, "cloudevents") }
func FuzzCdevents(f *testing.F)       { fuzzFormat(f, "cdevents") }
func FuzzMirantisMsr(f *testing.F)    { fuzzFormat(f, "mirantis-msr") }
func FuzzAlibabaAcr(f *testing.F)     { fuzzFormat(f, "alibaba-acr") }
func FuzzArtifactory(f *testing.F)    { fuzzFormat(f, "artifactory") }
func FuzzNexus(f *testing.F)          { fuzzFormat(f, "nexus") }
func FuzzZot(f *testing.F)            { fuzzFormat(f, "zot") }
func FuzzGarPubsub(f *testing.F)      { fuzzFormat(f, "gar-pubsub") }
func FuzzEcrEventbridge(f *testing.F) { fuzzFormat(f, "ecr-eventbridge") }
func FuzzEcrSns(f *testing.F)         { fuzzFormat(f, "ecr-sns") }
func FuzzGeneric(f *testing.F)        { fuzzFormat(f, "generic") }

// fuzzFormat feeds a format with the samples and what grows from them: request
// line and headers are varied as well as the body. Whatever comes, the format
// returns, and what it accepts is safe to store and to pull.
func fuzzFormat(f *testing.F, name string) {
	endpoint := sampleEndpoint(f, name)
	for _, c := range sampleCases(f, name) {
		head, body := readFile(f, "testdata", name, c+".headers"), sampleBody(f, name, c)
		f.Add(body, string(head))
		var small bytes.Buffer // without white space, mutations hit what matters
		if json.Compact(&small, body) == nil {
			f.Add(small.Bytes(), "")
		}
	}
	format, _ := findFormat(name)
	f.Fuzz(func(t *testing.T, body []byte, head string) {
		r := fuzzRequest(endpoint, head, body)
		_ = format.verify(t.Context(), r) // only must return
		if format.greet != nil {
			if greeting, err := format.greet(r); err != nil || greeting != nil {
				checkGreeting(t, greeting, err)
				return
			}
		}
		items, err := format.parse(r)
		if err != nil {
			checkParseError(t, err)
			return
		}
		checkItems(t, endpoint, items)
	})
}

// fuzzRequest makes a request of the head of one; what is no head stands for
// one without headers.
func fuzzRequest(endpoint Endpoint, head string, body []byte) request {
	r := request{endpoint: endpoint, method: http.MethodPost, body: body, received: sampleTime, keys: noKeys{}}
	parsed, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.TrimRight(head, "\r\n") + "\r\n\r\n")))
	if err != nil {
		return r
	}
	r.query, r.header = parsed.URL.Query(), parsed.Header
	if format, _ := findFormat(endpoint.Format); format.takes(parsed.Method) {
		r.method = parsed.Method
	}
	return r
}

func checkGreeting(t *testing.T, g *Greeting, err error) {
	t.Helper()
	if err != nil {
		checkParseError(t, err)
		return
	}
	if g.status() != http.StatusOK || g.Reason == "" || g.Confirm != "" && urlHost(g.Confirm) == "" {
		t.Fatalf("greeting %+v", g)
	}
	for name, values := range g.Header {
		for _, v := range values {
			if len(v) > maxText || strings.ContainsFunc(v, unicode.IsControl) {
				t.Fatalf("header %s: %q", name, v)
			}
		}
	}
	if body, err := json.Marshal(g.Body); err != nil || len(body) > 4*maxReference {
		t.Fatalf("body of %d bytes, %v", len(body), err)
	}
}

func checkParseError(t *testing.T, err error) {
	t.Helper()
	if kind := errs.KindOf(err); kind != errs.Invalid && kind != errs.Malformed && kind != errs.Unsupported {
		t.Fatalf("error of kind %s: %v", kind, err)
	}
}

func checkItems(t *testing.T, endpoint Endpoint, items []Item) {
	t.Helper()
	if len(items) > maxEvents {
		t.Fatalf("%d items", len(items))
	}
	setKeys(items)
	keys := map[string]bool{}
	for _, item := range items {
		if keys[item.DedupeKey] || len(item.DedupeKey) > 200 {
			t.Fatalf("dedupe key %q", item.DedupeKey)
		}
		keys[item.DedupeKey] = true
		checkStrings(t, item)
		if item.Ignored == "" {
			checkAccepted(t, endpoint, item.Event)
		} else if !slices.Contains(Reasons(), item.Ignored) {
			t.Fatalf("reason %q", item.Ignored)
		}
	}
}

func checkStrings(t *testing.T, item Item) {
	t.Helper()
	e := item.Event
	for _, s := range []string{string(e.Action), e.Host, e.Repository, e.Tag, string(e.Digest), e.MediaType, e.Actor, e.EventID, item.DedupeKey} {
		if !utf8.ValidString(s) || utf8.RuneCountInString(s) > maxText || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Fatalf("string %q", s)
		}
	}
	if y := e.OccurredAt.Year(); y < 2000 || y > sampleTime.Year()+1 {
		t.Fatalf("time %v", e.OccurredAt)
	}
}

func checkAccepted(t *testing.T, endpoint Endpoint, e Event) {
	t.Helper()
	if e.Action != ActionPush && e.Action != ActionDelete {
		t.Fatalf("action %q", e.Action)
	}
	if e.Host != "" && !endpoint.answersTo(e.Host) {
		t.Fatalf("host %q", e.Host)
	}
	if !isRepository(e.Repository) {
		t.Fatalf("repository %q", e.Repository)
	}
	if e.Tag == "" && e.Digest == "" || e.Tag != "" && !image.IsTag(e.Tag) {
		t.Fatalf("tag %q, digest %q", e.Tag, e.Digest)
	}
	if _, err := image.ParseDigest(string(e.Digest)); e.Digest != "" && err != nil {
		t.Fatal(err)
	}
	if slices.Contains(e.Flags, FlagDigestOnly) != (e.Tag == "") {
		t.Fatalf("tag %q with flags %v", e.Tag, e.Flags)
	}
}
