package image_test

import (
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
)

func TestParseDigest(t *testing.T) {
	for _, s := range []string{string(digest), "sha512:" + strings.Repeat("0a", 64)} {
		if got, err := image.ParseDigest(s); err != nil || string(got) != s {
			t.Errorf("ParseDigest(%q) is %q, %v", s, got, err)
		}
	}
	for _, s := range []string{
		"", "sha256", "sha256:", "sha256:" + strings.Repeat("0", 63), "sha256:" + strings.Repeat("g", 64), "sha256:" + strings.Repeat("A", 64),
		"md5:" + strings.Repeat("0", 32), "sha512:" + strings.Repeat("0", 64), string(digest) + "\n", "sha256:../" + strings.Repeat("0", 61),
	} {
		if got, err := image.ParseDigest(s); !errs.Is(err, errs.Invalid) {
			t.Errorf("ParseDigest(%q) is %q, %v", s, got, err)
		}
	}
}

func TestDigestOf(t *testing.T) {
	if got := image.DigestOf(nil); got != digest {
		t.Errorf("the digest of nothing is %s", got)
	}
	if got := digest.Short(); got != "e3b0c44298fc" {
		t.Errorf("Short is %q", got)
	}
	if got := image.Digest("odd").Short(); got != "" {
		t.Errorf("Short of no digest is %q", got)
	}
}

func TestLooksLikeDigest(t *testing.T) {
	for s, want := range map[string]bool{
		string(digest): true, "blake3:" + strings.Repeat("a", 64): true,
		"latest": false, "a:b": false, ":" + strings.Repeat("a", 64): false, "sha256:" + strings.Repeat("z", 64): false, "": false,
	} {
		if got := image.LooksLikeDigest(s); got != want {
			t.Errorf("LooksLikeDigest(%q) is %v", s, got)
		}
	}
}

func TestPlatform(t *testing.T) {
	p, err := image.ParsePlatform("linux/arm64/v8")
	if err != nil || p != (image.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}) || p.String() != "linux/arm64/v8" {
		t.Errorf("ParsePlatform is %+v, %v", p, err)
	}
	if s := (image.Platform{}).String(); s != "" {
		t.Errorf("an empty platform is %q", s)
	}
	for _, s := range []string{"", "linux", "/", "linux/", "/amd64", "a/b/c/d"} {
		if _, err := image.ParsePlatform(s); !errs.Is(err, errs.Invalid) {
			t.Errorf("ParsePlatform(%q) returned %v", s, err)
		}
	}
	for filter, want := range map[image.Platform]bool{
		{}: true, {OS: "linux"}: true, {Architecture: "arm64"}: true, p: true,
		{OS: "windows"}: false, {OS: "linux", Architecture: "amd64"}: false, {Variant: "v7"}: false,
	} {
		if got := p.Matches(filter); got != want {
			t.Errorf("Matches(%+v) is %v", filter, got)
		}
	}
}
