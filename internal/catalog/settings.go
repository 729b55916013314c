package catalog

import (
	"github.com/anchore/syft/syft"
	"github.com/anchore/syft/syft/cataloging"
)

// settings are those of the grype command line at its defaults, so that our
// findings equal its own, with three differences that do not change which
// packages are found:
//
//   - nothing is written down per file, which takes time and is not matched on;
//   - packages without a version are kept, so that people find them, under the
//     version UNKNOWN that syft itself gives them and that grype matches with
//     nothing; grype's own cataloguing drops them, see run;
//   - the document does not carry syft's configuration, which names paths of
//     this machine.
//
// Raise settingsVersion when anything here changes.
func settings(parallelism int) *syft.CreateSBOMConfig {
	c := syft.DefaultCreateSBOMConfig().
		WithTool("syft", syftVersion).
		WithParallelism(parallelism).
		WithoutFiles()
	// Which functions a Go program contains decides about its findings.
	c.Packages.Golang = c.Packages.Golang.WithCaptureSymbols(cataloging.SymbolScopeAll)
	archives := cataloging.DefaultArchiveSearchConfig()
	c.Packages.JavaArchive.IncludeIndexedArchives = archives.IncludeIndexedArchives
	c.Packages.JavaArchive.IncludeUnindexedArchives = archives.IncludeUnindexedArchives
	c.Compliance.MissingVersion = cataloging.ComplianceActionStub
	c.Relationships.PackageFileOwnership = false
	c.Unknowns.IncludeExecutablesWithoutPackages = false
	c.Unknowns.IncludeUnexpandedArchives = false
	return c
}

// dropping are the settings with grype's own treatment of packages without a
// version.
func dropping(c *syft.CreateSBOMConfig) *syft.CreateSBOMConfig {
	c.Compliance.MissingVersion = cataloging.ComplianceActionDrop
	return c
}
