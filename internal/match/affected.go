package match

import (
	"slices"
	"sync"

	v6 "github.com/anchore/grype/grype/db/v6"
)

// maxAffected bounds how many records a reader remembers; the memory starts anew
// when it is full. A record takes about a KiB.
const maxAffected = 20_000

// affected remembers the records about a package by its name: grype reads and
// decodes them all and then looks which versions they are about, and most
// packages come in many versions. The zero value is ready.
type affected struct {
	mu      sync.Mutex
	known   map[string][]v6.AffectedPackageHandle
	records int
}

// GetAffectedPackages returns the records about a package.
func (r *reader) GetAffectedPackages(p *v6.PackageSpecifier, o *v6.GetPackageOptions) ([]v6.AffectedPackageHandle, error) {
	if !byName(p, o) {
		return r.Reader.GetAffectedPackages(p, o)
	}
	// Grype writes aliases into the specifier it is given.
	key := p.Name + "\x00" + scopeOf(p.Ecosystem, o.OSs)
	if found, ok := r.affected.recall(key); ok {
		return found, nil
	}
	found, err := r.Reader.GetAffectedPackages(p, o)
	if err != nil {
		return found, err
	}
	return r.affected.remember(key, found), nil
}

// byName tells the search for everything about one package, without its
// vulnerabilities, from others.
func byName(p *v6.PackageSpecifier, o *v6.GetPackageOptions) bool {
	return p != nil && p.Name != "" && p.CPE == nil && o != nil && len(o.Vulnerabilities) == 0 && o.Limit == 0 && o.PreloadBlob &&
		!o.PreloadOS && !o.PreloadPackage && !o.PreloadPackageCPEs && !o.PreloadVulnerability
}

func (a *affected) recall(key string) ([]v6.AffectedPackageHandle, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	found, ok := a.known[key]
	return slices.Clone(found), ok
}

// remember keeps records and returns a list of them to work on: grype fills in
// the fields of each. What these point to is not written to.
func (a *affected) remember(key string, found []v6.AffectedPackageHandle) []v6.AffectedPackageHandle {
	a.mu.Lock()
	defer a.mu.Unlock()
	size := len(found) + 1 // that there are none is remembered, too
	if size > maxAffected/4 {
		return found
	}
	if a.known == nil || a.records+size > maxAffected {
		a.known, a.records = map[string][]v6.AffectedPackageHandle{}, 0
	}
	if _, again := a.known[key]; !again {
		a.records += size
	}
	a.known[key] = slices.Clone(found)
	return found
}
