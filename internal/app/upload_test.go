package app_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/tidewaiter/tidewaiter/internal/api/apitest"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/sampleimage"
)

// send posts JSON to the API and returns the status and the body.
func (s *service) send(path string, body []byte) (int, []byte) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url+path, bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	apitest.Check(s.t, req, resp, answer)
	return resp.StatusCode, answer
}

// upload posts an SBOM and returns the status and the body.
func (s *service) upload(repository, tag string, document []byte) (int, []byte) {
	s.t.Helper()
	return s.send("/api/v1/sboms?repository="+repository+"&tag="+tag, document)
}

// findings lists "vulnerability type package version" of a reference.
func (s *service) findings(ref string) []string {
	s.t.Helper()
	var page report.FindingPage
	if status := s.get("/api/v1/findings?limit=500&ref="+ref, &page); status != http.StatusOK {
		s.t.Fatalf("findings of %s: %d", ref, status)
	}
	var out []string
	for _, f := range page.Items {
		out = append(out, strings.Join([]string{f.Vulnerability, f.Package.Type, f.Package.Name, f.Package.Version}, " "))
	}
	slices.Sort(out)
	return out
}

func TestAnUploadedSBOMIsJudgedLikeItsImage(t *testing.T) {
	s := start(t)
	s.pushed(vulnerable(t), "demo/shop", "1.0")
	ref := s.registry.Host() + "/demo/shop:1.0"
	want := s.findings(ref)
	for _, format := range []string{"syft-json", "cyclonedx-json", "spdx-json"} {
		t.Run(format, func(t *testing.T) {
			var document json.RawMessage
			if status := s.get("/api/v1/sbom?format="+format+"&ref="+ref, &document); status != http.StatusOK {
				t.Fatalf("SBOM: %d", status)
			}
			if status, body := s.upload("ci/shop", format, document); status != http.StatusAccepted {
				t.Fatalf("%d %s", status, body)
			}
			var img report.Image
			if s.get("/api/v1/image?wait=60s&ref=sboms/ci/shop:"+format, &img); img.State != report.StateDone {
				t.Fatalf("%+v", img)
			}
			if diff := cmp.Diff(want, s.findings("sboms/ci/shop:"+format)); diff != "" {
				t.Errorf("findings differ from the image's (-image +SBOM):\n%s", diff)
			}
		})
	}
}

func TestAnUploadThatIsNoSBOMFailsWithItsReason(t *testing.T) {
	s := start(t)
	if status, body := s.upload("ci/shop", "bad", []byte(`{"hello": "world"}`)); status == http.StatusAccepted {
		var img report.Image
		s.get("/api/v1/image?wait=60s&ref=sboms/ci/shop:bad", &img)
		if img.State != report.StateFailed || img.Reason != "invalid" {
			t.Errorf("%+v", img)
		}
	} else if status != http.StatusBadRequest {
		t.Errorf("%d %s", status, body)
	}
	if status, _ := s.upload("../etc", "1", []byte(`{}`)); status != http.StatusBadRequest {
		t.Errorf("a path for a repository: %d", status)
	}
}

func TestAWindowsImageIsPartialPushedOrUploaded(t *testing.T) {
	s := start(t)
	img, err := sampleimage.Build(sampleimage.Content{Platform: v1.Platform{OS: "windows", Architecture: "amd64"},
		NPM: []sampleimage.Package{{Name: "lodash", Version: "4.17.15"}}})
	if err != nil {
		t.Fatal(err)
	}
	s.pushed(img, "demo/win", "1")
	ref := s.registry.Host() + "/demo/win:1"
	var document json.RawMessage
	s.get("/api/v1/sbom?ref="+ref, &document)
	if status, body := s.upload("ci/win", "1", document); status != http.StatusAccepted {
		t.Fatalf("%d %s", status, body)
	}
	for _, ref := range []string{ref, "sboms/ci/win:1"} {
		var img report.Image
		s.get("/api/v1/image?wait=60s&ref="+ref, &img)
		if img.State != report.StateDone || img.Complete {
			t.Errorf("%s: state %s, complete %v", ref, img.State, img.Complete)
		}
	}
}
