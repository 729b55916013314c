package catalog_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/sampleimage"
)

func TestPackagesWithoutAVersionAreKept(t *testing.T) {
	doc := catalogue(t, build(t, sampleimage.Content{
		Distro: sampleimage.Debian12(),
		NPM:    []sampleimage.Package{{Name: "lodash", Version: "4.17.15"}},
		Files:  map[string]string{"/srv/app/package.json": `{"name":"shop"}`},
	}))
	want := []string{"npm lodash 4.17.15", "npm shop UNKNOWN"}
	if diff := cmp.Diff(want, packages(t, doc)); diff != "" {
		t.Error(diff)
	}
}

// A record without a version must not displace what it says to own: grype never
// sees the record, so it would see the displaced package.
func TestPackagesWithoutAVersionDisplaceNothing(t *testing.T) {
	// Syft recognises this program by its bytes; a package that owns the file
	// answers for it instead.
	content := sampleimage.Content{
		Distro: sampleimage.Alpine("3.18.4"),
		APK:    []sampleimage.APK{{Name: "busybox", Version: "1.36.1-r0", Files: []string{"/bin/busybox"}}},
		Files:  map[string]string{"/bin/busybox": "\x7fELF\x02\x01\x01\x00 BusyBox v1.36.1 (2023-07-27)\x00"},
	}
	owned := []string{"apk busybox 1.36.1-r0"}
	if diff := cmp.Diff(owned, packages(t, catalogue(t, build(t, content)))); diff != "" {
		t.Fatalf("with a version the owner answers: %s", diff)
	}
	content.APK[0].Version = ""
	free := []string{"apk busybox UNKNOWN", "binary busybox 1.36.1"}
	if diff := cmp.Diff(free, packages(t, catalogue(t, build(t, content)))); diff != "" {
		t.Errorf("without one both are kept: %s", diff)
	}
}
