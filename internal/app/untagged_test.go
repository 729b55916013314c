package app_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/sampleimage"
)

// holding sets how long untagged pushes and pushes without a digest wait.
func holding(untagged, coalesce time.Duration) option {
	return func(c *config.Config) { c.Receiver.UntaggedHold, c.Receiver.Coalesce = untagged, coalesce }
}

// twoPlatforms is an index of two images with an npm package each.
func twoPlatforms(t *testing.T) (index v1.ImageIndex, amd, arm v1.Image) {
	t.Helper()
	amd = withNPM(t, "lodash", "4.17.15")
	arm, err := sampleimage.Build(sampleimage.Content{Platform: v1.Platform{OS: "linux", Architecture: "arm64"}, Distro: sampleimage.Debian12(),
		NPM: []sampleimage.Package{{Name: "minimist", Version: "1.2.0"}}})
	if err != nil {
		t.Fatal(err)
	}
	if index, err = sampleimage.Index(true, amd, arm); err != nil {
		t.Fatal(err)
	}
	return index, amd, arm
}

func hashOf(t *testing.T, img interface{ Digest() (v1.Hash, error) }) v1.Hash {
	t.Helper()
	h, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// The hold is longer than the test: only the index can have ended the scans of
// its children.
func TestChildrenOfAnIndexAreScannedOnceByItsScan(t *testing.T) {
	s := start(t, holding(time.Hour, time.Hour))
	index, amd, _ := twoPlatforms(t)
	s.pushed(index, "demo/multi", "1")
	if n := s.count("scan WHERE tag = '' AND state = 'canceled' AND reason = 'covered' AND attempt = 0"); n != 4 {
		t.Errorf("%d scans of untagged pushes are covered, want those of two images with an attestation each\n%s", n, s.scans())
	}
	if n := s.count("scan WHERE state = 'done' AND attempt = 1"); n != 1 {
		t.Errorf("%d scans ran, want that of the index alone", n)
	}
	if s.count("manifest WHERE kind = 'image' AND state = 'done'") != 2 {
		t.Error("not every image is answered")
	}
	var img report.Image
	if status := s.get("/api/v1/image?ref="+s.registry.Host()+"/demo/multi@"+hashOf(t, amd).String(), &img); status != http.StatusOK ||
		img.State != report.StateDone || img.LastScan == nil || !img.Settled() {
		t.Errorf("a covered image is told as %d %+v", status, img)
	}
	var repositories report.Judged[report.Repository]
	s.get("/api/v1/repositories", &repositories)
	for _, r := range repositories.Items {
		if r.Scans.Failed != 0 {
			t.Errorf("%s counts %d failed scans", r.Repository, r.Scans.Failed)
		}
	}
	var scans report.List[report.Scan]
	if s.get("/api/v1/scans?state=canceled", &scans); len(scans.Items) != 4 || scans.Items[0].Reason != "covered" || scans.Items[0].Detail == "" {
		t.Errorf("the listing of canceled scans is %+v", scans.Items)
	}
}

func TestAnUntaggedImageThatNoIndexNamesIsScannedAfterTheHold(t *testing.T) {
	s := start(t)
	digest := s.pushUntagged(withNPM(t, "lodash", "4.17.15"), "demo/shop")
	s.until(`count(*) = 1 FROM scan WHERE tag = '' AND digest = $1 AND state = 'done' AND started_at - created_at >= interval '250 milliseconds'`, digest.String())
	if s.count("manifest WHERE digest = $1 AND state = 'done'", digest.String()) != 1 {
		t.Error("it has no answer")
	}
}

func (s *service) pushUntagged(img v1.Image, repository string) v1.Hash {
	s.t.Helper()
	digest := hashOf(s.t, img)
	return s.push(img, repository+"@"+digest.String())
}

// A sender without digests tells of one push several times.
func TestABurstWithoutADigestIsOneScan(t *testing.T) {
	s := start(t, func(c *config.Config) { c.Registries[0].Webhook.Format = "generic" }, holding(0, time.Second))
	s.push(withNPM(t, "lodash", "4.17.15"), "demo/shop:1")
	for n := range 5 {
		body := fmt.Sprintf(`{"id": "burst-%d", "image": %q}`, n, s.registry.Host()+"/demo/shop:1")
		if status, answer := s.post("local", "Bearer "+secret, "application/json", body); status != http.StatusAccepted {
			t.Fatalf("%d %s", status, answer)
		}
	}
	s.until(`count(*) = 1 FROM scan WHERE state = 'done'`)
	if n, d := s.count("scan"), s.count("delivery WHERE verdict = 'accepted' AND scan_id IS NOT NULL"); n != 1 || d != 5 {
		t.Errorf("%d scans of %d deliveries, want one of five", n, d)
	}
}
