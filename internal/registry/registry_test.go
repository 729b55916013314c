package registry_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"golang.org/x/sync/errgroup"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/localregistry"
	"github.com/tidewaiter/tidewaiter/internal/registry"
	"github.com/tidewaiter/tidewaiter/internal/sampleimage"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

const (
	user     = "ci"
	password = "s3cret:with-colon"
)

// serve starts a real registry that asks for the password.
func serve(t *testing.T) string {
	t.Helper()
	r, err := localregistry.Start(t.Context(), localregistry.Config{Username: user, Password: password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = r.Close(ctx)
	})
	return r.Host()
}

func client(t *testing.T, settings ...registry.Settings) *registry.Client {
	t.Helper()
	c, err := registry.New(settings)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// local is a registry under a name of its own that is reached at host.
func local(host string) registry.Settings {
	return registry.Settings{
		Name: "test", Host: "registry.example.com", Aliases: []string{"alias.example.com"}, Endpoint: host, PlainHTTP: true,
		Auth: registry.Auth{Username: user, Password: password},
	}
}

func ref(t *testing.T, s string) image.Reference {
	t.Helper()
	r, err := image.ParseReference(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func tag(t *testing.T, s string) name.Tag {
	t.Helper()
	r, err := name.NewTag(s, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func login() remote.Option {
	return remote.WithAuth(&authn.Basic{Username: user, Password: password})
}

func push(t *testing.T, to string, img v1.Image) image.Digest {
	t.Helper()
	if err := remote.Write(tag(t, to), img, login(), remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
	d, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return image.Digest(d.String())
}

func pushIndex(t *testing.T, to string, index v1.ImageIndex) image.Digest {
	t.Helper()
	if err := remote.WriteIndex(tag(t, to), index, login(), remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
	d, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return image.Digest(d.String())
}

func vulnerable(t *testing.T, p v1.Platform) v1.Image {
	t.Helper()
	c := sampleimage.VulnerableContent()
	c.Platform = p
	img, err := sampleimage.Build(c)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestResolveImage(t *testing.T) {
	host := serve(t)
	img := vulnerable(t, v1.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"})
	digest := push(t, host+"/shop/web:1.0", img)
	c := client(t, local(host))
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	want := scan.Manifest{
		Digest:       digest,
		MediaType:    image.MediaTypeOCIManifest,
		Kind:         image.KindImage,
		Platform:     image.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"},
		ConfigDigest: image.Digest(manifest.Config.Digest.String()),
	}
	want.Created = config.Created.Time
	if want.Size, err = img.Size(); err != nil {
		t.Fatal(err)
	}
	instructions := []string{
		"ADD rootfs.tar.xz / # buildkit",
		"RUN npm install --global express@4.17.1 lodash@4.17.15 minimist@1.2.0 node-fetch@2.6.0 # buildkit",
		"RUN pip install Django@3.2.0 Jinja2@2.11.2 PyYAML@5.3 requests@2.25.0 urllib3@1.26.4 # buildkit",
		"COPY /out/ /usr/local/bin/ # buildkit",
		"COPY target/lib/*.jar /opt/app/lib/ # buildkit",
	}
	for i, l := range manifest.Layers {
		want.ContentSize += l.Size
		want.Layers = append(want.Layers, scan.Layer{
			Digest: image.Digest(l.Digest.String()), DiffID: image.Digest(config.RootFS.DiffIDs[i].String()),
			MediaType: "application/vnd.oci.image.layer.v1.tar+gzip", Size: l.Size, CreatedBy: instructions[i],
		})
	}
	for _, by := range []string{
		"registry.example.com/shop/web:1.0",
		"alias.example.com/shop/web:1.0",
		"registry.example.com/shop/web@" + string(digest),
	} {
		got, err := c.Resolve(t.Context(), ref(t, by))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", by, diff)
		}
	}
}

func TestImageIsWhatWasPushed(t *testing.T) {
	host := serve(t)
	digest := push(t, host+"/shop/web:1.0", vulnerable(t, v1.Platform{}))
	img, err := client(t, local(host)).Image(t.Context(), ref(t, "registry.example.com/shop/web@"+string(digest)))
	if err != nil {
		t.Fatal(err)
	}
	// Reads every layer and compares digests, sizes and diffIDs.
	if err := validate.Image(img); err != nil {
		t.Error(err)
	}
}

func TestResolveIndex(t *testing.T) {
	host := serve(t)
	amd64 := vulnerable(t, v1.Platform{OS: "linux", Architecture: "amd64"})
	arm64 := vulnerable(t, v1.Platform{OS: "linux", Architecture: "arm64"})
	index, err := sampleimage.Index(true, amd64, arm64)
	if err != nil {
		t.Fatal(err)
	}
	digest := pushIndex(t, host+"/shop/web:1.0", index)
	got, err := client(t, local(host)).Resolve(t.Context(), ref(t, "registry.example.com/shop/web:1.0"))
	if err != nil {
		t.Fatal(err)
	}
	type child struct {
		Kind     image.Kind
		Platform string
		Layers   int
	}
	var children []child
	for _, m := range got.Children {
		children = append(children, child{m.Kind, m.Platform.String(), len(m.Layers)})
	}
	want := []child{
		{image.KindImage, "linux/amd64", 5},
		{image.KindAttestation, "unknown/unknown", 0},
		{image.KindImage, "linux/arm64", 5},
		{image.KindAttestation, "unknown/unknown", 0},
	}
	if diff := cmp.Diff(want, children); diff != "" {
		t.Error(diff)
	}
	if got.Kind != image.KindIndex || got.Digest != digest || len(got.Runnable()) != 2 {
		t.Errorf("root is %s %s with %d images", got.Kind, got.Digest, len(got.Runnable()))
	}
	for _, m := range got.Runnable() {
		if m.Layers[0].DiffID == "" || m.ContentSize == 0 || m.ConfigDigest == "" {
			t.Errorf("child %s is not filled in: %+v", m.Digest, m)
		}
	}
}

func TestResolveOtherArtifacts(t *testing.T) {
	host := serve(t)
	chart, err := sampleimage.HelmChart()
	if err != nil {
		t.Fatal(err)
	}
	bill, err := sampleimage.WithSubject(mutate.ConfigMediaType(chart, "application/spdx+json"), vulnerable(t, v1.Platform{}))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		img  v1.Image
		kind image.Kind
	}{
		{"chart", chart, image.KindHelmChart},
		{"sbom", bill, image.KindSBOMFile},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			digest := push(t, host+"/other/"+tt.name+":1", tt.img)
			c := client(t, local(host))
			got, err := c.Resolve(t.Context(), ref(t, "registry.example.com/other/"+tt.name+":1"))
			if err != nil {
				t.Fatal(err)
			}
			if got.Kind != tt.kind || len(got.Runnable()) != 0 {
				t.Errorf("kind is %s with %d images", got.Kind, len(got.Runnable()))
			}
			_, err = c.Image(t.Context(), ref(t, "registry.example.com/other/"+tt.name+"@"+string(digest)))
			if !errs.Is(err, errs.Unsupported) {
				t.Errorf("opened as an image: %v", err)
			}
		})
	}
}

func TestManyAtOnce(t *testing.T) {
	host := serve(t)
	digest := push(t, host+"/shop/web:1.0", vulnerable(t, v1.Platform{}))
	c := client(t, local(host))
	var group errgroup.Group
	for range 16 {
		group.Go(func() error {
			m, err := c.Resolve(t.Context(), ref(t, "registry.example.com/shop/web:1.0"))
			if err != nil {
				return err
			}
			if m.Digest != digest {
				return fmt.Errorf("resolved to %s", m.Digest)
			}
			return readLayers(t, c, digest)
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}

func TestErrorsOfARealRegistry(t *testing.T) {
	host := serve(t)
	digest := push(t, host+"/shop/web:1.0", vulnerable(t, v1.Platform{}))
	if err := remote.Delete(tag(t, host+"/shop/web:1.0").Digest(string(digest)), login()); err != nil {
		t.Fatal(err)
	}
	wrong := local(host)
	wrong.Auth.Password = "guess"
	anonymous := local(host)
	anonymous.Auth = registry.Auth{}
	tls := local(host)
	tls.PlainHTTP = false
	tests := []struct {
		name     string
		settings registry.Settings
		ref      string
		kind     errs.Kind
		hint     string
	}{
		{"vanished tag", local(host), "registry.example.com/shop/web:1.0", errs.NotFound, ""},
		{"vanished digest", local(host), "registry.example.com/shop/web@" + string(digest), errs.NotFound, ""},
		{"unknown repository", local(host), "registry.example.com/no/such:1.0", errs.NotFound, ""},
		{"host that is not configured", local(host), host + "/shop/web:1.0", errs.Invalid, "add it to the configuration's registries, as host or alias"},
		{"wrong password", wrong, "registry.example.com/shop/web:1.0", errs.Unauthorized, "check auth of registry test"},
		{"no password", anonymous, "registry.example.com/shop/web:1.0", errs.Unauthorized, "check auth of registry test"},
		{"TLS with a registry that has none", tls, "registry.example.com/shop/web:1.0", errs.Unavailable, "if it is meant to be without TLS, set plain_http of registry test"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := client(t, tt.settings).Resolve(t.Context(), ref(t, tt.ref))
			if errs.KindOf(err) != tt.kind || errs.Hint(err) != tt.hint {
				t.Errorf("Resolve returned %v of kind %s with hint %q", err, errs.KindOf(err), errs.Hint(err))
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	tests := []struct {
		name     string
		settings []registry.Settings
	}{
		{"no host", []registry.Settings{{}}},
		{"host with a path", []registry.Settings{{Host: "example.com/path"}}},
		{"two registries of one host", []registry.Settings{{Host: "a.example.com"}, {Host: "b.example.com", Aliases: []string{"A.example.com:443"}}}},
		{"missing CA file", []registry.Settings{{Host: "a.example.com", CAFile: "/no/such/file"}}},
		{"CA file without a certificate", []registry.Settings{{Host: "a.example.com", CAFile: "registry_test.go"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := registry.New(tt.settings); !errs.Is(err, errs.Invalid) {
				t.Errorf("New returned %v", err)
			}
		})
	}
}

func TestLookup(t *testing.T) {
	c := client(t, registry.Settings{Name: "hub", Host: "docker.io"}, registry.Settings{Name: "shop", Host: "Registry.example.com:443", Aliases: []string{"r2:5000"}})
	for host, want := range map[string]string{
		"index.docker.io": "hub", "registry-1.docker.io": "hub", "docker.io": "hub",
		"registry.EXAMPLE.com": "shop", "R2:5000": "shop", "r2": "", "evil.example.com": "", "": "",
	} {
		got, ok := c.Lookup(host)
		if got.Name != want || ok != (want != "") {
			t.Errorf("Lookup(%q) is %q, %v", host, got.Name, ok)
		}
	}
}
