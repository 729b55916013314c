// Package inventory holds what the matcher sees of an image: the distinct
// packages by their matching inputs, who owns whom, and where each came from.
//
// It is responsible for the plain types, the fingerprints that decide what is
// "the same" for matching, and the one rule that applies an image's context to
// per-package matches. It must not read SBOMs (match does) and must not know
// any storage.
package inventory

import (
	"time"
)

// Distro is a distribution as the matcher needs it.
type Distro struct {
	Type       string     `json:"type"`
	Version    string     `json:"version,omitempty"`
	Codename   string     `json:"codename,omitempty"`
	Channels   []string   `json:"channels,omitempty"`
	IDLike     []string   `json:"id_like,omitempty"`
	SupportEnd *time.Time `json:"support_end,omitempty"`
}

// String returns "debian:12", "debian:trixie" or "debian"; "" for nil.
func (d *Distro) String() string {
	switch {
	case d == nil:
		return ""
	case d.Version != "":
		return d.Type + ":" + d.Version
	case d.Codename != "":
		return d.Type + ":" + d.Codename
	}
	return d.Type
}

// Upstream is the source package another was built from.
type Upstream struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
}

// Package is one distinct matching input: everything grype's matchers read of
// a package and nothing else, so that it can be judged again without an SBOM.
type Package struct {
	Type      string     `json:"type"`
	Name      string     `json:"name"`
	Version   string     `json:"version"`
	Language  string     `json:"language,omitempty"`
	PURL      string     `json:"purl,omitempty"`
	Distro    *Distro    `json:"distro,omitempty"` // for packages other than the OS's only its type
	Upstreams []Upstream `json:"upstreams,omitempty"`
	CPEs      []string   `json:"cpes,omitempty"` // in the SBOM's order
	RPM       *RPM       `json:"rpm,omitempty"`
	APK       *APK       `json:"apk,omitempty"`
	Java      *Java      `json:"java,omitempty"`
	JVM       *JVM       `json:"jvm,omitempty"`
	Go        *Go        `json:"go,omitempty"`
}

// RPM is what decides among rpm records.
type RPM struct {
	Epoch      *int    `json:"epoch,omitempty"`
	Modularity *string `json:"modularity,omitempty"`
	Arch       string  `json:"arch,omitempty"`
}

// APK is what decides among apk records.
type APK struct {
	Arch string `json:"arch,omitempty"`
}

// Java names an artifact as Maven does.
type Java struct {
	GroupID      string `json:"group_id,omitempty"`
	ArtifactID   string `json:"artifact_id,omitempty"`
	ManifestName string `json:"manifest_name,omitempty"`
}

// JVM is the release file of a Java runtime.
type JVM struct {
	JavaRuntimeVersion string `json:"java_runtime_version,omitempty"`
	JavaVersion        string `json:"java_version,omitempty"`
	FullVersion        string `json:"full_version,omitempty"`
	SemanticVersion    string `json:"semantic_version,omitempty"`
}

// Go is what decides about packages found in a Go binary.
type Go struct {
	MainModule string `json:"main_module,omitempty"`
	// Symbols maps import paths to the functions linked in; nil when symbols
	// were not captured. A path with an empty list is present.
	Symbols map[string][]string `json:"symbols,omitempty"`
}

// Member is a distinct (package, set of owners) of an inventory. The same
// package may stand in two members, one owned and one free.
type Member struct {
	// Package and Owners are indexes into Inventory.Packages; Owners ascend.
	Package int   `json:"package"`
	Owners  []int `json:"owners,omitempty"`
	// Excluded says why grype leaves the package out before matching; empty
	// for a package that is judged.
	Excluded string `json:"excluded,omitempty"`
}

// The reasons a member is excluded from matching.
const (
	// ExcludedOwned: an OS package that has it on record answers for it.
	ExcludedOwned = "owned_by_os_package"
	// ExcludedNoVersion: without a version nothing can be compared.
	ExcludedNoVersion = "no_version"
	// ExcludedMainModule: the module a Go program itself is, built without
	// version control. It has no version, and it is nobody's dependency: no
	// advisory is missed by leaving it out, as with versions of others.
	ExcludedMainModule = "main_module"
)

// Location is a place in the image where a package was found.
type Location struct {
	Path string `json:"path"`
	// Layer is the diffID of the layer as the SBOM gives it; empty for
	// documents that do not say.
	Layer string `json:"layer,omitempty"`
}

// Occurrence is one package of the SBOM: which member it is and where it lies.
type Occurrence struct {
	Member    int        `json:"member"`
	ID        string     `json:"id"` // the package's id in the syft document
	Locations []Location `json:"locations,omitempty"`
	Licenses  []string   `json:"licenses,omitempty"`
}

// Inventory is the matching context of an image. Packages ascend by
// fingerprint; Members by package, then owners.
type Inventory struct {
	Distro   *Distro
	Packages []Package
	// Fingerprints are those of Packages, at the same index.
	Fingerprints []Fingerprint
	Members      []Member
	// Occurrences belong to the SBOM and not to the fingerprint.
	Occurrences []Occurrence
}

// Matchable returns the indexes of the packages that are judged: those with a
// member that is not excluded. They ascend.
func (inv *Inventory) Matchable() []int {
	wanted := make([]bool, len(inv.Packages))
	for _, m := range inv.Members {
		if m.Excluded == "" {
			wanted[m.Package] = true
		}
	}
	var out []int
	for n, w := range wanted {
		if w {
			out = append(out, n)
		}
	}
	return out
}
