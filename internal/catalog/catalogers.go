package catalog

import (
	"github.com/anchore/syft/syft"
	"github.com/anchore/syft/syft/cataloging/pkgcataloging"
	"github.com/anchore/syft/syft/pkg"
	"github.com/anchore/syft/syft/pkg/cataloger/ai"
	"github.com/anchore/syft/syft/pkg/cataloger/alpine"
	"github.com/anchore/syft/syft/pkg/cataloger/apple"
	"github.com/anchore/syft/syft/pkg/cataloger/arch"
	"github.com/anchore/syft/syft/pkg/cataloger/binary"
	"github.com/anchore/syft/syft/pkg/cataloger/bitnami"
	"github.com/anchore/syft/syft/pkg/cataloger/cpp"
	"github.com/anchore/syft/syft/pkg/cataloger/debian"
	"github.com/anchore/syft/syft/pkg/cataloger/dotnet"
	"github.com/anchore/syft/syft/pkg/cataloger/gentoo"
	"github.com/anchore/syft/syft/pkg/cataloger/golang"
	"github.com/anchore/syft/syft/pkg/cataloger/homebrew"
	"github.com/anchore/syft/syft/pkg/cataloger/java"
	"github.com/anchore/syft/syft/pkg/cataloger/javascript"
	"github.com/anchore/syft/syft/pkg/cataloger/kernel"
	"github.com/anchore/syft/syft/pkg/cataloger/lua"
	"github.com/anchore/syft/syft/pkg/cataloger/nix"
	"github.com/anchore/syft/syft/pkg/cataloger/perl"
	"github.com/anchore/syft/syft/pkg/cataloger/php"
	"github.com/anchore/syft/syft/pkg/cataloger/python"
	"github.com/anchore/syft/syft/pkg/cataloger/r"
	"github.com/anchore/syft/syft/pkg/cataloger/redhat"
	"github.com/anchore/syft/syft/pkg/cataloger/ruby"
	"github.com/anchore/syft/syft/pkg/cataloger/rust"
	"github.com/anchore/syft/syft/pkg/cataloger/snap"
	"github.com/anchore/syft/syft/pkg/cataloger/wordpress"
)

// maker makes a cataloger of syft's.
type maker struct {
	name string
	make func(c pkgcataloging.Config) pkg.Cataloger
}

// plain is for catalogers without settings.
func plain(f func() pkg.Cataloger) func(pkgcataloging.Config) pkg.Cataloger {
	return func(pkgcataloging.Config) pkg.Cataloger { return f() }
}

// ofImages are the catalogers that syft runs on images by default. Syft has them
// in a list that it shows to nobody; a test compares the two.
var ofImages = []maker{
	{"alpm-db-cataloger", plain(arch.NewDBCataloger)},
	{"apk-db-cataloger", plain(alpine.NewDBCataloger)},
	{"dpkg-db-cataloger", plain(debian.NewDBCataloger)},
	{"portage-cataloger", plain(gentoo.NewPortageCataloger)},
	{"rpm-db-cataloger", plain(redhat.NewDBCataloger)},
	{"conan-info-cataloger", plain(cpp.NewConanInfoCataloger)},
	{"javascript-package-cataloger", plain(javascript.NewPackageCataloger)},
	{"php-composer-installed-cataloger", plain(php.NewComposerInstalledCataloger)},
	{"r-package-cataloger", plain(r.NewPackageCataloger)},
	{"ruby-installed-gemspec-cataloger", plain(ruby.NewInstalledGemSpecCataloger)},
	{"cargo-auditable-binary-cataloger", plain(rust.NewAuditBinaryCataloger)},
	{"php-pear-serialized-cataloger", plain(php.NewPearCataloger)},
	{"dotnet-deps-binary-cataloger", func(c pkgcataloging.Config) pkg.Cataloger { return dotnet.NewDotnetDepsBinaryCataloger(c.Dotnet) }},
	{"dotnet-packages-lock-cataloger", plain(dotnet.NewDotnetPackagesLockCataloger)},
	{"python-installed-package-cataloger", plain(python.NewInstalledPackageCataloger)},
	{"go-module-binary-cataloger", func(c pkgcataloging.Config) pkg.Cataloger { return golang.NewGoModuleBinaryCataloger(c.Golang) }},
	{"java-archive-cataloger", func(c pkgcataloging.Config) pkg.Cataloger { return java.NewArchiveCataloger(c.JavaArchive) }},
	{"graalvm-native-image-cataloger", plain(java.NewNativeImageCataloger)},
	{"nix-cataloger", func(c pkgcataloging.Config) pkg.Cataloger { return nix.NewCataloger(c.Nix) }},
	{"lua-rock-cataloger", plain(lua.NewPackageCataloger)},
	{"perl-cpan-installed-cataloger", plain(perl.NewCpanInstalledCataloger)},
	{"binary-classifier-cataloger", func(c pkgcataloging.Config) pkg.Cataloger { return binary.NewClassifierCataloger(c.Binary) }},
	{"elf-binary-package-cataloger", plain(binary.NewELFPackageCataloger)},
	{"pe-binary-package-cataloger", plain(binary.NewPEPackageCataloger)},
	{"java-jvm-cataloger", plain(java.NewJvmDistributionCataloger)},
	{"linux-kernel-cataloger", func(c pkgcataloging.Config) pkg.Cataloger { return kernel.NewLinuxKernelCataloger(c.LinuxKernel) }},
	{"php-interpreter-cataloger", plain(php.NewInterpreterCataloger)},
	{"bitnami-cataloger", plain(bitnami.NewCataloger)},
	{"wordpress-plugins-cataloger", plain(wordpress.NewWordpressPluginCataloger)},
	{"homebrew-cataloger", plain(homebrew.NewCataloger)},
	{"apple-app-bundle-cataloger", plain(apple.NewAppBundleCataloger)},
	{"snap-cataloger", plain(snap.NewCataloger)},
	{"gguf-cataloger", plain(ai.NewGGUFCataloger)},
	{"safetensors-cataloger", plain(ai.NewSafeTensorsCataloger)},
}

// remembering has each of these catalogers ask its memory first, and takes over
// from syft what it then does with their packages.
func (c *Cataloger) remembering(config *syft.CreateSBOMConfig) *syft.CreateSBOMConfig {
	config.DataGeneration.GenerateCPEs = false
	config.Relationships.PackageFileOwnershipOverlap = false
	config.Relationships.ExcludeBinaryPackagesWithFileOwnershipOverlap = false
	config = config.WithoutCatalogers()
	for _, m := range ofImages {
		config = config.WithCatalogers(pkgcataloging.NewCatalogerReference(
			&rememberer{maker: m, config: config.Packages, memory: c.memory, count: c.options.Metrics}, []string{pkgcataloging.ImageTag}))
	}
	return config
}
