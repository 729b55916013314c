package registry_test

import (
	"context"
	"os"
	"path/filepath"
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
	for source, kind := range map[string]errs.Kind{two: errs.Invalid, text: errs.Invalid, filepath.Join(dir, "none"): errs.NotFound} {
		if _, _, err := registry.Open(t.Context(), "docker-archive:"+source, image.Platform{}); errs.KindOf(err) != kind {
			t.Errorf("%s: %v of kind %s", filepath.Base(source), err, errs.KindOf(err))
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
