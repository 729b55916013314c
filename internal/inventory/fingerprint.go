package inventory

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"sort"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// FingerprintVersion is part of every fingerprint. Raise it when Package gains
// a field that matchers read: stored packages then count as other packages.
const FingerprintVersion = 1

// Fingerprint is the sha256 of a matching input or of a matching context.
type Fingerprint [sha256.Size]byte

// String returns the fingerprint in hex.
func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// FingerprintOf returns the fingerprint of a package: equal for two packages
// exactly when every matcher must give the same result for both.
func FingerprintOf(p Package) Fingerprint {
	return hash(struct {
		V int
		P Package
	}{FingerprintVersion, p})
}

// Fingerprint returns the fingerprint of the matching context: distro, packages
// and ownership edges. Occurrences do not enter.
func (inv *Inventory) Fingerprint() Fingerprint {
	return hash(struct {
		V        int
		Distro   *Distro
		Packages []Fingerprint
		Members  []Member
	}{FingerprintVersion, inv.Distro, inv.Fingerprints, inv.Members})
}

// hash digests the JSON form, which encoding/json makes the same every time:
// struct fields in order, map keys sorted.
func hash(v any) Fingerprint {
	b, err := json.Marshal(v)
	if err != nil {
		// Only plain data comes here; a failure is a programming error.
		panic(errs.Wrap(errs.Internal, "inventory: fingerprint", err))
	}
	return sha256.Sum256(b)
}

// Builder collects the packages of an SBOM into an Inventory.
type Builder struct {
	distro   *Distro
	packages []Package
	prints   []Fingerprint
	excluded []string
	owners   map[int][]int
	found    []Occurrence
}

// NewBuilder starts an inventory of an image with the given distro, nil when it
// has none.
func NewBuilder(distro *Distro) *Builder {
	return &Builder{distro: distro, owners: map[int][]int{}}
}

// Add records one package of the SBOM and returns its handle for Own. excluded
// is empty for a package that is to be judged; member numbers in at are filled
// in by Build.
func (b *Builder) Add(p Package, excluded string, at Occurrence) int {
	b.packages = append(b.packages, p)
	b.prints = append(b.prints, FingerprintOf(p))
	b.excluded = append(b.excluded, excluded)
	b.found = append(b.found, at)
	return len(b.packages) - 1
}

// Own records that the package behind owner owns files of the one behind owned.
func (b *Builder) Own(owner, owned int) {
	b.owners[owned] = append(b.owners[owned], owner)
}

// Build returns the inventory with distinct packages and members in a fixed
// order, whatever the order of Add and Own. Owners that are excluded from
// matching are left out: they suppress nothing.
func (b *Builder) Build() *Inventory {
	inv := &Inventory{Distro: b.distro}
	index := b.distinctPackages(inv)
	type key struct {
		pkg      int
		owners   string
		excluded string
	}
	members := map[key]Member{}
	keys := make([]key, len(b.packages))
	for i := range b.packages {
		m := Member{Package: index[b.prints[i]], Owners: b.ownersOf(i, index), Excluded: b.excluded[i]}
		encoded, _ := json.Marshal(m.Owners)
		keys[i] = key{m.Package, string(encoded), m.Excluded}
		members[keys[i]] = m
	}
	order := make([]key, 0, len(members))
	for k := range members {
		order = append(order, k)
	}
	sort.Slice(order, func(i, j int) bool {
		a, c := order[i], order[j]
		if a.pkg != c.pkg {
			return a.pkg < c.pkg
		}
		if a.owners != c.owners {
			return a.owners < c.owners
		}
		return a.excluded < c.excluded
	})
	number := make(map[key]int, len(order))
	for n, k := range order {
		number[k] = n
		inv.Members = append(inv.Members, members[k])
	}
	for i, o := range b.found {
		o.Member = number[keys[i]]
		inv.Occurrences = append(inv.Occurrences, o)
	}
	sort.SliceStable(inv.Occurrences, func(i, j int) bool {
		if inv.Occurrences[i].Member != inv.Occurrences[j].Member {
			return inv.Occurrences[i].Member < inv.Occurrences[j].Member
		}
		return inv.Occurrences[i].ID < inv.Occurrences[j].ID
	})
	return inv
}

func (b *Builder) distinctPackages(inv *Inventory) map[Fingerprint]int {
	first := map[Fingerprint]int{}
	for i, f := range b.prints {
		if _, ok := first[f]; !ok {
			first[f] = i
			inv.Fingerprints = append(inv.Fingerprints, f)
		}
	}
	sort.Slice(inv.Fingerprints, func(i, j int) bool {
		return string(inv.Fingerprints[i][:]) < string(inv.Fingerprints[j][:])
	})
	index := make(map[Fingerprint]int, len(first))
	for n, f := range inv.Fingerprints {
		index[f] = n
		inv.Packages = append(inv.Packages, b.packages[first[f]])
	}
	return index
}

func (b *Builder) ownersOf(i int, index map[Fingerprint]int) []int {
	seen := map[int]bool{}
	var owners []int
	for _, o := range b.owners[i] {
		n := index[b.prints[o]]
		if b.excluded[o] == "" && !seen[n] {
			seen[n] = true
			owners = append(owners, n)
		}
	}
	sort.Ints(owners)
	return owners
}
