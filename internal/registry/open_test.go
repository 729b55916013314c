package registry_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/localregistry"
	"github.com/tidewaiter/tidewaiter/internal/registry"
	"github.com/tidewaiter/tidewaiter/internal/sampleimage"
)

func digestOf(t *testing.T, img v1.Image) image.Digest {
	t.Helper()
	d, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return image.Digest(d.String())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func named(s string) layout.Option {
	return layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": s})
}

func TestOpenLayout(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "with:colon")
	l, err := layout.Write(dir, empty.Index)
	must(t, err)
	amd64 := vulnerable(t, v1.Platform{OS: "linux", Architecture: "amd64"})
	s390x := vulnerable(t, v1.Platform{OS: "linux", Architecture: "s390x"})
	index, err := sampleimage.Index(true, amd64, s390x)
	must(t, err)
	must(t, l.AppendImage(amd64, named("one")))
	must(t, l.AppendImage(s390x, named("registry.example.com/shop/web:two")))
	must(t, l.AppendIndex(index, named("many")))
	single := filepath.Join(t.TempDir(), "single")
	_, err = layout.Write(single, empty.Index)
	must(t, err)
	must(t, layout.Path(single).AppendImage(amd64))

	tests := []struct {
		name, source string
		platform     image.Platform
		want         image.Reference
		kind         errs.Kind
	}{
		{"by name", "oci-dir:" + dir + ":one", image.Platform{}, image.Reference{Registry: "oci-dir", Repository: "with:colon", Tag: "one", Digest: digestOf(t, amd64)}, ""},
		{"by tag of a full name", "oci-dir:" + dir + ":two", image.Platform{}, image.Reference{Registry: "oci-dir", Repository: "with:colon", Tag: "two", Digest: digestOf(t, s390x)}, ""},
		{"by full name", "oci-dir:" + dir + ":registry.example.com/shop/web:two", image.Platform{}, image.Reference{Registry: "oci-dir", Repository: "with:colon", Tag: "two", Digest: digestOf(t, s390x)}, ""},
		{"by digest", "oci-dir:" + dir + "@" + string(digestOf(t, s390x)), image.Platform{}, image.Reference{Registry: "oci-dir", Repository: "with:colon", Tag: "two", Digest: digestOf(t, s390x)}, ""},
		{"by platform", "oci-dir:" + dir + ":many", image.Platform{OS: "linux", Architecture: "s390x"}, image.Reference{Registry: "oci-dir", Repository: "with:colon", Tag: "many", Digest: digestOf(t, s390x)}, ""},
		{"the only one", "oci-dir:" + single, image.Platform{}, image.Reference{Registry: "oci-dir", Repository: "single", Digest: digestOf(t, amd64)}, ""},
		{"the only one, of the platform", "oci-dir:" + single, image.Platform{OS: "linux", Architecture: "amd64"}, image.Reference{Registry: "oci-dir", Repository: "single", Digest: digestOf(t, amd64)}, ""},
		{"the only one, of another platform", "oci-dir:" + single, image.Platform{OS: "linux", Architecture: "arm64"}, image.Reference{}, errs.NotFound},
		{"a named one of another platform", "oci-dir:" + dir + ":one", image.Platform{OS: "linux", Architecture: "s390x"}, image.Reference{}, errs.NotFound},
		{"platform that is not there", "oci-dir:" + dir + ":many", image.Platform{OS: "windows"}, image.Reference{}, errs.NotFound},
		{"name that is not there", "oci-dir:" + dir + ":three", image.Platform{}, image.Reference{}, errs.NotFound},
		{"no name among several", "oci-dir:" + dir, image.Platform{}, image.Reference{}, errs.Invalid},
		{"directory that is not there", "oci-dir:/no/such/dir", image.Platform{}, image.Reference{}, errs.NotFound},
		{"directory of another kind", "oci-dir:" + t.TempDir(), image.Platform{}, image.Reference{}, errs.Invalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			img, got, err := registry.Open(t.Context(), tt.source, tt.platform)
			if errs.KindOf(err) != tt.kind {
				t.Fatalf("Open returned %v of kind %s", err, errs.KindOf(err))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if err == nil && digestOf(t, img) != tt.want.Digest {
				t.Errorf("another image was opened")
			}
		})
	}
}

