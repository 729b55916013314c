package webhook

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// itemsOf parses a request to an endpoint, as if its credential were right.
func itemsOf(t *testing.T, e Endpoint, header http.Header, body string) []Item {
	t.Helper()
	f, _ := findFormat(e.Format)
	items, err := f.parse(request{endpoint: e, method: http.MethodPost, header: header, body: []byte(body), received: sampleTime})
	if err != nil {
		t.Fatal(err)
	}
	return items
}

// endpointAt is an open endpoint of a registry at host.
func endpointAt(format, host string) Endpoint {
	e := openEndpoint(format)
	e.Host, e.Aliases = host, nil
	return e
}

// refusal is a body that is refused, and how.
type refusal struct {
	name, body string
	kind       errs.Kind
}

// checkRefused sends bodies that every format refuses, and some of its own.
func checkRefused(t *testing.T, format string, own ...refusal) {
	t.Helper()
	all := append([]refusal{
		{"empty", "", errs.Invalid},
		{"white space", " \r\n\t", errs.Invalid},
		{"not JSON", "tag=1", errs.Invalid},
		{"half of JSON", `{"a":`, errs.Invalid},
		{"more than JSON", `{} {}`, errs.Invalid},
		{"deep", strings.Repeat(`{"a":`, 10_000), errs.Invalid},
		{"string", `"x"`, errs.Malformed},
		{"null", `null`, errs.Malformed},
		{"number", `7`, errs.Malformed},
	}, own...)
	f, _ := findFormat(format)
	for _, tt := range all {
		t.Run(tt.name, func(t *testing.T) {
			items, err := f.parse(request{endpoint: openEndpoint(format), body: []byte(tt.body), received: sampleTime})
			if errs.KindOf(err) != tt.kind || err == nil {
				t.Errorf("%d items, error %v, want kind %s", len(items), err, tt.kind)
			}
		})
	}
}

// hostile are strings nobody sends who means well.
func hostile() []string {
	return []string{
		"", " ", "\u0000", "\u202etxt.exe", "a\r\nSet-Cookie: x=1", strings.Repeat("a", 5000), strings.Repeat("a/", 5000),
		"../../etc/passwd", "https://169.254.169.254/latest", "user@evil.test/x", "localhost", "[::1]:5000", "a:b:c", "%2e%2e", "${SECRET}",
		"sha256:" + strings.Repeat("g", 64), "sha256:" + strings.Repeat("a", 63), "\xff\xfe", `\`, "'; DROP TABLE scan; --",
	}
}

// checkHostile puts hostile strings in the place of every @ of a body: whatever
// is accepted stays safe, and nobody panics.
func checkHostile(t *testing.T, e Endpoint, header http.Header, body string) {
	t.Helper()
	for _, s := range hostile() {
		quoted, err := jsonString(s)
		if err != nil {
			t.Fatal(err)
		}
		for i := range strings.Count(body, "@") {
			parts := strings.Split(body, "@")
			one := strings.Join(parts[:i+1], "x") + quoted + strings.Join(parts[i+1:], "x")
			checkItems(t, e, itemsOf(t, e, header, one))
		}
		checkItems(t, e, itemsOf(t, e, header, strings.ReplaceAll(body, "@", quoted)))
	}
}

// jsonString writes what stands between the quotes of a JSON string.
func jsonString(s string) (string, error) {
	b, err := json.Marshal(s)
	return strings.Trim(string(b), `"`), err
}

// TestLargeBodies: whatever the sender, more than the limit is refused unread,
// as 413: some senders drop such a request at once.
func TestLargeBodies(t *testing.T) {
	for _, f := range formats() {
		e := openEndpoint(f.name)
		if e.Validate() != nil {
			continue // the format cannot do without a credential
		}
		sink := &keeper{}
		w := post(mustHandler(t, sink, e), "prod", `{"x":"`+strings.Repeat("a", defaultMaxBody)+`"}`)
		if w.Code != http.StatusRequestEntityTooLarge || sink.calls != 0 {
			t.Errorf("%s: status %d: %s", f.name, w.Code, w.Body)
		}
	}
}
