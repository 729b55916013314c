package catalog

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"syscall"

	"github.com/anchore/syft/syft/artifact"
	"github.com/anchore/syft/syft/cataloging/pkgcataloging"
	"github.com/anchore/syft/syft/cpe"
	"github.com/anchore/syft/syft/file"
	"github.com/anchore/syft/syft/pkg"
	cpes "github.com/anchore/syft/syft/pkg/cataloger/common/cpe"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// rememberer is a cataloger that runs only when it would find something else than
// in an image before.
//
// What a cataloger finds depends on nothing but the answers it gets, and an
// answer names files by their path and their layer's digest, which is also their
// content. So when all questions it once asked have the answers they had then, it
// would ask the same questions again and find the same.
type rememberer struct {
	maker
	config pkgcataloging.Config
	memory *memory
	count  *Metrics
}

// Name is the cataloger's.
func (c *rememberer) Name() string { return c.name }

// Catalog recalls or runs.
func (c *rememberer) Catalog(ctx context.Context, asked file.Resolver) ([]pkg.Package, []artifact.Relationship, error) {
	r, ours := asked.(*resolver)
	if !ours {
		packages, edges, err := c.make(c.config).Catalog(ctx, asked)
		return c.finish(packages), edges, err
	}
	if known := c.memory.recall(c.name, r); known != nil {
		c.count.asked("recalled")
		return r.hand(clonePackages(known.packages)), slices.Clone(known.edges), known.err
	}
	c.count.asked("run")
	w := newWatched(r, c.name)
	packages, edges, err := c.make(c.config).Catalog(ctx, w)
	packages = c.finish(packages)
	if isFull(err) {
		_ = r.budget.fail(errs.New(errs.Unavailable, "unpack archives: %v", syscall.ENOSPC).WithHint("check room of the directory for temporary files"))
	}
	if ctx.Err() == nil {
		// Errors that do not end the whole image are about content, which syft could
		// make nothing of, and are the same each time.
		r.learn(&lesson{cataloger: c.name, questions: w.questions, packages: clonePackages(packages), edges: slices.Clone(edges), err: err})
	}
	return r.hand(packages), edges, err
}

// isFull reports whether a cataloger could not unpack something for want of room,
// which it takes for the content's fault. The errors in between do not all tell
// what they are made of.
func isFull(err error) bool {
	return err != nil && (errors.Is(err, syscall.ENOSPC) || strings.Contains(err.Error(), syscall.ENOSPC.Error()))
}

// finish does what syft does with what its catalogers find, so that it is
// remembered as well.
func (c *rememberer) finish(packages []pkg.Package) []pkg.Package {
	for i := range packages {
		p := &packages[i]
		if p.FoundBy == "" {
			p.FoundBy = c.name
		}
		p.CPEs = withCPEs(*p)
		if p.Language == "" {
			p.Language = pkg.LanguageFromPURL(p.PURL)
		}
		p.Licenses = withoutContents(p.Licenses)
	}
	return packages
}

// withCPEs adds the names a package may have in the CPE dictionary, or those made
// up for it, unless it has one that somebody stated.
func withCPEs(p pkg.Package) []cpe.CPE {
	if slices.ContainsFunc(p.CPEs, func(known cpe.CPE) bool { return known.Source != cpe.GeneratedSource }) {
		return p.CPEs
	}
	more, ok := cpes.DictionaryFind(p)
	if !ok {
		more = cpes.Generate(p)
	}
	return append(p.CPEs, more...)
}

// withoutContents leaves the texts of licenses out, as syft's settings have it.
func withoutContents(set pkg.LicenseSet) pkg.LicenseSet {
	if set.Empty() {
		return set
	}
	all := set.ToSlice()
	for i := range all {
		all[i].Contents = ""
	}
	return pkg.NewLicenseSet(all...)
}

// clonePackages copies packages as far as syft changes them afterwards.
func clonePackages(packages []pkg.Package) []pkg.Package {
	out := slices.Clone(packages)
	for i := range out {
		p := &out[i]
		p.CPEs = slices.Clone(p.CPEs)
		p.Locations = cloneLocations(p.Locations)
		licenses := p.Licenses.ToUnorderedSlice()
		for j := range licenses {
			licenses[j].Locations = cloneLocations(licenses[j].Locations)
		}
		p.Licenses = pkg.NewLicenseSet(licenses...)
	}
	return out
}

func cloneLocations(set file.LocationSet) file.LocationSet {
	if set.Empty() {
		return file.LocationSet{}
	}
	all := set.ToUnorderedSlice()
	for i := range all {
		all[i].Annotations = maps.Clone(all[i].Annotations)
	}
	return file.NewLocationSet(all...)
}