func TestOpenArchive(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "web.tar")
	img := vulnerable(t, v1.Platform{})
	as, err := name.NewTag("registry.example.com/shop/web:1.0")
	must(t, err)
	must(t, tarball.WriteToFile(path, as, img))
	two := filepath.Join(dir, "two.tar")
	other, err := name.NewTag("registry.example.com/shop/other:1.0")
	must(t, err)
	must(t, tarball.MultiRefWriteToFile(two, map[name.Reference]v1.Image{as: img, other: empty.Image}))
	text := filepath.Join(dir, "text")
	must(t, os.WriteFile(text, []byte("no archive"), 0o600))

	got, ref, err := registry.Open(t.Context(), "docker-archive:"+path, image.Platform{})
	must(t, err)
	if diff := cmp.Diff(image.Reference{Registry: "docker-archive", Repository: "web.tar", Tag: "1.0"}, ref); diff != "" {
		t.Error(diff)
	}
	want, err := img.ConfigName()
	must(t, err)
	if config, err := got.ConfigName(); err != nil || config != want {
		t.Errorf("config is %s, %v", config, err)
	}
	gzipped := filepath.Join(dir, "web.tar.gz")
	must(t, os.WriteFile(gzipped, []byte("\x1f\x8b\x08\x00"), 0o600))
	nothing := filepath.Join(dir, "nothing")
	must(t, os.WriteFile(nothing, nil, 0o600))
	tests := []struct {
		name, source string
		platform     image.Platform
		kind         errs.Kind
		hint         string
	}{
		{"one of several", two + ":registry.example.com/shop/web:1.0", image.Platform{}, "", ""},
		{"the only one by name", path + ":registry.example.com/shop/web:1.0", image.Platform{}, "", ""},
		{"the only one by tag", path + ":1.0", image.Platform{}, "", ""},
		{"the only one of its platform", path, image.Platform{OS: "linux", Architecture: "amd64"}, "", ""},
		{"none of several", two, image.Platform{}, errs.Invalid, "registry.example.com/shop/other:1.0, registry.example.com/shop/web:1.0"},
		{"a tag of two", two + ":1.0", image.Platform{}, errs.Invalid, "registry.example.com/shop/web:1.0"},
		{"another name", path + ":app:2", image.Platform{}, errs.NotFound, "registry.example.com/shop/web:1.0"},
		{"another platform", path, image.Platform{OS: "linux", Architecture: "arm64"}, errs.NotFound, "linux/amd64"},
		{"text", text, image.Platform{}, errs.Invalid, ""},
		{"an empty file", nothing, image.Platform{}, errs.Invalid, ""},
		{"gzip", gzipped, image.Platform{}, errs.Invalid, "gunzip"},
		{"nothing there", filepath.Join(dir, "none"), image.Platform{}, errs.NotFound, ""},
		{"a directory", dir, image.Platform{}, errs.Invalid, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, _, err := registry.Open(t.Context(), "docker-archive:"+tt.source, tt.platform)
			if errs.KindOf(err) != tt.kind || !strings.Contains(errs.Hint(err), tt.hint) {
				t.Fatalf("%v of kind %s, hint %q", err, errs.KindOf(err), errs.Hint(err))
			}
			if err != nil {
				return
			}
			if config, err := got.ConfigName(); err != nil || config != want {
				t.Errorf("config is %s, %v", config, err)
			}
		})
	}
}

