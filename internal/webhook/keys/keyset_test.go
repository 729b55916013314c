package keys

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/jwks"
)

// issuer serves a key set that can be changed.
type issuer struct {
	mu     sync.Mutex
	ids    []string
	status int
	cache  string
}

func (i *issuer) serve(w http.ResponseWriter, _ *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	w.Header().Set("Cache-Control", i.cache)
	w.WriteHeader(i.status)
	_, _ = w.Write(setWith(i.ids...))
}

func (i *issuer) set(status int, ids ...string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.status, i.ids = status, ids
}

func TestKeySetIsKept(t *testing.T) {
	i := &issuer{status: 200, ids: []string{"a"}, cache: "public, max-age=1200, must-revalidate"}
	o, c := startOutside(t, i.serve), &clock{now: start}
	k := o.keys(t, c)
	check := func(step, id string, kind errs.Kind, requests int) {
		t.Helper()
		if _, err := k.KeySet(setAddress).VerifySignature(t.Context(), tokenOf(id)); errs.KindOf(err) != kind || len(o.requests()) != requests {
			t.Errorf("%s: %v, requests %d, want kind %q and %d", step, err, len(o.requests()), kind, requests)
		}
	}
	check("first", "a", "", 1)
	c.pass(19 * time.Minute)
	check("fresh", "a", "", 1)
	c.pass(2 * time.Minute)
	check("old", "a", "", 2)
	i.set(200, "b")
	check("a new key, a moment later", "b", errs.Unauthorized, 2)
	c.pass(jwks.RetryPause)
	check("a new key", "b", "", 3)
	check("the key it replaced", "a", errs.Unauthorized, 3)
	i.set(500)
	c.pass(21 * time.Minute)
	check("old, in an outage", "b", "", 4)
	check("again", "b", "", 4)
	c.pass(jwks.StaleFor)
	check("too old, in an outage", "b", errs.Unavailable, 5)
	i.set(200, "b")
	check("a moment later", "b", errs.Unavailable, 5)
	c.pass(jwks.RetryPause)
	check("back", "b", "", 6)
	if fetches(t, k, kindKeySet, outcomeOK) != 4 || fetches(t, k, kindKeySet, outcomeFailed) != 2 || fetches(t, k, kindKeySet, outcomeLimited) == 0 {
		t.Error("fetches are not counted by outcome")
	}
}

// TestFloodOfTokens: tokens that name keys nobody knows make us ask once in a
// while only, and do not stop those that name a known one.
func TestFloodOfTokens(t *testing.T) {
	i := &issuer{status: 200, ids: []string{"a"}}
	o := startOutside(t, i.serve)
	k := o.keys(t, &clock{now: start})
	var all sync.WaitGroup
	for n := range 50 {
		all.Go(func() {
			if _, err := k.KeySet(setAddress).VerifySignature(t.Context(), tokenOf(fmt.Sprint("x", n))); !errs.Is(err, errs.Unauthorized) {
				t.Errorf("unknown key: %v", err)
			}
			if _, err := k.KeySet(setAddress).VerifySignature(t.Context(), tokenOf("a")); err != nil {
				t.Errorf("known key: %v", err)
			}
		})
	}
	all.Wait()
	if len(o.requests()) != 1 {
		t.Errorf("%d requests", len(o.requests()))
	}
	// What is no token does not even count as a reason to ask.
	fresh := o.keys(t, &clock{now: start})
	if _, err := fresh.KeySet(setAddress).VerifySignature(t.Context(), "a.b.c"); !errs.Is(err, errs.Unauthorized) || len(o.requests()) != 1 {
		t.Errorf("no token: %v, %d requests", err, len(o.requests()))
	}
}
