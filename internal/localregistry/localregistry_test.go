package localregistry_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/localregistry"
	"github.com/tidewaiter/tidewaiter/internal/sampleimage"
)

func start(t *testing.T, c localregistry.Config) *localregistry.Registry {
	t.Helper()
	r, err := localregistry.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := r.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return r
}

func tag(t *testing.T, r *localregistry.Registry, s string) name.Tag {
	t.Helper()
	ref, err := name.NewTag(r.Host()+"/"+s, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// event is the part of a Distribution event that the tests look at.
type event struct {
	Action string `json:"action"`
	Target struct {
		MediaType  string `json:"mediaType"`
		Repository string `json:"repository"`
		Tag        string `json:"tag"`
		Digest     string `json:"digest"`
	} `json:"target"`
	header http.Header
}

// receiver hands out the events that arrive.
func receiver(t *testing.T) (url string, events <-chan event) {
	t.Helper()
	ch := make(chan event, 100)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		var body struct{ Events []event }
		if err := json.NewDecoder(req.Body).Decode(&body); err != nil {
			t.Errorf("notification: %v", err)
		}
		for _, e := range body.Events {
			e.header = req.Header
			ch <- e
		}
	}))
	t.Cleanup(server.Close)
	return server.URL, ch
}

func next(t *testing.T, events <-chan event) event {
	t.Helper()
	select {
	case e := <-events:
		return e
	case <-time.After(30 * time.Second):
		t.Fatal("no notification arrived")
		return event{}
	}
}

func TestPushIsNotified(t *testing.T) {
	url, events := receiver(t)
	r := start(t, localregistry.Config{Notify: url, NotifyHeaders: http.Header{"Authorization": {"Bearer secret"}}})
	img, err := sampleimage.Vulnerable()
	if err != nil {
		t.Fatal(err)
	}
	ref := tag(t, r, "shop/web:1.0")
	if err := remote.Write(ref, img, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	// Blobs came first and are left out, so the manifest is the first event.
	got := next(t, events)
	if got.Action != "push" || got.Target.Repository != "shop/web" || got.Target.Tag != "1.0" || got.Target.Digest != digest.String() {
		t.Errorf("push event is %+v", got)
	}
	if a := got.header.Get("Authorization"); a != "Bearer secret" {
		t.Errorf("Authorization is %q", a)
	}

	// Deletes are enabled and notified; the pull in between is not.
	if _, err := remote.Get(ref, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
	if err := remote.Delete(ref.Context().Digest(digest.String()), remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
	if got := next(t, events); got.Action != "delete" || got.Target.Digest != digest.String() {
		t.Errorf("event after a pull and a delete is %+v", got)
	}
}

func TestPasswordIsAsked(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	r, err := localregistry.Start(t.Context(), localregistry.Config{Username: "ci", Password: "pa:ss"})
	if err != nil {
		t.Fatal(err)
	}
	ref := tag(t, r, "a:b")
	if err := remote.Write(ref, empty.Image, remote.WithContext(t.Context())); err == nil {
		t.Error("a push without a password was accepted")
	}
	auth := remote.WithAuth(&authn.Basic{Username: "ci", Password: "pa:ss"})
	if err := remote.Write(ref, empty.Image, auth, remote.WithContext(t.Context())); err != nil {
		t.Errorf("push with the password: %v", err)
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(temp)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestStorageDirKeepsContent(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "storage")
	first, err := localregistry.Start(t.Context(), localregistry.Config{StorageDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag(t, first, "a:b"), empty.Image, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := start(t, localregistry.Config{StorageDir: dir})
	want, err := empty.Image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	got, err := remote.Head(tag(t, second, "a:b"), remote.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got.Digest); diff != "" {
		t.Error(diff)
	}
}

func TestStartRefuses(t *testing.T) {
	busy := start(t, localregistry.Config{})
	tests := []struct {
		name string
		c    localregistry.Config
		kind errs.Kind
	}{
		{"a busy port", localregistry.Config{Addr: busy.Host()}, errs.Unavailable},
		{"an overlong password", localregistry.Config{Username: "u", Password: string(make([]byte, 100))}, errs.Invalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := localregistry.Start(t.Context(), tt.c)
			if errs.KindOf(err) != tt.kind {
				t.Errorf("Start returned %v, want kind %s", err, tt.kind)
			}
		})
	}
}
