package match

import (
	"errors"

	"github.com/anchore/grype/grype/pkg"
	"github.com/anchore/grype/grype/version"
	syft "github.com/anchore/syft/syft/pkg"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// Satisfies reports whether a version of a package type lies in a range such as
// ">= 1.2, < 1.4 || = 2.0", compared as grype compares versions of that type. A
// version that cannot be read lies in no range. The error is of kind Invalid
// when the constraint cannot be read.
func Satisfies(packageType, v, constraint string) (bool, error) {
	format := pkg.VersionFormat(pkg.Package{Type: syft.Type(packageType)})
	c, err := version.GetConstraint(constraint, format)
	if err != nil || c == nil {
		return false, errs.Wrap(errs.Invalid, "match: version range", errors.Join(err)).(*errs.Error).
			WithHint("write a range as >= 1.2, < 1.4 || = 2.0")
	}
	ok, err := c.Satisfied(version.New(v, format))
	return ok && err == nil, nil
}

// CompareVersions orders two versions of a package type as grype does: less than
// zero when a is older than b. The error is of kind Invalid when one of them
// cannot be read.
func CompareVersions(packageType, a, b string) (int, error) {
	format := pkg.VersionFormat(pkg.Package{Type: syft.Type(packageType)})
	order, err := version.New(a, format).Compare(version.New(b, format))
	if err != nil {
		return 0, errs.Wrap(errs.Invalid, "match: compare versions", err)
	}
	return order, nil
}
