package webhook

import (
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
)

const (
	defaultMaxBody = 1 << 20
	// largestMaxBody is what GitHub documents as the largest of all senders.
	largestMaxBody = 25 << 20
)

// Endpoint is the door of one configured registry.
type Endpoint struct {
	// Registry is the configured name of the registry and the URL segment.
	Registry string
	// Host is the registry's host; it is always where we connect, whatever a
	// payload says.
	Host string
	// Aliases are further names under which the registry speaks of itself.
	Aliases []string
	// Format is one of Formats. Nothing in a request changes it.
	Format string
	Auth   Auth
	// Source is the name the sender has for the repository manager's repository
	// that this registry is (Nexus, Artifactory); events of others are ignored as
	// another registry's. Empty takes all.
	Source string
	// RepositoryPrefix says what stands before names of the payload in image
	// references: PrefixNone, PrefixSource, a path of its own, or empty for what
	// is usual for the format (Nexus, Artifactory).
	RepositoryPrefix string
	// MaxBody is the largest body in bytes; 0 stands for 1 MiB.
	MaxBody int64
}

// The words of RepositoryPrefix.
const (
	PrefixNone   = "none"
	PrefixSource = "source" // the sender's own repository name
)

// registryName keeps names out of trouble in URLs, metric labels and logs.
var registryName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// Validate checks the whole endpoint. The error is of kind Invalid and names
// the endpoint and the field; it never holds a secret.
func (e Endpoint) Validate() error {
	if !registryName.MatchString(e.Registry) {
		return errs.New(errs.Invalid, "webhook: registry: name %.150q cannot be part of a URL", e.Registry).
			WithHint("use letters, digits, dot, dash and underscore, at most 128")
	}
	for _, check := range []func() error{e.validateHosts, e.validateFormat, e.validateMaxBody} {
		if err := check(); err != nil {
			return errs.Op("webhook: endpoint "+e.Registry, err)
		}
	}
	return nil
}

func (e Endpoint) validateHosts() error {
	if err := validateHost("host", e.Host); err != nil {
		return err
	}
	for _, alias := range e.Aliases {
		if err := validateHost("aliases", alias); err != nil {
			return err
		}
	}
	return nil
}

func validateHost(field, host string) error {
	if host == "" {
		return errs.New(errs.Invalid, "%s: is empty", field)
	}
	if _, err := name.NewRegistry(host, name.StrictValidation); err != nil || strings.ContainsAny(host, "/@ ") {
		return errs.New(errs.Invalid, "%s: %.300q is not host or host:port", field, host).
			WithHint("write it without scheme and path, as in registry.example:5000")
	}
	return nil
}

func (e Endpoint) validateFormat() error {
	if all := e.FormatProblems(); len(all) > 0 {
		return all[0]
	}
	return nil
}

// FormatProblems lists everything that is wrong with Format and Auth. Each error
// is of kind Invalid and begins with the name of the field, as "auth.header: ".
func (e Endpoint) FormatProblems() []error {
	var all []error
	f, known := findFormat(e.Format)
	if !known {
		all = append(all, errs.New(errs.Invalid, "format: %.80q is not known", e.Format).
			WithHint("use one of: %s", strings.Join(Formats(), ", ")))
	}
	all = append(all, e.Auth.problems()...)
	if known && e.Auth.knownKind() && !slices.Contains(f.kinds, e.Auth.Kind) {
		all = append(all, errs.New(errs.Invalid, "auth.kind: %s senders cannot do %s", f.name, e.Auth.Kind).
			WithHint("use one of: %s", strings.Join(f.kinds, ", ")))
	}
	return append(all, e.sourceProblems(f)...)
}

var pathPattern = regexp.MustCompile(`^[a-z0-9._/-]{1,200}$`)

func (e Endpoint) sourceProblems(f format) []error {
	var all []error
	if e.Source != "" && !f.manager {
		all = append(all, errs.New(errs.Invalid, "source: has no meaning for format %s", e.Format))
	}
	switch {
	case e.RepositoryPrefix == "":
	case !f.manager:
		all = append(all, errs.New(errs.Invalid, "repository_prefix: has no meaning for format %s", e.Format))
	case !pathPattern.MatchString(e.RepositoryPrefix):
		all = append(all, errs.New(errs.Invalid, "repository_prefix: %.80q is neither none, source nor a path", e.RepositoryPrefix))
	}
	return all
}

func (e Endpoint) validateMaxBody() error {
	if e.MaxBody < 0 || e.MaxBody > largestMaxBody {
		return errs.New(errs.Invalid, "max_body: %d is not between 0 and %d bytes", e.MaxBody, largestMaxBody)
	}
	return nil
}

func (e Endpoint) maxBody() int64 {
	if e.MaxBody == 0 {
		return defaultMaxBody
	}
	return e.MaxBody
}

func (e Endpoint) canonicalHost() string { return image.CanonicalHost(e.Host) }

// answersTo reports whether host, in canonical form, is one of the endpoint's
// names.
func (e Endpoint) answersTo(host string) bool {
	if e.canonicalHost() == host {
		return true
	}
	return slices.ContainsFunc(e.Aliases, func(alias string) bool { return image.CanonicalHost(alias) == host })
}
