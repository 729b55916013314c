package app_test

import (
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/sampleimage"
)

func TestPlatformsThatAreNotWantedAreExcludedAndDoNotHoldTheIndexUp(t *testing.T) {
	s := start(t, func(c *config.Config) { c.Platforms = []image.Platform{{OS: "linux", Architecture: "amd64"}} })
	arm, err := sampleimage.Build(sampleimage.Content{Platform: v1.Platform{OS: "linux", Architecture: "arm64"},
		NPM: []sampleimage.Package{{Name: "minimist", Version: "1.2.0"}}})
	if err != nil {
		t.Fatal(err)
	}
	index, err := sampleimage.Index(false, withNPM(t, "lodash", "4.17.15"), arm)
	if err != nil {
		t.Fatal(err)
	}
	s.pushed(index, "demo/multi", "1")
	if s.count("repository_manifest rm JOIN manifest m ON m.id = rm.manifest_id WHERE m.architecture = 'arm64' AND rm.presence = 'excluded' AND rm.reason = 'platforms'") != 1 {
		t.Error("the platform nobody wants is not recorded as excluded")
	}
	if s.count("manifest WHERE kind = 'index' AND state = 'done'") != 1 || s.count("sbom") != 1 {
		t.Error("the index is not done with the platform that is wanted")
	}
}

func TestAnImageOverALimitIsTooLargeAndSaysWhichLimit(t *testing.T) {
	s := start(t, func(c *config.Config) { c.Limits.Layers = 1 })
	s.push(vulnerable(t), "demo/shop:1.0")
	s.until(`count(*) = 1 FROM manifest WHERE state = 'too_large' AND reason = 'too_large' AND detail LIKE '%limits.layers%'`)
	s.until(`count(*) = 1 FROM scan WHERE state = 'failed' AND reason = 'too_large' AND attempt = 1`)
	one, err := sampleimage.Build(sampleimage.Content{NPM: []sampleimage.Package{{Name: "lodash", Version: "4.17.15"}}})
	if err != nil {
		t.Fatal(err)
	}
	s.pushed(one, "demo/small", "1")
}
