package webhook

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/sirupsen/logrus"
)

// channel is a Sink that hands on what it is given.
type channel chan Item

func (c channel) Accept(ctx context.Context, _ string, items []Item) error {
	for _, i := range items {
		select {
		case c <- i:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// take waits for n items; a minute is only for when something is broken.
func (c channel) take(t *testing.T, n int) []Item {
	t.Helper()
	var items []Item
	for len(items) < n {
		select {
		case i := <-c:
			items = append(items, i)
		case <-time.After(time.Minute):
			t.Fatalf("%d of %d items came: %+v", len(items), n, items)
		}
	}
	return items
}

// startRegistry starts a real registry with the configuration we recommend,
// pointed at a handler of ours. It returns the public host and the one the
// registry is called by.
func startRegistry(t *testing.T, change func(*configuration.Configuration)) (public, inner string, events channel) {
	t.Helper()
	config, err := configuration.Parse(strings.NewReader(string(readFile(t, "..", "..", "deploy", "registries", "distribution.yml"))))
	if err != nil {
		t.Fatal(err)
	}
	var app http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { app.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	inner = strings.TrimPrefix(server.URL, "http://")
	public = strings.Replace(inner, "127.0.0.1", "localhost", 1)

	events = make(channel, 100)
	secret := strings.TrimPrefix(config.Notifications.Endpoints[0].Headers.Get("Authorization"), "Bearer ")
	receiver := httptest.NewServer(mustHandler(t, events, Endpoint{
		Registry: "prod", Host: public, Aliases: []string{inner}, Format: "distribution",
		Auth: Auth{Kind: AuthBearer, Secrets: []string{secret}},
	}))
	t.Cleanup(receiver.Close)

	config.Storage = configuration.Storage{"inmemory": {}, "delete": {"enabled": true},
		"maintenance": {"uploadpurging": map[any]any{"enabled": false}}}
	config.HTTP.Host = "http://" + public
	config.HTTP.Secret = "only for this test"
	config.Notifications.Endpoints[0].URL = strings.Replace(config.Notifications.Endpoints[0].URL, "https://tidewaiter.acme.example", receiver.URL, 1)
	change(config)
	logrus.SetLevel(logrus.FatalLevel)
	app = handlers.NewApp(t.Context(), config)
	return public, inner, events
}

func push(t *testing.T, reference string, what remote.Taggable) v1.Hash {
	t.Helper()
	ref, err := name.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	switch it := what.(type) {
	case v1.Image:
		err = remote.Write(ref, it)
	case v1.ImageIndex:
		err = remote.WriteIndex(ref, it)
	}
	if err != nil {
		t.Fatal(err)
	}
	hash, err := what.(interface{ Digest() (v1.Hash, error) }).Digest()
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

// must returns v; it ends the test binary where a fixture cannot be made.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestRealRegistryAsRecommended pushes an image, an index and a chart to a real
// registry with deploy/registries/distribution.yml and deletes the image.
func TestRealRegistryAsRecommended(t *testing.T) {
	public, inner, events := startRegistry(t, func(*configuration.Configuration) {})
	image := must(random.Image(64, 2))
	imageDigest := push(t, inner+"/team/app:1", image).String()
	want := verdict{Host: public, Repository: "team/app", Tag: "1", Digest: imageDigest}
	checkVerdicts(t, events.take(t, 1), ActionPush, want)

	index := must(random.Index(64, 1, 2))
	indexDigest := push(t, inner+"/team/multi:1", index).String()
	manifest := must(index.IndexManifest())
	wants := []verdict{{Host: public, Repository: "team/multi", Tag: "1", Digest: indexDigest, Flags: FlagIndex}}
	for _, child := range manifest.Manifests {
		wants = append(wants, verdict{Host: public, Repository: "team/multi", Digest: child.Digest.String(), Flags: FlagDigestOnly})
	}
	checkVerdicts(t, events.take(t, 3), ActionPush, wants...)

	chart := mutate.ConfigMediaType(image, "application/vnd.cncf.helm.config.v1+json")
	chartDigest := push(t, inner+"/team/chart:1", chart).String()
	want = verdict{Host: public, Repository: "team/chart", Tag: "1", Digest: chartDigest, Ignored: ReasonChart}
	checkVerdicts(t, events.take(t, 1), ActionPush, want)

	ref := must(name.ParseReference(inner + "/team/app@" + imageDigest))
	if err := remote.Delete(ref); err != nil {
		t.Fatal(err)
	}
	// Only the inner name is known for deletes: the alias makes it ours.
	checkVerdicts(t, events.take(t, 2), ActionDelete,
		verdict{Host: inner, Repository: "team/app", Digest: imageDigest, Flags: FlagDigestOnly},
		verdict{Host: inner, Repository: "team/app", Tag: "1"})
}

// TestRealRegistryThatTellsAll leaves the filter out: blobs and pulls come and
// are ignored, and the push still counts.
func TestRealRegistryThatTellsAll(t *testing.T) {
	_, inner, events := startRegistry(t, func(c *configuration.Configuration) {
		c.Notifications.Endpoints[0].Ignore = configuration.Ignore{}
	})
	push(t, inner+"/team/app:1", must(random.Image(64, 1)))
	ref := must(name.ParseReference(inner + "/team/app:1"))
	must(remote.Get(ref))

	seen := map[string]int{}
	for seen[ReasonPull] == 0 || seen[""] == 0 {
		seen[events.take(t, 1)[0].Ignored]++
	}
	if seen[""] != 1 || seen[ReasonBlob] != 2 || len(seen) != 3 {
		t.Errorf("verdicts: %v, want one accepted, two blobs (layer and config) and pulls", seen)
	}
}

func checkVerdicts(t *testing.T, items []Item, action Action, want ...verdict) {
	t.Helper()
	var got []verdict
	for _, i := range items {
		got = append(got, verdictOf(i))
		if i.Event.Action != action || !strings.HasPrefix(i.DedupeKey, "id:") || i.Event.OccurredAt.IsZero() {
			t.Errorf("item %+v", i)
		}
	}
	byName := func(a, b verdict) int { return strings.Compare(a.Digest+a.Tag, b.Digest+b.Tag) }
	slices.SortFunc(got, byName)
	slices.SortFunc(want, byName)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
}
