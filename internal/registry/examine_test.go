package registry_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

// examined looks at a fake with the settings.
func examined(t *testing.T, s registry.Settings, mirror string) (registry.Examination, error) {
	t.Helper()
	c, err := registry.New([]registry.Settings{s})
	if err != nil {
		t.Fatal(err)
	}
	return c.Examine(t.Context(), s.Host, mirror)
}

// bearers answers as a registry with a token service of its own that lets in robot.
func bearers(f *fake) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		user, password, _ := r.BasicAuth()
		switch {
		case r.URL.Path == "/token" && user == "robot" && password != "right":
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/token":
			_, _ = w.Write([]byte(`{"token":"t-` + user + `"}`))
		case r.Header.Get("Authorization") == "":
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+f.URL+`/token",service="test"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
		return true
	}
}

func TestExamineLogsIn(t *testing.T) {
	for name, tt := range map[string]struct {
		auth       registry.Auth
		kind       errs.Kind
		credential bool
	}{
		"anonymous":      {registry.Auth{}, "", false},
		"right password": {registry.Auth{Username: "robot", Password: "right"}, "", true},
		"wrong password": {registry.Auth{Username: "robot", Password: "wrong"}, errs.Unauthorized, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.set(bearers(f))
			s := f.settings()
			s.Auth = tt.auth
			saw, err := examined(t, s, "")
			if errs.KindOf(err) != tt.kind || saw.Credential != tt.credential || saw.Login != "bearer" || saw.Endpoint != f.host() {
				t.Errorf("got %+v, %v", saw, err)
			}
			if err != nil && (strings.Contains(err.Error(), "wrong") || errs.Hint(err) == "") {
				t.Errorf("got %v, hint %q", err, errs.Hint(err))
			}
			for _, r := range f.requests() {
				if r.URL.Path != "/token" {
					t.Errorf("%s was asked for", r.URL.Path)
				}
			}
		})
	}
}

func TestExamineReadsTheClock(t *testing.T) {
	f := newFake(t)
	f.set(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Date", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
		return false
	})
	saw, err := examined(t, f.settings(), "")
	if off := (saw.Offset - time.Hour).Abs(); err != nil || !saw.Clock || off > 10*time.Second {
		t.Errorf("got %+v, %v", saw, err)
	}
}

func TestExamineAMirror(t *testing.T) {
	f, m := newFake(t), newFake(t)
	m.set(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusNotFound); return true })
	s := f.settings()
	s.Mirrors = []registry.Mirror{{Host: m.host(), PlainHTTP: true}}
	if _, err := examined(t, s, ""); err != nil {
		t.Error(err)
	}
	if _, err := examined(t, s, m.host()); !errs.Is(err, errs.Unavailable) {
		t.Errorf("the mirror that is no registry: %v", err)
	}
	if _, err := examined(t, s, "other.example"); !errs.Is(err, errs.Invalid) {
		t.Errorf("a mirror that is not configured: %v", err)
	}
}
