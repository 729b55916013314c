package app_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/localregistry"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

const (
	lodashCVE   = "CVE-2021-23337"
	minimistCVE = "CVE-2021-44906"
)

// open counts the open findings of a vulnerability.
func (s *service) open(cve string) int {
	s.t.Helper()
	return s.count("repository_finding WHERE vulnerability = $1 AND closed_at IS NULL", cve)
}

// deleteDigest deletes a manifest at the registry, which tells of it and of the
// tags it had.
func (s *service) deleteDigest(repository string, digest v1.Hash) {
	s.t.Helper()
	ref, err := name.NewDigest(s.registry.Host()+"/"+repository+"@"+digest.String(), name.Insecure)
	if err == nil {
		err = remote.Delete(ref)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// quiet waits until every delivery so far has been dealt with.
func (s *service) quiet(deliveries int) {
	s.t.Helper()
	s.until(`count(*) = $1 FROM delivery WHERE verdict = 'accepted' AND action = 'delete'`, deliveries)
	s.until(`NOT EXISTS (SELECT 1 FROM scan WHERE state IN ('queued', 'running'))`)
}

func TestALateDeleteErasesNothingNewer(t *testing.T) {
	s := start(t)
	old := s.pushed(withNPM(t, "lodash", "4.17.15"), "demo/shop", "1")
	now := s.pushed(withNPM(t, "minimist", "1.2.0"), "demo/shop", "1")
	before := s.count("finding_event")
	s.event("delete", "demo/shop", "1", v1.Hash{}) // of the tag, meant for what it pointed to before
	s.quiet(1)
	if n := s.count("tag t JOIN manifest m ON m.id = t.manifest_id WHERE m.digest = $1", now.String()); n != 1 {
		t.Error("the late delete moved or dropped the tag")
	}
	if s.open(minimistCVE) != 1 || s.count("finding_event") != before {
		t.Error("the late delete changed findings")
	}
	if s.count("tag_event WHERE action = 'deleted'") != 0 || s.count("scan WHERE state = 'failed'") != 0 {
		t.Error("the late delete is in the history, or failed")
	}
	s.event("delete", "demo/shop", "", old) // of the manifest before, which is there still
	s.quiet(2)
	if s.count("repository_manifest WHERE presence = 'gone'") != 0 || s.open(minimistCVE) != 1 {
		t.Error("a delete of a manifest that is there took it away")
	}
}

// A delete that is the first we hear of a tag which is there: it came before the
// push's own event, and what is found was pushed.
func TestADeleteThatFindsAnImageIsAPush(t *testing.T) {
	quiet, err := localregistry.Start(t.Context(), localregistry.Config{}) // tells nobody
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = quiet.Close(context.Background()) })
	s := start(t, func(c *config.Config) {
		r := c.Registries[0]
		r.Name, r.Host, r.Aliases = "quiet", quiet.Host(), nil
		r.Webhook.Format = "generic"
		c.Registries = append(c.Registries, r)
	})
	ref, err := name.NewTag(quiet.Host()+"/demo/shop:1", name.Insecure)
	if err == nil {
		err = remote.Write(ref, withNPM(t, "lodash", "4.17.15"))
	}
	if err != nil {
		t.Fatal(err)
	}
	body := fmt.Sprintf(`{"action": "delete", "image": %q}`, ref.String())
	if status, answer := s.post("quiet", "Bearer "+secret, "application/json", body); status != http.StatusAccepted {
		t.Fatalf("%d %s", status, answer)
	}
	s.quiet(1)
	if s.open(lodashCVE) != 1 || s.count("finding_event WHERE cause = 'delete'") != 0 {
		t.Errorf("%d findings; %d events with a deletion as their cause", s.open(lodashCVE), s.count("finding_event WHERE cause = 'delete'"))
	}
	if s.count("repository WHERE last_push_at IS NOT NULL") != 1 {
		t.Error("the repository was not pushed to")
	}
}

func TestADeletedTagTakesOnlyItsOwnFindings(t *testing.T) {
	s := start(t)
	first := s.pushed(withNPM(t, "lodash", "4.17.15"), "demo/shop", "1")
	s.pushed(withNPM(t, "minimist", "1.2.0"), "demo/shop", "2")
	shared := s.count("repository_finding WHERE closed_at IS NULL AND package_type = 'deb'")
	s.deleteTag("demo/shop", "1")
	s.quiet(1)
	if s.open(lodashCVE) != 0 || s.open(minimistCVE) != 1 || s.count("repository_finding WHERE closed_at IS NULL AND package_type = 'deb'") != shared || shared == 0 {
		t.Errorf("open: %d of the deleted tag, %d of the other, %d shared before", s.open(lodashCVE), s.open(minimistCVE), shared)
	}
	// The digest is there still, and so is its answer.
	var page report.FindingPage
	ref := s.registry.Host() + "/demo/shop@" + first.String()
	if status := s.get("/api/v1/findings?ref="+ref+"&vulnerability="+lodashCVE, &page); status != http.StatusOK || len(page.Items) != 1 {
		t.Errorf("%d, %d findings of the digest", status, len(page.Items))
	}
}

