package match

import (
	"errors"
	"slices"
	"sync"
	"time"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/anchore/grype/grype/distro"
	"github.com/anchore/grype/grype/vulnerability"
	syft "github.com/anchore/syft/syft/pkg"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
)

// unknownDistro stands for packages of a distribution that nobody could name.
const unknownDistro = "distro:unknown"

// coverage answers what a database has data for and remembers the answers.
type coverage struct {
	reader  v6.Reader
	answers sync.Map // "distro:debian:12" -> bool
}

// missing lists, in order, what nothing can be said about: the distros and
// ecosystems of judged packages without any data, and as "version:npm" the types
// of packages that have no version to compare.
func (c *coverage) missing(inv *inventory.Inventory) ([]string, error) {
	missing := map[string]bool{}
	for _, m := range inv.Members {
		p := inv.Packages[m.Package]
		name := className(p, m)
		if name == "" || missing[name] {
			continue
		}
		ok, err := c.covers(name, p, m)
		if err != nil {
			return nil, err
		}
		if !ok {
			missing[name] = true
		}
	}
	out := make([]string, 0, len(missing))
	for name := range missing {
		out = append(out, name)
	}
	slices.Sort(out)
	return out, nil
}

// className is what a member of an inventory needs data of, in the words of
// Coverage; empty for one that its owner answers for.
func className(p inventory.Package, m inventory.Member) string {
	switch {
	case m.Excluded == inventory.ExcludedNoVersion:
		return "version:" + typeName(p.Type)
	case m.Excluded != "":
		return ""
	case !ofDistribution(syft.Type(p.Type)):
		return "ecosystem:" + typeName(p.Type)
	case p.Distro.String() == "":
		return unknownDistro
	}
	return "distro:" + p.Distro.String()
}

func typeName(t string) string {
	if t == "" || t == string(syft.UnknownPkg) {
		return "unknown"
	}
	return t
}

// covers reports whether something can be said of a member of the class.
func (c *coverage) covers(name string, p inventory.Package, m inventory.Member) (bool, error) {
	switch {
	case m.Excluded != "" || name == unknownDistro:
		return false, nil
	case ofDistribution(syft.Type(p.Type)):
		return c.ask(name, func() (bool, error) { return c.hasDistro(p.Distro) })
	}
	ok, err := c.ask(name, func() (bool, error) { return c.hasEcosystem(p.Type) })
	if ok || err != nil || !namedByCPE(syft.Type(p.Type)) || withoutCPE(p) {
		return ok, err
	}
	return c.ask("cpe", c.hasCPEs)
}

// namedByCPE reports whether the CPEs of packages of the type are those that the
// National Vulnerability Database uses. Grype searches by CPE whatever type has
// no matcher of its own, but for most of them the CPE is a guess from the name:
// that nothing is found under it says nothing.
func namedByCPE(t syft.Type) bool {
	switch t {
	case syft.BinaryPkg, syft.LinuxKernelPkg, syft.WordpressPluginPkg:
		return true
	}
	return false
}

// withoutCPE reports whether a package has no CPE to be searched by. One that
// stands for its type alone, without a name, is taken to have one.
func withoutCPE(p inventory.Package) bool { return p.Name != "" && len(p.CPEs) == 0 }

func (c *coverage) ask(name string, covered func() (bool, error)) (bool, error) {
	if known, ok := c.answers.Load(name); ok {
		return known.(bool), nil
	}
	ok, err := covered()
	if err != nil {
		return false, errs.Wrap(errs.Internal, "match: coverage of "+name, err)
	}
	c.answers.Store(name, ok)
	return ok, nil
}

// hasDistro asks for any record about a package of the distro, with grype's
// aliases (CentOS stands on Red Hat's data). AlmaLinux's own records only take
// findings away; the findings are Red Hat's. Where the database lacks the
// release, grype searches its neighbours: what comes of that is a guess, not
// data.
func (c *coverage) hasDistro(stored *inventory.Distro) (bool, error) {
	d := toDistro(stored)
	if d.Type == distro.AlmaLinux {
		d.Type = distro.RedHat
	}
	spec := v6.OSSpecifier{
		Name: d.Name(), MajorVersion: d.MajorVersion(), MinorVersion: d.MinorVersion(),
		RemainingVersion: d.RemainingVersion(), LabelVersion: d.LabelVersion(),
	}
	if known, err := c.knowsRelease(spec); !known || err != nil {
		return false, err
	}
	return c.has(nil, &spec)
}

// knowsRelease reports whether the database has the release itself, or the
// major release as a whole.
func (c *coverage) knowsRelease(spec v6.OSSpecifier) (bool, error) {
	exact := spec
	exact.DisableFallback = true
	found, err := c.reader.GetOperatingSystems(exact)
	if err != nil || len(found) > 0 {
		return len(found) > 0, err
	}
	found, err = c.reader.GetOperatingSystems(spec)
	return slices.ContainsFunc(found, func(os v6.OperatingSystem) bool { return os.MinorVersion == "" }), err
}

// hasEcosystem asks for any record about a package of the type outside of
// distributions.
func (c *coverage) hasEcosystem(packageType string) (bool, error) {
	if typeName(packageType) == "unknown" {
		return false, nil
	}
	return c.has(&v6.PackageSpecifier{Ecosystem: packageType}, v6.NoOSSpecified)
}

func (c *coverage) has(p *v6.PackageSpecifier, os *v6.OSSpecifier) (bool, error) {
	found, err := c.reader.GetAffectedPackages(p, &v6.GetPackageOptions{OSs: v6.OSSpecifiers{os}, Limit: 1})
	switch {
	case errors.Is(err, v6.ErrLimitReached):
		return true, nil
	case errors.Is(err, v6.ErrOSNotPresent), errors.Is(err, v6.ErrMissingOSIdentification):
		return false, nil
	}
	return len(found) > 0, err
}

func (c *coverage) hasCPEs() (bool, error) {
	found, err := c.reader.GetAffectedCPEs(nil, &v6.GetCPEOptions{Limit: 1})
	if errors.Is(err, v6.ErrLimitReached) {
		return true, nil
	}
	return len(found) > 0, err
}

// endOfLife is the day on which support for the distro ends: as the database
// says, else as the image's os-release says, else the zero time. Where the
// database speaks of major releases only, that holds for their point releases.
func endOfLife(p vulnerability.Provider, stored *inventory.Distro) (time.Time, error) {
	d := toDistro(stored)
	if d == nil {
		return time.Time{}, nil
	}
	major := distro.New(d.Type, d.MajorVersion(), d.Codename)
	for _, asked := range []*distro.Distro{d, major} {
		end, err := recordedEnd(p, asked)
		if err != nil {
			return time.Time{}, errs.Wrap(errs.Internal, "match: end of life of "+stored.String(), err)
		}
		if end != nil {
			return end.UTC(), nil
		}
	}
	if d.SupportEnd != nil {
		return d.SupportEnd.UTC(), nil
	}
	return time.Time{}, nil
}

func recordedEnd(p vulnerability.Provider, d *distro.Distro) (*time.Time, error) {
	checker, ok := p.(vulnerability.EOLChecker)
	if !ok || d.MajorVersion() == "" {
		return nil, nil
	}
	end, _, err := checker.GetOperatingSystemEOL(d)
	return end, err
}
