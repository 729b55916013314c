package app_test

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/sampleimage"
)

// vulnerable is the quickstart's image.
func vulnerable(t *testing.T) v1.Image {
	t.Helper()
	img, err := sampleimage.Vulnerable()
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// withNPM is a Debian image with npm packages given as name, version pairs.
func withNPM(t *testing.T, pairs ...string) v1.Image {
	t.Helper()
	c := sampleimage.Content{Distro: sampleimage.Debian12(), Deb: sampleimage.VulnerableContent().Deb}
	for i := 0; i < len(pairs); i += 2 {
		c.NPM = append(c.NPM, sampleimage.Package{Name: pairs[i], Version: pairs[i+1]})
	}
	img, err := sampleimage.Build(c)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// pushed pushes and waits for the answer.
func (s *service) pushed(what any, repository, tag string) v1.Hash {
	s.t.Helper()
	digest := s.push(what, repository+":"+tag)
	s.settled(repository, tag, digest)
	return digest
}

// settled waits until the tag points to the digest and nothing is under way.
func (s *service) settled(repository, tag string, digest v1.Hash) {
	s.t.Helper()
	s.until(`count(*) = 1 FROM tag t JOIN manifest m ON m.id = t.manifest_id JOIN repository r ON r.id = t.repository_id
		WHERE r.name = $1 AND t.name = $2 AND m.digest = $3 AND m.state IN ('done', 'unsupported')`, repository, tag, digest.String())
	s.until(`NOT EXISTS (SELECT 1 FROM scan WHERE state IN ('queued', 'running'))`)
}

func TestAPushBecomesFindings(t *testing.T) {
	s := start(t)
	digest := s.push(vulnerable(t), "demo/shop:1.0")
	ref := s.registry.Host() + "/demo/shop:1.0"
	s.until(`EXISTS (SELECT 1 FROM delivery WHERE verdict = 'accepted')`)
	var img report.Image
	if status := s.get("/api/v1/image?wait=60s&ref="+ref, &img); status != http.StatusOK || img.Digest != image.Digest(digest.String()) || img.State != "done" {
		t.Fatalf("%d %+v", status, img)
	}
	var page report.FindingPage
	if status := s.get("/api/v1/findings?ref="+ref, &page); status != http.StatusOK || len(page.Items) == 0 {
		t.Fatalf("%d %+v", status, page)
	}
	for _, f := range page.Items {
		if f.Vulnerability == "" || f.Package.Name == "" || len(f.Matches) == 0 || len(f.Locations) == 0 {
			t.Errorf("finding with a hole: %+v", f)
		}
	}
	for _, c := range []struct{ ecosystem, typ, id string }{
		{"Debian", "deb", ""},
		{"npm", "npm", "CVE-2021-44906"},
		{"Python", "python", ""},
		{"Go", "go-module", ""},
		{"Java", "java-archive", "CVE-2021-44228"},
	} {
		if s.count(`repository_finding WHERE package_type = $1 AND (vulnerability = $2 OR $2 = '')`, c.typ, c.id) == 0 {
			t.Errorf("%s: no finding %s", c.ecosystem, c.id)
		}
	}
}

// written counts the rows of facts and opinions.
func (s *service) written() map[string]int {
	s.t.Helper()
	out := map[string]int{}
	for _, table := range []string{"sbom", "inventory", "inventory_package", "package", "package_match", "package_ignore", "vulnerability", "finding_event"} {
		out[table] = s.count(table)
	}
	return out
}

func TestTheSameImageUnderThreeTagsIsPulledOnceAndWritesNothingMore(t *testing.T) {
	s := start(t)
	img := vulnerable(t)
	digest := s.pushed(img, "demo/shop", "1.0")
	before := s.written()
	s.pushed(img, "demo/shop", "1.1")
	s.pushed(img, "demo/shop", "latest")
	s.event("push", "demo/shop", "1.0", digest) // the first tag once more
	s.until(`count(*) = 4 FROM scan WHERE state = 'done'`)
	if diff := cmp.Diff(before, s.written()); diff != "" {
		t.Errorf("rows were written again:\n%s", diff)
	}
	if before["sbom"] != 1 || before["inventory"] != 1 {
		t.Errorf("%d SBOMs, %d inventories, want one of each", before["sbom"], before["inventory"])
	}
	if n := s.count("scan WHERE pulled_bytes > 0"); n != 1 {
		t.Errorf("%d scans pulled the image, want 1", n)
	}
	if n := s.count("tag"); n != 3 {
		t.Errorf("%d tags, want 3", n)
	}
}

func TestImagesThatDifferInOneNPMPackageShareTheRest(t *testing.T) {
	s := start(t)
	s.pushed(withNPM(t, "lodash", "4.17.15", "minimist", "1.2.0"), "demo/shop", "1")
	before := s.count("package")
	s.pushed(withNPM(t, "lodash", "4.17.15", "minimist", "1.2.8"), "demo/shop", "2")
	if n := s.count("package"); n != before+1 {
		t.Errorf("%d package rows were added, want 1", n-before)
	}
}

func TestAnIndexIsScannedForEveryPlatformAndItsAttestationIsRecorded(t *testing.T) {
	s := start(t)
	amd := withNPM(t, "lodash", "4.17.15")
	arm, err := sampleimage.Build(sampleimage.Content{Platform: v1.Platform{OS: "linux", Architecture: "arm64"}, Distro: sampleimage.Debian12(),
		NPM: []sampleimage.Package{{Name: "minimist", Version: "1.2.0"}}})
	if err != nil {
		t.Fatal(err)
	}
	index, err := sampleimage.Index(true, amd, arm)
	if err != nil {
		t.Fatal(err)
	}
	s.pushed(index, "demo/multi", "1")
	if n := s.count("manifest WHERE kind = 'image' AND state = 'done'"); n != 2 {
		t.Errorf("%d platforms are done, want 2", n)
	}
	if n := s.count("manifest WHERE kind = 'attestation' AND state = 'unsupported' AND reason = 'attestation'"); n == 0 {
		t.Error("the attestation is not recorded")
	}
	for _, id := range []string{"CVE-2021-23337", "CVE-2021-44906"} { // lodash in one, minimist in the other
		if s.count("repository_finding WHERE vulnerability = $1", id) != 1 {
			t.Errorf("%s of one platform is missing in the repository", id)
		}
	}
}

func TestAHelmChartIsUnsupportedAndNotAFailure(t *testing.T) {
	s := start(t)
	chart, err := sampleimage.HelmChart()
	if err != nil {
		t.Fatal(err)
	}
	s.pushed(chart, "charts/web", "1.0.0")
	if s.count("manifest WHERE kind = 'helm_chart' AND state = 'unsupported' AND reason = 'helm_chart'") != 1 {
		t.Error("the chart is not recorded as unsupported")
	}
	if n := s.count("scan WHERE state = 'failed'"); n != 0 {
		t.Errorf("%d scans failed", n)
	}
}

func TestADeletedTagGoesWithItsFindings(t *testing.T) {
	s := start(t)
	s.pushed(withNPM(t, "lodash", "4.17.15"), "demo/shop", "1")
	open := s.count("repository_finding WHERE closed_at IS NULL")
	if open == 0 {
		t.Fatal("nothing to close")
	}
	s.deleteTag("demo/shop", "1")
	s.until(`NOT EXISTS (SELECT 1 FROM tag)`)
	s.until(`NOT EXISTS (SELECT 1 FROM repository_finding WHERE closed_at IS NULL)`)
	if n := s.count("finding_event WHERE kind = 'closed' AND cause = 'delete'"); n != open {
		t.Errorf("%d findings were closed, want %d", n, open)
	}
}