func TestFindingsOutliveOneOfTwoTags(t *testing.T) {
	s := start(t)
	img := withNPM(t, "lodash", "4.17.15")
	s.pushed(img, "demo/shop", "1")
	s.pushed(img, "demo/shop", "2")
	s.deleteTag("demo/shop", "1")
	s.quiet(1)
	if s.open(lodashCVE) != 1 || s.count("finding_event WHERE kind = 'closed'") != 0 {
		t.Error("the findings went with one of two tags")
	}
	if status := s.get("/api/v1/findings?ref="+s.registry.Host()+"/demo/shop:2", nil); status != http.StatusOK {
		t.Errorf("the other tag answers %d", status)
	}
	if status := s.get("/api/v1/findings?ref="+s.registry.Host()+"/demo/shop:1", nil); status != http.StatusNotFound {
		t.Errorf("the deleted tag answers %d", status)
	}
}

func TestADeletedDigestTakesAllItsTags(t *testing.T) {
	s := start(t)
	img := withNPM(t, "lodash", "4.17.15")
	digest := s.pushed(img, "demo/shop", "1")
	s.pushed(img, "demo/shop", "latest")
	s.pushed(withNPM(t, "minimist", "1.2.0"), "demo/shop", "2")
	s.deleteDigest("demo/shop", digest)
	s.quiet(3) // the manifest and each tag
	if s.count("tag") != 1 || s.count("tag WHERE name = '2'") != 1 {
		t.Errorf("%d tags are left, want the one of another image", s.count("tag"))
	}
	if s.count("tag_event WHERE action = 'deleted'") != 2 || s.count("repository_manifest WHERE presence = 'gone'") != 1 {
		t.Error("the history does not tell of both tags and the manifest")
	}
	if s.open(lodashCVE) != 0 || s.open(minimistCVE) != 1 {
		t.Error("the wrong findings were closed")
	}
	if n := s.count("scan WHERE state = 'failed'"); n != 0 {
		t.Errorf("%d deletes count as failed scans", n)
	}
}

func TestADeletedChildLeavesTheIndexItsAnswer(t *testing.T) {
	s := start(t)
	index, amd, _ := twoPlatforms(t)
	digest := s.pushed(index, "demo/multi", "1")
	s.deleteDigest("demo/multi", hashOf(t, amd))
	s.quiet(1)
	if s.count("repository_manifest rm JOIN manifest m ON m.id = rm.manifest_id WHERE m.digest = $1 AND rm.presence = 'gone'", hashOf(t, amd).String()) != 1 {
		t.Error("the child is not told as gone")
	}
	s.settled("demo/multi", "1", digest)
	if s.open(lodashCVE) != 1 || s.open(minimistCVE) != 1 {
		t.Error("the tagged index lost findings")
	}
	s.deleteTag("demo/multi", "1")
	s.quiet(2)
	if s.open(lodashCVE) != 0 || s.open(minimistCVE) != 0 {
		t.Error("findings outlived the index's only tag")
	}
}

func TestADeleteOfWhatNobodyKnowsLeavesNothing(t *testing.T) {
	s := start(t)
	s.pushed(withNPM(t, "lodash", "4.17.15"), "demo/shop", "1")
	manifests := s.count("manifest")
	s.event("delete", "demo/shop", "never", v1.Hash{})
	s.event("delete", "demo/shop", "", v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("0", 64)})
	s.event("delete", "demo/ghost", "never", v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("1", 64)})
	s.quiet(3)
	if n := s.count("manifest"); n != manifests {
		t.Errorf("%d manifests more", n-manifests)
	}
	if s.count("tag_event WHERE action = 'deleted'") != 0 || s.count("scan WHERE state = 'failed'") != 0 || s.open(lodashCVE) != 1 {
		t.Error("a delete of nothing left its mark")
	}
}

func TestATagKeepsItsHistory(t *testing.T) {
	s := start(t)
	one := s.pushed(withNPM(t, "lodash", "4.17.15"), "demo/shop", "1")
	two := s.pushed(withNPM(t, "minimist", "1.2.0"), "demo/shop", "1")
	s.deleteTag("demo/shop", "1")
	s.quiet(1)
	s.pushed(withNPM(t, "lodash", "4.17.15"), "demo/shop", "1")
	var told []string
	cursor := ""
	for range 4 { // a page each
		var page report.List[report.TagEvent]
		if status := s.get("/api/v1/tags/history?limit=1&ref="+s.registry.Host()+"/demo/shop:1"+cursor, &page); status != http.StatusOK || len(page.Items) != 1 {
			t.Fatalf("%d %+v", status, page)
		}
		told = append(told, page.Items[0].Action+" "+string(page.Items[0].Digest))
		cursor = "&cursor=" + page.NextCursor
	}
	want := []string{"set " + one.String(), "deleted " + two.String(), "set " + two.String(), "set " + one.String()}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Error(diff)
	}
	if cursor != "&cursor=" {
		t.Error("there is more history than there were changes")
	}
}
