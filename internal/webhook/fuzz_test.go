package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
)

// discard is a Sink that has no memory.
type discard struct{}

func (discard) Accept(context.Context, string, []Item) error { return nil }

func FuzzDistribution(f *testing.F) { fuzzFormat(f, "distribution") }
func FuzzHarbor(f *testing.F)       { fuzzFormat(f, "harbor") }
func FuzzGeneric(f *testing.F)      { fuzzFormat(f, "generic") }

// fuzzFormat feeds a parser with the samples and what grows from them. Whatever
// the body, the parser returns, and what it accepts is safe to store and to
// pull.
func fuzzFormat(f *testing.F, name string) {
	endpoint := sampleEndpoint(f, name)
	for _, c := range sampleCases(f, name) {
		var small bytes.Buffer // without white space, mutations hit what matters
		if err := json.Compact(&small, sampleBody(f, name, c)); err != nil {
			f.Fatal(err)
		}
		f.Add(sampleBody(f, name, c), "key")
		f.Add(small.Bytes(), "")
	}
	format, _ := findFormat(name)
	f.Fuzz(func(t *testing.T, body []byte, idempotencyKey string) {
		header := http.Header{"Idempotency-Key": {idempotencyKey}}
		items, err := format.parse(request{endpoint: endpoint, header: header, body: body, received: sampleTime})
		if err != nil {
			if kind := errs.KindOf(err); kind != errs.Invalid && kind != errs.Malformed && kind != errs.Unsupported {
				t.Fatalf("error of kind %s: %v", kind, err)
			}
			return
		}
		checkItems(t, endpoint, items)
	})
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
