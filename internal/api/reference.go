package api

import (
	"context"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// bareHost stands for a host while the rest of a name is parsed. The parsers
// know it for a host, as they would not know "sboms" or "registry".
const bareHost = "localhost"

// located is a name with the configured registry it belongs to.
type located struct {
	image.Reference
	registry string
}

func (l located) ref() report.RepositoryRef {
	return report.RepositoryRef{Registry: l.registry, Name: l.Repository}
}

func (l located) target() report.Target {
	return report.Target{RepositoryRef: l.ref(), Tag: l.Tag, Digest: l.Digest}
}

// reference reads HOST/NAME:TAG or HOST/NAME@DIGEST.
func (h *handler) reference(s string) (located, error) { return h.locate(s, image.ParseReference) }

// repository reads HOST/NAME.
func (h *handler) repository(s string) (located, error) { return h.locate(s, image.ParseRepository) }

// locate parses a name and finds its registry. A first part that is a
// configured host is one even where the rules of image names would take it for
// a part of Docker Hub; "sboms" holds the uploads. The error is of kind Invalid,
// or NotFound when no registry has the host.
func (h *handler) locate(s string, parse func(string) (image.Reference, error)) (located, error) {
	first, rest, _ := strings.Cut(s, "/")
	host := image.CanonicalHost(first)
	if host == report.UploadRegistry {
		ref, err := parse(bareHost + "/" + rest)
		ref.Registry = report.UploadRegistry
		return located{ref, report.UploadRegistry}, err
	}
	if !strings.ContainsAny(first, ".:") && rest != "" {
		if registry, ok := h.Hosts(host); ok {
			ref, err := parse(bareHost + "/" + rest)
			ref.Registry = host
			return located{ref, registry}, err
		}
	}
	ref, err := parse(s)
	if err != nil {
		return located{}, err
	}
	registry, ok := h.Hosts(ref.Registry)
	if !ok {
		return located{}, errs.New(errs.NotFound, "no registry is configured for host %.200q", ref.Registry).
			WithHint("GET %s/registries lists the hosts; uploads are under sboms/", Prefix)
	}
	return located{ref, registry}, nil
}

// canonical returns the reference under the host its registry is known by, for
// the limits of tokens are written with that.
func (h *handler) canonical(ctx context.Context, l located) (image.Reference, error) {
	registries, err := h.Reader.Registries(ctx, report.Access{})
	if err != nil {
		return image.Reference{}, err
	}
	ref := l.Reference
	for _, r := range registries {
		if r.Name == l.registry {
			ref.Registry = r.Host
		}
	}
	return ref, nil
}
