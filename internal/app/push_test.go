package app_test

import (
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/sampleimage"
)

func TestAPushBecomesFindings(t *testing.T) {
	s := start(t)
	img, err := sampleimage.Vulnerable()
	if err != nil {
		t.Fatal(err)
	}
	digest := s.push(img, "demo/shop:1.0")
	s.until(`count(*) = 1 FROM tag t JOIN manifest m ON m.id = t.manifest_id WHERE m.digest = $1 AND m.state = 'done'`, digest.String())
	s.until(`count(*) = 1 FROM scan WHERE state = 'done'`)
	t.Log(s.count("repository_finding"), "findings")
	if s.count("repository_finding WHERE vulnerability = 'CVE-2021-44228'") == 0 {
		t.Error("log4shell is not found")
	}
}