// TestOpenAsksNobodyAboutPaths gives what is no image in words that a registry's
// client would read as one of Docker Hub. The context has ended, so that asking
// would be another error.
func TestOpenAsksNobodyAboutPaths(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, source := range []string{
		"", "oci-dir:", "docker-archive:", "oci-dir", "oci-archive:x.tar", "sbom:x.json", "dir:/tmp", "dir:.", "./x", "../x", "/tmp/x.tar", "~/x.tar", ".",
		"x.tar", "build/x.tar", "x.tar.gz", "bom.json", "oci:x", "OCI:x", "pkg:npm/lodash@1.0.0", "docker:alpine:3", "registry:host.example/x:1",
		"https://registry.example.com/x:1", `C:\x.tar`, "podman:alpine",
	} {
		_, _, err := registry.Open(ended, source, image.Platform{})
		if !errs.Is(err, errs.Invalid) || !strings.Contains(errs.Hint(err), "docker-archive:PATH[:REF]") {
			t.Errorf("%q: %v of kind %s, hint %q", source, err, errs.KindOf(err), errs.Hint(err))
		}
	}
	for _, source := range []string{
		"alpine", "alpine:3.18", "registry:2", "docker:dind", "team/app", "registry.example.com/x", "registry.example.com:5000/x:1", "oci:5000/x",
		"localhost:5000/x@" + string(image.DigestOf(nil)), "alpine@" + string(image.DigestOf(nil)), "registry.example.com/x.tar:1",
	} {
		if _, _, err := registry.Open(ended, source, image.Platform{}); err == nil || errs.Is(err, errs.Invalid) {
			t.Errorf("%q was not asked for: %v", source, err)
		}
	}
}

func TestOpenRemote(t *testing.T) {
	// The registry of this machine speaks plain HTTP and asks for a password that
	// Docker has stored.
	host := serve(t)
	amd64 := vulnerable(t, v1.Platform{OS: "linux", Architecture: "amd64"})
	s390x := vulnerable(t, v1.Platform{OS: "linux", Architecture: "s390x"})
	index, err := sampleimage.Index(true, amd64, s390x)
	must(t, err)
	pushIndex(t, host+"/shop/web:1.0", index)
	config := writeConfig(t, object{"auths": object{host: object{"username": user, "password": password}}})
	t.Setenv("DOCKER_CONFIG", filepath.Dir(config))

	_, got, err := registry.Open(t.Context(), host+"/shop/web:1.0", image.Platform{Architecture: "s390x"})
	must(t, err)
	want := image.Reference{Registry: host, Repository: "shop/web", Tag: "1.0", Digest: digestOf(t, s390x)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	pushed := host + "/shop/single:1.0"
	push(t, pushed, amd64)
	_, _, err = registry.Open(t.Context(), pushed, image.Platform{OS: "linux", Architecture: "arm64"})
	if !errs.Is(err, errs.NotFound) || !strings.Contains(errs.Hint(err), "linux/amd64") {
		t.Errorf("an only image of another platform: %v, hint %q", err, errs.Hint(err))
	}

	_, got, err = registry.Open(t.Context(), "alias.example.com/shop/web:1.0", image.Platform{Architecture: "amd64"}, local(host))
	must(t, err)
	if got.Digest != digestOf(t, amd64) {
		t.Errorf("with settings: %s", got)
	}

	for source, kind := range map[string]errs.Kind{
		host + "/shop/web:2.0": errs.NotFound,
		"Not A Reference":      errs.Invalid,
	} {
		if _, _, err := registry.Open(t.Context(), source, image.Platform{}); errs.KindOf(err) != kind {
			t.Errorf("%s: %v of kind %s", source, err, errs.KindOf(err))
		}
	}
}

func TestOpenWithoutPassword(t *testing.T) {
	r, err := localregistry.Start(t.Context(), localregistry.Config{})
	must(t, err)
	t.Cleanup(func() { _ = r.Close(context.Background()) })
	img := vulnerable(t, v1.Platform{})
	push(t, r.Host()+"/a:b", img)
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	if _, got, err := registry.Open(t.Context(), r.Host()+"/a:b", image.Platform{}); err != nil || got.Digest != digestOf(t, img) {
		t.Errorf("Open returned %s, %v", got, err)
	}
}
