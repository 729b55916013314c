package image_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
)

const digest = image.Digest("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")

func TestParseReference(t *testing.T) {
	tests := []struct {
		in   string
		want image.Reference
		out  string // String of the result, when it differs from in
	}{
		{"registry.example.com/shop/web:1.0", image.Reference{Registry: "registry.example.com", Repository: "shop/web", Tag: "1.0"}, ""},
		{"registry.example.com:5000/web", image.Reference{Registry: "registry.example.com:5000", Repository: "web", Tag: "latest"}, "registry.example.com:5000/web:latest"},
		{"registry.example.com/web@" + string(digest), image.Reference{Registry: "registry.example.com", Repository: "web", Digest: digest}, ""},
		{"registry.example.com/web:1@" + string(digest), image.Reference{Registry: "registry.example.com", Repository: "web", Tag: "1", Digest: digest}, ""},
		{"nginx", image.Reference{Registry: "docker.io", Repository: "library/nginx", Tag: "latest"}, "docker.io/library/nginx:latest"},
		{"index.docker.io/shop/web:1", image.Reference{Registry: "docker.io", Repository: "shop/web", Tag: "1"}, "docker.io/shop/web:1"},
		{"localhost:5000/a__b/c-d.e:x", image.Reference{Registry: "localhost:5000", Repository: "a__b/c-d.e", Tag: "x"}, ""},
		{"[::1]:5000/web:1", image.Reference{Registry: "[::1]:5000", Repository: "web", Tag: "1"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			got, err := image.ParseReference(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			want := tt.out
			if want == "" {
				want = tt.in
			}
			if got.String() != want {
				t.Errorf("String is %q, want %q", got, want)
			}
			again, err := image.ParseReference(got.String())
			if err != nil || again != got {
				t.Errorf("read again: %+v, %v", again, err)
			}
		})
	}
}

func TestParseReferenceRefuses(t *testing.T) {
	for _, s := range []string{
		"", ":", "@", "registry.example.com/", "registry.example.com/web:", "registry.example.com/web:a b",
		"registry.example.com/Web:1", "registry.example.com/../web:1", "registry.example.com/a/../b:1", "registry.example.com/a//b:1",
		"registry.example.com/a/.:1", "registry.example.com/-a:1", "registry.example.com/a\x00b:1", "registry.example.com/a?b:1",
		"https://registry.example.com/web:1", "user@registry.example.com/web:1",
		"registry.example.com/web@sha256:abc", "registry.example.com/web@" + strings.ToUpper(string(digest)),
		"registry.example.com/web:" + strings.Repeat("a", 129), "registry.example.com/" + strings.Repeat("a", 256) + ":1",
	} {
		if got, err := image.ParseReference(s); !errs.Is(err, errs.Invalid) {
			t.Errorf("ParseReference(%q) is %+v, %v", s, got, err)
		}
	}
}

func TestParseRepository(t *testing.T) {
	got, err := image.ParseRepository("registry-1.docker.io/shop/web")
	if err != nil || got != (image.Reference{Registry: "docker.io", Repository: "shop/web"}) || got.Name() != "docker.io/shop/web" {
		t.Errorf("ParseRepository is %+v, %v", got, err)
	}
	for _, s := range []string{"", "registry.example.com/web:1", "registry.example.com/..", "registry.example.com/Web"} {
		if _, err := image.ParseRepository(s); !errs.Is(err, errs.Invalid) {
			t.Errorf("ParseRepository(%q) returned %v", s, err)
		}
	}
}

func TestCanonicalHost(t *testing.T) {
	tests := map[string]string{
		"Registry.Example.COM": "registry.example.com", " registry.example.com:443 ": "registry.example.com",
		"registry.example.com:5000": "registry.example.com:5000", "docker.io": "docker.io", "index.docker.io": "docker.io",
		"registry-1.docker.io:443": "docker.io", "registry.hub.docker.com": "docker.io", "": "",
	}
	for in, want := range tests {
		if got := image.CanonicalHost(in); got != want {
			t.Errorf("CanonicalHost(%q) is %q, want %q", in, got, want)
		}
	}
}

func TestIsTag(t *testing.T) {
	for s, want := range map[string]bool{
		"latest": true, "1.0_a-B": true, "_x": true, strings.Repeat("a", 128): true,
		"": false, ".x": false, "-x": false, "a/b": false, "a:b": false, "a\n": false, strings.Repeat("a", 129): false,
	} {
		if got := image.IsTag(s); got != want {
			t.Errorf("IsTag(%q) is %v", s, got)
		}
	}
}
