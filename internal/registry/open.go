package registry

import (
	"context"
	"net"
	"os"
	"runtime"
	"sort"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

const (
	ociDir        = "oci-dir"
	dockerArchive = "docker-archive"
)

// Open finds one image for a scan without a server. source is "oci-dir:PATH" or
// "oci-dir:PATH:REF" for an OCI layout, "docker-archive:PATH" for a file that
// docker save wrote, or else a registry reference. Where there are images for
// several platforms, platform chooses; empty means this machine's architecture
// under Linux. Layers are read under ctx.
//
// A registry is reached with the matching entry of settings; without one, with
// the credential that Docker or Podman has for it, and over plain HTTP only on
// this machine and only when it speaks no TLS.
//
// The reference returned names what was opened: by digest, but an archive's
// image by its tag. That of a file has the kind of source for a registry.
func Open(ctx context.Context, source string, platform image.Platform, settings ...Settings) (v1.Image, image.Reference, error) {
	kind, path, _ := strings.Cut(source, ":")
	var img v1.Image
	var ref image.Reference
	var err error
	switch kind {
	case ociDir:
		img, ref, err = openLayout(path, platform)
	case dockerArchive:
		img, ref, err = openArchive(path)
	default:
		img, ref, err = openRemote(ctx, source, platform, settings)
	}
	return img, ref, errs.Op("registry: open "+source, err)
}

func openRemote(ctx context.Context, source string, platform image.Platform, settings []Settings) (v1.Image, image.Reference, error) {
	ref, err := image.ParseReference(source)
	if err != nil {
		return nil, image.Reference{}, err
	}
	c, m, err := reach(ctx, ref, settings)
	if err != nil {
		return nil, image.Reference{}, err
	}
	chosen, err := choose(m, platform)
	if err != nil {
		return nil, image.Reference{}, err
	}
	ref.Digest = chosen.Digest
	img, err := c.Image(ctx, ref)
	return img, ref, err
}

// reach resolves the reference with the settings of its registry, or as people
// expect of a command line.
func reach(ctx context.Context, ref image.Reference, settings []Settings) (*Client, scan.Manifest, error) {
	c, err := New(settings)
	if err != nil {
		return nil, scan.Manifest{}, err
	}
	if _, ok := c.Lookup(ref.Registry); ok {
		m, err := c.Resolve(ctx, ref)
		return c, m, err
	}
	s := Settings{Host: ref.Registry, Auth: Auth{keychain: authn.DefaultKeychain}}
	if c, err = New([]Settings{s}); err != nil {
		return nil, scan.Manifest{}, err
	}
	m, err := c.Resolve(ctx, ref)
	if errs.Is(err, errs.Unavailable) && isThisMachine(ref.Registry) {
		s.PlainHTTP = true
		if plain, plainErr := New([]Settings{s}); plainErr == nil {
			c = plain
			m, err = c.Resolve(ctx, ref)
		}
	}
	return c, m, err
}

func isThisMachine(host string) bool {
	h := hostname(host)
	ip := net.ParseIP(h)
	return h == "localhost" || ip != nil && ip.IsLoopback()
}

// choose picks the image for a platform.
func choose(m scan.Manifest, platform image.Platform) (scan.Manifest, error) {
	images := m.Runnable()
	if len(images) == 0 {
		return scan.Manifest{}, errs.New(errs.Unsupported, "it is not an image but of kind %s", m.Kind)
	}
	wanted := platform
	if wanted == (image.Platform{}) {
		if len(images) == 1 {
			return images[0], nil
		}
		wanted = image.Platform{OS: "linux", Architecture: runtime.GOARCH}
	}
	var have []string
	for _, i := range images {
		if i.Platform.Matches(wanted) {
			return i, nil
		}
		have = append(have, i.Platform.String())
	}
	sort.Strings(have)
	return scan.Manifest{}, errs.New(errs.NotFound, "there is no image for %s", wanted).WithHint("choose a platform of %s", strings.Join(have, ", "))
}

// checkPath turns an operating system's refusal into words.
func checkPath(path string) error {
	_, err := os.Stat(path)
	switch {
	case os.IsNotExist(err):
		return errs.New(errs.NotFound, "%s does not exist", path)
	case err != nil:
		return errs.New(errs.Invalid, "%v", err)
	}
	return nil
}
