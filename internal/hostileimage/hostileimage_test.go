package hostileimage_test

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/tidewaiter/tidewaiter/internal/hostileimage"
	"github.com/tidewaiter/tidewaiter/internal/localregistry"
)

// unpacked is the tar of a blob.
func unpacked(t *testing.T, b hostileimage.Blob) io.Reader {
	t.Helper()
	content := b.Open()
	t.Cleanup(func() { _ = content.Close() })
	var r io.Reader = content
	var err error
	switch {
	case strings.HasSuffix(b.MediaType, "gzip"):
		r, err = gzip.NewReader(content)
	case strings.HasSuffix(b.MediaType, "zstd"):
		r, err = zstd.NewReader(content)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestLayersAreWhatTheySay(t *testing.T) {
	for _, c := range []hostileimage.Compression{hostileimage.None, hostileimage.Gzip, hostileimage.Zstd, hostileimage.Chunked, hostileimage.Stargz} {
		t.Run(string(c), func(t *testing.T) {
			b := hostileimage.Layer(hostileimage.Files("a/b", "content", "c", "d"), c)
			for range 2 { // the same every time
				sum := sha256.New()
				n, err := io.Copy(sum, b.Open())
				if err != nil || n != b.Size || "sha256:"+hex.EncodeToString(sum.Sum(nil)) != b.Digest {
					t.Errorf("%d bytes of %d, %v", n, b.Size, err)
				}
			}
			sum := sha256.New()
			r := tar.NewReader(io.TeeReader(unpacked(t, b), sum))
			var names []string
			for h, err := r.Next(); err == nil; h, err = r.Next() {
				names = append(names, h.Name)
			}
			if _, err := io.Copy(sum, unpacked(t, b)); err != nil || strings.Join(names, " ") != "a/b c" {
				t.Errorf("%q, %v", names, err)
			}
			whole := sha256.New()
			if _, err := io.Copy(whole, unpacked(t, b)); err != nil || "sha256:"+hex.EncodeToString(whole.Sum(nil)) != b.DiffID {
				t.Errorf("the diffID is wrong, %v", err)
			}
		})
	}
}

// entries reads the names of a tar, and what went wrong.
func entries(t *testing.T, b hostileimage.Blob) (sizes map[string]int64, err error) {
	t.Helper()
	sizes = map[string]int64{}
	r := tar.NewReader(unpacked(t, b))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return sizes, nil
		}
		if err != nil {
			return sizes, err
		}
		sizes[h.Name] = h.Size
	}
}

func TestTarsThatNobodyElseWrites(t *testing.T) {
	const exabyte = 1 << 60
	sizes, err := entries(t, hostileimage.Sparse(exabyte))
	if err != nil || sizes["old/package.json"] != exabyte || sizes["new/package.json"] != exabyte || sizes["newer/a.jar"] != exabyte {
		t.Errorf("sparse files are %v, %v", sizes, err)
	}
	if sizes, err = entries(t, hostileimage.Claims(exabyte)); err == nil || sizes["etc/large"] != exabyte {
		t.Errorf("a file that claims too much is %v, %v", sizes, err)
	}
	if _, err = entries(t, hostileimage.LongPAX(3<<20)); err == nil {
		t.Error("a header of 3 MiB was read")
	}
	if sizes, err = entries(t, hostileimage.LongPAX(10_000)); err != nil || len(sizes) != 1 {
		t.Errorf("a header of 10 kB: %v, %v", sizes, err)
	}
	for name, b := range map[string]hostileimage.Blob{
		"traversal": hostileimage.Traversal("/tmp/x"), "loops": hostileimage.Loops(), "devices": hostileimage.Devices(50),
		"whiteouts": hostileimage.Whiteouts(), "opaque": hostileimage.OpaqueRoot(), "entries": hostileimage.ManyEntries(3000),
		"long names": hostileimage.LongNames(100_000), "binary": hostileimage.Binary(), "twice": hostileimage.Twice(3),
		"release": hostileimage.OddRelease(tar.TypeSymlink, 0), "zip": hostileimage.ZipBomb("a.zip", 3, 1<<20),
		"jars": hostileimage.NestedJars(30), "jar": hostileimage.JarOfJars(2, 1<<20), "manifest": hostileimage.LargeManifest(1 << 20),
		"deb": hostileimage.DebPackages(100), "lock": hostileimage.LockedPackages(100), "databases": hostileimage.MalformedDatabases(),
		"entities": hostileimage.Entities(9), "endless": hostileimage.Endless(3 << 20),
	} {
		if sizes, err := entries(t, b); len(sizes) == 0 || err != nil && err != tar.ErrInsecurePath {
			t.Errorf("%s: %d entries, %v", name, len(sizes), err)
		}
	}
}

func TestPushToARealRegistry(t *testing.T) {
	r, err := localregistry.Start(t.Context(), localregistry.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close(context.Background()) })
	img := hostileimage.Over(hostileimage.Binary(), hostileimage.Zeros("z", 1<<20, hostileimage.Zstd))
	index := hostileimage.Index(false, hostileimage.On(img.Artifact(), "linux", "amd64"), hostileimage.Attestation(img.Artifact()))
	for tag, a := range map[string]hostileimage.Artifact{"image": img.Artifact(), "index": index, "nested": hostileimage.Nested(3, index), "": img.Artifact()} {
		if err := hostileimage.Push(t.Context(), r.Host(), "shop/web", tag, a); err != nil {
			t.Error(err)
		}
	}
	if err := hostileimage.Push(t.Context(), r.Host(), "shop/other", "bad", hostileimage.Over(hostileimage.Cut(hostileimage.Binary(), 0.5)).Artifact()); err == nil {
		t.Error("half a blob was taken")
	}
}

func TestRegistryServesLies(t *testing.T) {
	var r hostileimage.Registry
	honest := hostileimage.Honest()
	lie := hostileimage.Swapped(honest, hostileimage.Bytes("", make([]byte, honest.Size)))
	a := hostileimage.Image{Layers: []hostileimage.Blob{lie}}.Artifact()
	r.Put("shop/web", "1", hostileimage.Served(a, "application/vnd.example+json"))
	server := httptest.NewServer(&r)
	t.Cleanup(server.Close)
	for path, want := range map[string]int{
		"/v2/": 200, "/v2/shop/web/manifests/1": 200, "/v2/shop/web/manifests/" + a.Digest(): 200, "/v2/shop/web/blobs/" + honest.Digest: 200,
		"/v2/shop/other/manifests/1": 404, "/v2/shop/web/manifests/2": 404, "/v2/shop/web/blobs/sha256:0": 404, "/": 404,
	} {
		resp, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != want || err != nil {
			t.Errorf("%s: %s, %v", path, resp.Status, err)
		}
		if strings.Contains(path, "/blobs/") && want == 200 && int64(len(body)) != honest.Size {
			t.Errorf("%d bytes of the blob", len(body))
		}
	}
}
