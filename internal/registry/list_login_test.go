package registry_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

// tokenService is a token service at /token of a fake registry, whose tokens are good
// for some requests only.
type tokenService struct {
	*fake
	uses int // of a token; 0 for any number

	mu     sync.Mutex
	left   map[string]int
	scopes []string // of every token given, in order
	mute   bool     // challenges name no scope
}

func withTokens(f *fake, uses int, next func(http.ResponseWriter, *http.Request) bool) *tokenService {
	s := &tokenService{fake: f, uses: uses, left: map[string]int{}}
	f.answer = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			s.give(w, r)
			return true
		}
		if !s.admits(r) {
			s.challenge(w, r)
			return true
		}
		return next(w, r)
	}
	return s
}

func (s *tokenService) give(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Header.Get("Authorization") != authorization() {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	s.scopes = append(s.scopes, strings.Join(r.URL.Query()["scope"], " "))
	token := fmt.Sprintf("t%d", len(s.scopes))
	s.left[token] = s.uses
	_, _ = fmt.Fprintf(w, `{"access_token":%q,"expires_in":1}`, token)
}

func (s *tokenService) admits(r *http.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	left, known := s.left[token]
	if !known || s.uses > 0 && left == 0 {
		return false
	}
	s.left[token]--
	return true
}

func (s *tokenService) challenge(w http.ResponseWriter, r *http.Request) {
	value := fmt.Sprintf(`Bearer realm="%s/token",service="test"`, s.URL)
	if repository, _, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/tags/"); ok && !s.mute {
		value += fmt.Sprintf(`,scope="repository:%s:pull"`, repository)
	}
	w.Header().Set("WWW-Authenticate", value)
	w.WriteHeader(http.StatusUnauthorized)
}

func answerLists(d image.Digest) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Docker-Content-Digest", string(d))
		return serveNames(catalogPath, "repositories", "shop/web")(w, r) ||
			strings.HasSuffix(r.URL.Path, "/tags/list") && serveNames(r.URL.Path, "tags", "1.0")(w, r)
	}
}

func TestListsAskForTheTokensTheyNeed(t *testing.T) {
	f := newFake(t)
	s := withTokens(f, 0, answerLists(f.tag(image.MediaTypeOCIManifest, f.image("amd64"))))
	c := client(t, withPassword(f.settings()))
	pages(t, repositories(c))
	for range 3 {
		pages(t, tags(c, "shop/web"))
		if _, err := c.Head(t.Context(), ref(t, wanted)); err != nil {
			t.Fatal(err)
		}
	}
	pages(t, tags(c, "shop/other"))
	want := []string{"registry:catalog:*", "repository:shop/web:pull", "repository:shop/other:pull"}
	if !slices.Equal(s.scopes, want) {
		t.Errorf("tokens were asked for with %q, want %q", s.scopes, want)
	}
}

// A token that is used up in the middle of a comparison is replaced, whether or
// not the challenge says with what.
func TestListsOutliveTheirTokens(t *testing.T) {
	for _, mute := range []bool{false, true} {
		t.Run(fmt.Sprintf("mute %v", mute), func(t *testing.T) {
			f := newFake(t)
			s := withTokens(f, 1, answerLists(f.tag(image.MediaTypeOCIManifest, f.image("amd64"))))
			s.mute = mute
			c := client(t, withPassword(f.settings()))
			for range 5 {
				pages(t, repositories(c))
				pages(t, tags(c, "shop/web"))
				if _, err := c.Head(t.Context(), ref(t, wanted)); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestManyHeadsShareOneLogin(t *testing.T) {
	f := newFake(t)
	s := withTokens(f, 0, answerLists(f.tag(image.MediaTypeOCIManifest, f.image("amd64"))))
	c := client(t, withPassword(f.settings()))
	var group errgroup.Group
	for range 20 {
		group.Go(func() error {
			_, err := c.Head(t.Context(), ref(t, wanted))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if len(s.scopes) != 1 {
		t.Errorf("%d tokens", len(s.scopes))
	}
}

// A static token is sent as it is, also where a token service is offered.
func TestListsWithAToken(t *testing.T) {
	f := newFake(t)
	s := withTokens(f, 0, answerLists(""))
	s.left["own"] = 0
	settings := f.settings()
	settings.Auth = registry.Auth{Token: "own"}
	pages(t, tags(client(t, settings), "shop/web"))
	if len(s.scopes) != 0 {
		t.Errorf("tokens were asked for: %q", s.scopes)
	}
}

// Who waits for another's login gives up when his own time is over, however long
// the registry takes over that.
func TestNobodyWaitsForALoginLongerThanHeHas(t *testing.T) {
	f := newFake(t)
	asked, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	f.answer = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/v2/" {
			once.Do(func() { close(asked) })
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
		return false
	}
	c := client(t, f.settings())
	var first errgroup.Group
	first.Go(func() error { _, err := c.Head(t.Context(), ref(t, wanted)); return err })
	<-asked
	for _, at := range []string{wanted, "registry.example.com/shop/other:1"} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, err := c.Head(ctx, ref(t, at))
		cancel()
		if !errs.Is(err, errs.Timeout) {
			t.Errorf("Head of %s beside a login that hangs: %v", at, err)
		}
	}
	close(release)
	if err := first.Wait(); !errs.Is(err, errs.NotFound) {
		t.Errorf("the first one: %v", err)
	}
}
