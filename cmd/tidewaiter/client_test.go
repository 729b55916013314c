package main

import (
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/httpserver"
)

const clientToken = "tw_test"

// asks makes a client of a handler's server.
func asks(t *testing.T, handler http.HandlerFunc) *client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	c, err := serverFlags{Server: server.URL, Token: clientToken}.client()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestClientAddress(t *testing.T) {
	for given, want := range map[string]string{
		"":                                  "http://localhost:8080/",
		"http://localhost:8080":             "http://localhost:8080/",
		"https://scan.example/":             "https://scan.example/",
		"https://scan.example/api/v1/":      "https://scan.example/",
		"https://apps.example/tidewaiter":   "https://apps.example/tidewaiter/",
		"https://apps.example/tw/api/v1":    "https://apps.example/tw/",
		"localhost:8080":                    "",
		"scan.example":                      "",
		"ftp://scan.example":                "",
		"https://":                          "",
		"https://user:secret@scan.example/": "",
		"https://scan.example/?a=b":         "",
	} {
		got, err := serverFlags{Server: given, Token: clientToken}.base()
		switch {
		case want == "" && !errs.Is(err, errs.Invalid):
			t.Errorf("%q: got %v, %v; want it refused", given, got, err)
		case want == "" && strings.Contains(err.Error(), "secret"):
			t.Errorf("%q: the error tells the password: %v", given, err)
		case want != "" && (err != nil || got.String() != want):
			t.Errorf("%q: got %v, %v; want %s", given, got, err, want)
		}
	}
}

func TestClientToken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(" tw_file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for given, want := range map[string]string{
		"tw_a": "tw_a", " tw_a\n": "tw_a", "file:" + path: "tw_file",
		"": "", " ": "", "file:" + path + ".not": "", "tw_a\r\nX-Other: 1": "", "tw_ä": "",
	} {
		got, err := serverFlags{Token: given}.token()
		if got != want || (want == "") != errs.Is(err, errs.Invalid) {
			t.Errorf("%q: got %q, %v; want %q", given, got, err, want)
		}
	}
}

func TestClientAsks(t *testing.T) {
	c := asks(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+clientToken {
			t.Errorf("Authorization = %q", r.Header.Get("Authorization"))
		}
		var body struct{ Image string }
		if r.Method == http.MethodPost {
			if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
				t.Errorf("body: %v", err)
			}
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"path": r.URL.Path, "ref": r.URL.Query().Get("ref"), "image": body.Image})
	})
	var got struct{ Path, Ref, Image string }
	if err := c.get(t.Context(), "/trace", url.Values{"ref": {"a.example/b:c&d"}}, &got); err != nil {
		t.Fatal(err)
	}
	if got.Path != "/api/v1/trace" || got.Ref != "a.example/b:c&d" {
		t.Errorf("get: %+v", got)
	}
	if err := c.post(t.Context(), "/scans", map[string]string{"image": "x"}, &got); err != nil {
		t.Fatal(err)
	}
	if got.Path != "/api/v1/scans" || got.Image != "x" {
		t.Errorf("post: %+v", got)
	}
	var raw json.RawMessage
	if err := c.get(t.Context(), "/scans", nil, &raw); err != nil || !strings.HasPrefix(string(raw), `{"image":""`) {
		t.Errorf("raw: %s, %v", raw, err)
	}
}

// What the service tells as a problem is told to the person, whole.
func TestClientTellsProblems(t *testing.T) {
	problem := errs.New(errs.Invalid, "parameter ref is missing").WithField("ref").WithHint("write it as HOST/NAME:TAG")
	c := asks(t, func(w http.ResponseWriter, r *http.Request) { httpserver.WriteProblem(w, r, problem) })
	err := c.get(t.Context(), "/trace", nil, nil)
	if !errs.Is(err, errs.Invalid) || errs.Field(err) != "ref" || errs.Hint(err) != "write it as HOST/NAME:TAG" ||
		err.Error() != "parameter ref is missing" {
		t.Errorf("got %v, field %q, hint %q", err, errs.Field(err), errs.Hint(err))
	}
	problem = errs.New(errs.Unauthorized, "the token is not good")
	if err := c.get(t.Context(), "/trace", nil, nil); !errs.Is(err, errs.Unauthorized) || !strings.Contains(errs.Hint(err), "TIDEWAITER_TOKEN") {
		t.Errorf("got %v, hint %q", err, errs.Hint(err))
	}
	problem = errs.New(errs.RateLimited, "too often")
	problem.RetryAfter = 7 * time.Second
	if err := c.get(t.Context(), "/trace", nil, nil); errs.RetryAfter(err) != 7*time.Second || !strings.Contains(errs.Hint(err), "7s") {
		t.Errorf("got %v, hint %q", err, errs.Hint(err))
	}
}

// What stands between, or is no Tidewaiter, is told as such; its words are not.
func TestClientTellsStrangers(t *testing.T) {
	answers := map[string]http.HandlerFunc{
		"a page of a proxy": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			_, _ = w.Write([]byte("<h1>secret words</h1>"))
		},
		"a page with status 200": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<h1>secret words</h1>")) },
		"another API": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"title": "secret words"}`))
		},
		"too much": func(w http.ResponseWriter, _ *http.Request) {
			part := []byte(strings.Repeat(" ", 1<<20))
			for range maxAnswer>>20 + 1 {
				_, _ = w.Write(part)
			}
		},
	}
	for name, answer := range answers {
		var into map[string]any
		err := asks(t, answer).get(t.Context(), "/trace", nil, &into)
		if err == nil || strings.Contains(err.Error()+errs.Hint(err), "secret") || len(err.Error()) > 300 {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestClientFollowsNobodyWithTheToken(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the other server was asked") }))
	defer other.Close()
	c := asks(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+"/?key=secret", http.StatusFound)
	})
	err := c.get(t.Context(), "/trace", nil, nil)
	if err == nil || !strings.Contains(errs.Hint(err), other.URL) || strings.Contains(errs.Hint(err), "secret") {
		t.Errorf("got %v, hint %q; want to be told where it leads", err, errs.Hint(err))
	}
}

func TestClientUnreachable(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	address := server.URL
	server.Close()
	c, err := serverFlags{Server: address, Token: clientToken}.client()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.get(t.Context(), "/trace", url.Values{"ref": {"x"}}, nil); !errs.Is(err, errs.Unavailable) || !strings.Contains(errs.Hint(err), "--server") {
		t.Errorf("got %v, hint %q", err, errs.Hint(err))
	}
}

func TestClientTrustsAnAuthorityOfItsOwn(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{}`)) }))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "ca.pem")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(file, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	ask := func(f serverFlags) error {
		f.Server, f.Token = server.URL, clientToken
		c, err := f.client()
		if err != nil {
			return err
		}
		return c.get(t.Context(), "/trace", nil, &struct{}{})
	}
	if err := ask(serverFlags{CAFile: file}); err != nil {
		t.Errorf("with the authority: %v", err)
	}
	if err := ask(serverFlags{}); err == nil {
		t.Error("without the authority it is trusted")
	}
	if err := ask(serverFlags{CAFile: file + ".not"}); !errs.Is(err, errs.Invalid) {
		t.Errorf("a missing file: %v", err)
	}
}
