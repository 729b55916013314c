package image

import (
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// Reference names an image: a registry host, a repository in it, and a tag, a
// digest or both.
type Reference struct {
	Registry   string // host[:port], canonical as CanonicalHost makes it
	Repository string // without the host
	Tag        string // empty when only a digest is named
	Digest     Digest // empty when only a tag is named
}

var tagPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)

// IsTag reports whether s can be a tag (OCI distribution-spec, "Pulling
// manifests").
func IsTag(s string) bool { return tagPattern.MatchString(s) }

var repositoryPattern = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)

// IsRepository reports whether s can be a repository's name (OCI
// distribution-spec, "Pulling manifests"). What is one has no path segment with
// a meaning of its own, as "..", and is safe in a URL.
func IsRepository(s string) bool { return len(s) <= 255 && repositoryPattern.MatchString(s) }

// ParseReference reads "host/repository[:tag][@digest]". A reference without a
// tag and digest gets the tag "latest"; one without a host is Docker Hub's.
// The error is of kind Invalid.
func ParseReference(s string) (Reference, error) {
	rest, digest := s, Digest("")
	if at := strings.LastIndex(s, "@"); at >= 0 {
		d, err := ParseDigest(s[at+1:])
		if err != nil {
			return Reference{}, err
		}
		rest, digest = s[:at], d
	}
	tag, err := name.NewTag(rest, name.WithDefaultTag(""))
	if err != nil || !IsRepository(tag.RepositoryStr()) {
		return Reference{}, errs.New(errs.Invalid, "image: %.300q is not an image reference", s).
			WithHint("write it as host/repository:tag or host/repository@sha256:…")
	}
	r := Reference{
		Registry:   CanonicalHost(tag.RegistryStr()),
		Repository: tag.RepositoryStr(),
		Tag:        tag.TagStr(),
		Digest:     digest,
	}
	if r.Tag == "" && r.Digest == "" {
		r.Tag = "latest"
	}
	return r, nil
}

// ParseRepository reads "host/repository" without a tag or digest.
func ParseRepository(s string) (Reference, error) {
	repo, err := name.NewRepository(s)
	if err != nil || !IsRepository(repo.RepositoryStr()) {
		return Reference{}, errs.New(errs.Invalid, "image: %.300q is not a repository", s).
			WithHint("write it as host/repository")
	}
	return Reference{Registry: CanonicalHost(repo.RegistryStr()), Repository: repo.RepositoryStr()}, nil
}

// CanonicalHost lower-cases a registry host, drops the default port of HTTPS
// and folds Docker Hub's several names into "docker.io".
func CanonicalHost(host string) string {
	host = strings.TrimSuffix(strings.ToLower(strings.TrimSpace(host)), ":443")
	switch host {
	case "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com":
		return "docker.io"
	}
	return host
}

// Name returns "registry/repository".
func (r Reference) Name() string { return r.Registry + "/" + r.Repository }

// String returns the whole reference.
func (r Reference) String() string {
	s := r.Name()
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + string(r.Digest)
	}
	return s
}
