package vulndb

import (
	"fmt"
	"strings"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/anchore/grype/grype/db/v6/build/transformers"
	"github.com/anchore/grype/grype/version"
	cvss20 "github.com/pandatix/go-cvss/20"
	cvss30 "github.com/pandatix/go-cvss/30"
	cvss31 "github.com/pandatix/go-cvss/31"
	cvss40 "github.com/pandatix/go-cvss/40"
)

// checkEntries refuses what grype would take into the database and trip over
// when it judges packages: a range it cannot parse makes the record vanish
// without a word, a CVSS vector it cannot parse fails the whole look-up.
func checkEntries(e *transformers.RelatedEntries) error {
	if v := e.VulnerabilityHandle; v != nil && v.BlobValue != nil {
		for _, s := range v.BlobValue.Severities {
			c, ok := s.Value.(v6.CVSSSeverity)
			if !ok {
				continue
			}
			if err := checkVector(c.Vector); err != nil {
				return err
			}
		}
	}
	for _, r := range e.Related {
		if err := checkRanges(rangesOf(r)); err != nil {
			return err
		}
	}
	return nil
}

func rangesOf(related any) []v6.Range {
	var blob *v6.PackageBlob
	switch h := related.(type) {
	case v6.AffectedPackageHandle:
		blob = h.BlobValue
	case v6.UnaffectedPackageHandle:
		blob = h.BlobValue
	case v6.AffectedCPEHandle:
		blob = h.BlobValue
	case v6.UnaffectedCPEHandle:
		blob = h.BlobValue
	case transformers.GoVulnDBAffectedPackage:
		blob = h.Handle.BlobValue
	}
	if blob == nil {
		return nil
	}
	return blob.Ranges
}

func checkRanges(ranges []v6.Range) error {
	for _, r := range ranges {
		format := version.ParseFormat(r.Version.Type)
		constraint, err := version.GetConstraint(r.Version.Constraint, format)
		if err == nil {
			err = checkComparable(constraint, format)
		}
		if err != nil {
			return fmt.Errorf("version range %q cannot be used: %w", r.Version.Constraint, err)
		}
	}
	return nil
}

// checkComparable tries a range on a version, where there is one that every
// format of its kind accepts.
func checkComparable(c version.Constraint, format version.Format) error {
	v := version.New("1.0.0", format)
	if v.Validate() != nil {
		return nil //nolint:nilerr // a format without such a version is not checked
	}
	_, err := c.Satisfied(v)
	return err
}

// checkVector parses a CVSS vector of any version.
func checkVector(vector string) (err error) {
	switch {
	case strings.HasPrefix(vector, "CVSS:4.0/"):
		_, err = cvss40.ParseVector(vector)
	case strings.HasPrefix(vector, "CVSS:3.1/"):
		_, err = cvss31.ParseVector(vector)
	case strings.HasPrefix(vector, "CVSS:3.0/"):
		_, err = cvss30.ParseVector(vector)
	default:
		_, err = cvss20.ParseVector(vector)
	}
	if err != nil {
		return fmt.Errorf("CVSS vector %q cannot be used: %w", vector, err)
	}
	return nil
}
