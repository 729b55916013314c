package match

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/anchore/syft/syft/cpe"
)

// Grype asks for "unaffected" records beside every search, and most distros and
// ecosystems have none at all. Whether one has any is asked once; where it has
// none, the searches are answered without the database. That saves near a third
// of the time of matching and changes no answer.

// scopes remembers which distros and ecosystems have unaffected records.
type scopes struct {
	known sync.Map // scope -> bool
}

func (s *scopes) has(scope string, ask func() (int, error)) (bool, error) {
	if known, ok := s.known.Load(scope); ok {
		return known.(bool), nil
	}
	n, err := ask()
	switch {
	case errors.Is(err, v6.ErrLimitReached):
		n = 1
	case errors.Is(err, v6.ErrOSNotPresent):
		n = 0
	case err != nil:
		return false, err
	}
	s.known.Store(scope, n > 0)
	return n > 0, nil
}

// GetUnaffectedPackages returns records that take findings away from packages.
func (r *reader) GetUnaffectedPackages(p *v6.PackageSpecifier, o *v6.GetPackageOptions) ([]v6.UnaffectedPackageHandle, error) {
	if p == nil || o == nil || len(o.Vulnerabilities) > 0 {
		return r.Reader.GetUnaffectedPackages(p, o)
	}
	var whole *v6.PackageSpecifier
	if p.Ecosystem != "" {
		whole = &v6.PackageSpecifier{Ecosystem: p.Ecosystem}
	}
	some, err := r.unaffected.has(scopeOf(p.Ecosystem, o.OSs), func() (int, error) {
		found, err := r.Reader.GetUnaffectedPackages(whole, &v6.GetPackageOptions{OSs: o.OSs, Limit: 1})
		return len(found), err
	})
	if err == nil && !some {
		return nil, nil
	}
	return r.Reader.GetUnaffectedPackages(p, o)
}

// GetUnaffectedCPEs returns records that take findings away by CPE.
func (r *reader) GetUnaffectedCPEs(c *cpe.Attributes, o *v6.GetCPEOptions) ([]v6.UnaffectedCPEHandle, error) {
	some, err := r.unaffected.has("cpe", func() (int, error) {
		found, err := r.Reader.GetUnaffectedCPEs(nil, &v6.GetCPEOptions{Limit: 1})
		return len(found), err
	})
	if err == nil && !some {
		return nil, nil
	}
	return r.Reader.GetUnaffectedCPEs(c, o)
}

// scopeOf names an ecosystem within distros. The specifier's own text leaves
// out its channel.
func scopeOf(ecosystem string, distros v6.OSSpecifiers) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q", ecosystem)
	for _, d := range distros {
		if d == nil {
			b.WriteString(" any")
			continue
		}
		fmt.Fprintf(&b, " %+q", fmt.Sprintf("%#v", *d))
	}
	return b.String()
}
