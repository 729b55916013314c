package inventory

import (
	"cmp"
	"encoding/json"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// mostParts bounds the elements of all lists of an inventory that is decoded, so
// that few bytes cannot become much memory.
const mostParts = 10_000_000

// Decode reads what Encode wrote, in another process that is not trusted: it
// works out the fingerprints and returns an inventory only if Builder could have
// built it. The error is of kind Malformed, or TooLarge when there are more than
// mostPackages of anything.
func Decode(encoded []byte, mostPackages int) (*Inventory, error) {
	r := &wireReader{rest: string(encoded), parts: mostParts}
	inv := &Inventory{Distro: r.distro()}
	inv.Packages = readList(r, mostPackages, r.pkg)
	inv.Members = readList(r, mostPackages, r.member)
	inv.Occurrences = readList(r, mostPackages, r.occurrence)
	switch {
	case r.most > mostPackages:
		return nil, errs.New(errs.TooLarge, "inventory: %d packages, the limit is %d", r.most, mostPackages)
	case r.bad || r.rest != "":
		return nil, errs.New(errs.Malformed, "inventory: it cannot be decoded")
	}
	for _, p := range inv.Packages {
		inv.Fingerprints = append(inv.Fingerprints, FingerprintOf(p))
	}
	if err := inv.check(); err != nil {
		return nil, err
	}
	return inv, nil
}

// wireReader takes an encoded inventory apart. After its end, or anything that
// cannot be, it gives nothing more and is bad.
type wireReader struct {
	rest  string
	parts int // that may still come
	most  int // elements that a list with a limit of its own had
	bad   bool
}

func (r *wireReader) fail() {
	r.bad, r.rest = true, ""
}

func (r *wireReader) letter() byte {
	if r.rest == "" {
		r.fail()
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

// number reads a varint. What does not fit into 64 bits is cut.
func (r *wireReader) number() int {
	var n uint64
	for shift := 0; shift < 70; shift += 7 {
		b := r.letter()
		n |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return int(int64(n>>1) ^ -int64(n&1))
		}
	}
	r.fail()
	return 0
}

func (r *wireReader) text() string {
	n := r.number()
	if n < 0 || n > len(r.rest) {
		r.fail()
		return ""
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}

func (r *wireReader) present() bool { return r.letter() == 1 }

// readList reads a list of at most so many elements, each of which takes a byte at
// least.
func readList[T any](r *wireReader, most int, each func() T) []T {
	if !r.present() {
		return nil
	}
	n := r.number()
	if n < 0 || n > len(r.rest) || n > r.parts || n > most {
		r.most = max(r.most, n)
		r.fail()
		return nil
	}
	r.parts -= n
	const atOnce = 1 << 12
	list := make([]T, 0, min(n, atOnce))
	for range n {
		if r.bad {
			return nil
		}
		list = append(list, each())
	}
	return list
}

func (r *wireReader) texts() []string { return readList(r, mostParts, r.text) }

func (r *wireReader) distro() *Distro {
	if !r.present() {
		return nil
	}
	d := &Distro{Type: r.text(), Version: r.text(), Codename: r.text(), Channels: r.texts(), IDLike: r.texts()}
	if r.present() {
		end, err := time.Parse(time.RFC3339Nano, r.text())
		if err != nil {
			r.fail()
		}
		d.SupportEnd = &end
	}
	return d
}

func (r *wireReader) pkg() Package {
	p := Package{Type: r.text(), Name: r.text(), Version: r.text(), Language: r.text(), PURL: r.text(), Distro: r.distro()}
	p.Upstreams = readList(r, mostParts, func() Upstream { return Upstream{Name: r.text(), Version: r.text()} })
	p.CPEs = r.texts()
	if r.present() {
		p.RPM = r.rpm()
	}
	if r.present() {
		p.APK = &APK{Arch: r.text()}
	}
	if r.present() {
		p.Java = &Java{GroupID: r.text(), ArtifactID: r.text(), ManifestName: r.text()}
	}
	if r.present() {
		p.JVM = &JVM{JavaRuntimeVersion: r.text(), JavaVersion: r.text(), FullVersion: r.text(), SemanticVersion: r.text()}
	}
	if r.present() {
		p.Go = r.goProgram()
	}
	return p
}

func (r *wireReader) rpm() *RPM {
	m := &RPM{}
	if r.present() {
		epoch := r.number()
		m.Epoch = &epoch
	}
	if r.present() {
		label := r.text()
		m.Modularity = &label
	}
	m.Arch = r.text()
	return m
}

func (r *wireReader) goProgram() *Go {
	g := &Go{MainModule: r.text()}
	type symbols struct {
		path  string
		names []string
	}
	if all := readList(r, mostParts, func() symbols { return symbols{r.text(), r.texts()} }); all != nil {
		g.Symbols = make(map[string][]string, len(all))
		for _, s := range all {
			g.Symbols[s.path] = s.names
		}
	}
	return g
}

func (r *wireReader) member() Member {
	return Member{Package: r.number(), Owners: readList(r, mostParts, r.number), Excluded: r.text()}
}

func (r *wireReader) occurrence() Occurrence {
	return Occurrence{
		Member: r.number(), ID: r.text(),
		Locations: readList(r, mostParts, func() Location { return Location{Path: r.text(), Layer: r.text()} }),
		Licenses:  r.texts(),
	}
}

// check reports whether the parts fit together and stand in their order.
func (inv *Inventory) check() error {
	for i := 1; i < len(inv.Fingerprints); i++ {
		if string(inv.Fingerprints[i-1][:]) >= string(inv.Fingerprints[i][:]) {
			return errs.New(errs.Malformed, "inventory: package %d is out of order", i)
		}
	}
	for i, m := range inv.Members {
		if !inv.fits(m) || i > 0 && compareMembers(inv.Members[i-1], m) >= 0 {
			return errs.New(errs.Malformed, "inventory: member %d does not fit", i)
		}
	}
	for i, o := range inv.Occurrences {
		if o.Member < 0 || o.Member >= len(inv.Members) {
			return errs.New(errs.Malformed, "inventory: occurrence %d is of no member", i)
		}
	}
	return nil
}

// fits reports whether a member is of packages that are there.
func (inv *Inventory) fits(m Member) bool {
	known := func(n int) bool { return n >= 0 && n < len(inv.Packages) }
	switch m.Excluded {
	case "", ExcludedOwned, ExcludedNoVersion, ExcludedMainModule:
	default:
		return false
	}
	for i, o := range m.Owners {
		if !known(o) || i > 0 && m.Owners[i-1] >= o {
			return false
		}
	}
	return known(m.Package)
}

// compareMembers is the order of members that Builder makes: by package, then
// owners as they are written, then why they are excluded.
func compareMembers(a, b Member) int {
	if c := cmp.Compare(a.Package, b.Package); c != 0 {
		return c
	}
	if len(a.Owners)+len(b.Owners) > 0 {
		if c := strings.Compare(written(a.Owners), written(b.Owners)); c != 0 {
			return c
		}
	}
	return strings.Compare(a.Excluded, b.Excluded)
}

func written(owners []int) string {
	b, _ := json.Marshal(owners) // plain numbers
	return string(b)
}
