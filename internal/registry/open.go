package registry

import (
	"cmp"
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
// "oci-dir:PATH:REF" for an OCI layout, "docker-archive:PATH" or
// "docker-archive:PATH:REF" for a file that docker save wrote, or else a registry
// reference. Where there are images for several platforms, platform chooses;
// empty means this machine's architecture under Linux. An only image of another
// platform than the one asked for is of kind NotFound. Layers are read under ctx.
//
// What looks like a path, or like a source of other tools, is of kind Invalid;
// it is never taken for the name of an image on Docker Hub.
//
// A registry is reached with the matching entry of settings; without one, with
// the credential that Docker or Podman has for it, and over plain HTTP only on
// this machine and only when it speaks no TLS.
//
// The reference returned names what was opened: by digest, but an archive's
// image by its tag. That of a file has the kind of source for a registry.
func Open(ctx context.Context, source string, platform image.Platform, settings ...Settings) (v1.Image, image.Reference, error) {
	img, ref, err := open(ctx, source, platform, settings)
	return img, ref, errs.Op("registry: open "+source, err)
}

func open(ctx context.Context, source string, platform image.Platform, settings []Settings) (v1.Image, image.Reference, error) {
	if err := CheckSource(source); err != nil {
		return nil, image.Reference{}, err
	}
	switch kind, path, _ := strings.Cut(source, ":"); kind {
	case ociDir:
		return openLayout(path, platform)
	case dockerArchive:
		return openArchive(path, platform)
	}
	return openRemote(ctx, source, platform, settings)
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
		if suits(i.Platform, wanted) {
			return i, nil
		}
		have = append(have, cmp.Or(i.Platform.String(), "an unknown platform"))
	}
	sort.Strings(have)
	return scan.Manifest{}, noneFor(wanted, have...)
}

// suits reports whether an image of a platform is one that is wanted. The only
// variant of arm64 is often left out.
func suits(p, wanted image.Platform) bool {
	if p.Architecture == "arm64" && p.Variant == "" {
		p.Variant = "v8"
	}
	return p.Matches(wanted)
}

func noneFor(wanted image.Platform, have ...string) error {
	return errs.New(errs.NotFound, "there is no image for %s", wanted).WithHint("choose a platform of %s", strings.Join(have, ", "))
}

// only checks that the only image of a source is for the platform that is
// wanted, if one is.
func only(img v1.Image, wanted image.Platform) error {
	if wanted == (image.Platform{}) {
		return nil
	}
	config, err := img.ConfigFile()
	if err != nil {
		return errs.New(errs.Malformed, "%s", clean(err))
	}
	p := image.Platform{OS: config.OS, Architecture: config.Architecture, Variant: config.Variant}
	if !suits(p, wanted) {
		return noneFor(wanted, cmp.Or(p.String(), "an unknown platform"))
	}
	return nil
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
