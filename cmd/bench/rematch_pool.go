package main

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"

	_ "github.com/glebarez/go-sqlite" // reads the names in a vulnerability database

	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
)

// pool is where the packages of images are drawn from: those of real images and
// those that advisories are about, in several versions each, and packages that
// nobody ever wrote an advisory about.
type pool struct {
	random *rand.Rand
	// shelves are packages by what draws from them: "debian:12", "npm".
	shelves map[string]*shelf
	count   int
}

// shelf is packages of one kind. Its head is drawn from most of the time.
type shelf struct {
	names []*product
	at    int // where the next of the tail is taken
	index map[string]*product
	tail  []inventory.Package
}

// product is a package in several versions.
type product struct {
	template inventory.Package
	versions []string
}

func newPool(seed uint64) *pool {
	return &pool{random: rand.New(rand.NewPCG(seed, 1)), shelves: map[string]*shelf{}}
}

// shelfOf names the shelf of a package; empty for what is not drawn.
func shelfOf(p inventory.Package) string {
	switch p.Type {
	case "deb", "apk":
		return p.Type + "/" + p.Distro.String()
	case "npm", "python", "java-archive", "go-module", "gem", "php-composer", "dotnet", "rust-crate":
		return p.Type
	}
	return ""
}

// add puts a package on its shelf, with one more version where it stands there.
func (p *pool) add(template inventory.Package, versions ...string) {
	name := shelfOf(template)
	if name == "" {
		return
	}
	s := p.shelves[name]
	if s == nil {
		s = &shelf{index: map[string]*product{}}
		p.shelves[name] = s
	}
	known := s.index[keyOf(template)]
	if known == nil {
		known = &product{template: template}
		s.index[keyOf(template)] = known
		s.names = append(s.names, known)
	}
	for _, v := range versions {
		if v != "" && !slices.Contains(known.versions, v) {
			known.versions = append(known.versions, v)
			p.count++
		}
	}
}

// keyOf tells packages of a shelf apart, whatever their version.
func keyOf(p inventory.Package) string {
	if p.Java != nil {
		return p.Java.GroupID + ":" + p.Name
	}
	return p.Name
}

// addInventory takes the packages of a real image.
func (p *pool) addInventory(inv *inventory.Inventory) {
	for _, n := range inv.Matchable() {
		actual := inv.Packages[n]
		if shelfOf(actual) == "" || actual.Version == "" {
			continue
		}
		if actual.Type == "apk" { // the corpus has releases that the database does not
			actual.Distro = release("alpine", "3.20")
		}
		p.add(actual, actual.Version)
		p.add(actual, p.versionsLike(actual.Type, actual.Version, 5)...)
	}
}

// addDatabase takes the names that advisories are about, at versions that fix
// them and at others.
func (p *pool) addDatabase(ctx context.Context, in vulndb.Installed) error {
	const query = `
		SELECT p.ecosystem, p.name, COALESCE(os.name, ''), COALESCE(os.major_version, ''), COALESCE(os.minor_version, ''),
		       COALESCE(json_extract(b.value, '$.ranges[0].fix.version'), '')
		  FROM affected_package_handles h
		  JOIN packages p ON p.id = h.package_id
		  JOIN blobs b ON b.id = h.blob_id
		  LEFT JOIN operating_systems os ON os.id = h.operating_system_id
		 ORDER BY 1, 2, 3, 4, 5, 6`
	db, err := sql.Open("sqlite", "file:"+filepath.Join(in.Dir, "vulnerability.db")+"?mode=ro&immutable=1")
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	const most = 3 // versions of one name that fix something
	fixes := map[string]int{}
	for rows.Next() {
		var ecosystem, name, os, major, minor, fix string
		if err := rows.Scan(&ecosystem, &name, &os, &major, &minor, &fix); err != nil {
			return err
		}
		t := describe(ecosystem, name, release(os, strings.Trim(major+"."+minor, ".")))
		key := shelfOf(t) + " " + name
		if fixes[key]++; fixes[key] == 1 {
			p.add(t, p.versionsLike(ecosystem, cmp.Or(fix, "1.0.0"), 4)...)
		}
		if fixes[key] <= most {
			p.add(t, fix)
		}
	}
	return rows.Err()
}

// addLibraries adds the C libraries that everything stands on.
func (p *pool) addLibraries() {
	libc := describe("deb", "libc6", release("debian", "12"))
	libc.Upstreams = []inventory.Upstream{{Name: "glibc"}}
	p.add(libc, p.versionsLike("deb", "2.36-9", 4)...)
	for _, v := range []string{"3.18", "3.19", "3.20"} {
		p.add(describe("apk", "musl", release("alpine", v)), p.versionsLike("apk", "1.2.4", 4)...)
	}
}

// fill adds packages that no advisory is about until there are n.
func (p *pool) fill(n int) {
	kinds := []string{"npm", "npm", "npm", "python", "python", "java-archive", "java-archive", "go-module", "deb", "apk", "gem", "dotnet"}
	for i := 0; p.count < n; i++ {
		kind := kinds[i%len(kinds)]
		name := word(uint64(i))
		switch kind {
		case "java-archive":
			name = "org." + word(uint64(i/7)) + ":" + name
		case "go-module":
			name = "example.test/" + word(uint64(i/5)) + "/" + name
		}
		switch kind {
		case "deb":
			p.add(describe(kind, name, release("debian", "12")), p.versionsLike(kind, "1.0-1", 4)...)
		case "apk":
			p.add(describe(kind, name, release("alpine", []string{"3.18", "3.19", "3.20"}[i/len(kinds)%3])), p.versionsLike(kind, "1.0-r0", 4)...)
		default:
			p.add(describe(kind, name, nil), p.versionsLike(kind, "1.0.0", 5)...)
		}
	}
}

// shuffle ends the filling: popular names are any names, and the tail is every
// package once, in no order.
func (p *pool) shuffle() {
	for _, name := range sortedKeys(p.shelves) {
		s := p.shelves[name]
		p.random.Shuffle(len(s.names), func(i, j int) { s.names[i], s.names[j] = s.names[j], s.names[i] })
		s.promote()
		for _, x := range s.names {
			for _, v := range x.versions {
				s.tail = append(s.tail, x.at(v))
			}
		}
		p.random.Shuffle(len(s.tail), func(i, j int) { s.tail[i], s.tail[j] = s.tail[j], s.tail[i] })
	}
}

// promote puts names first that everybody has.
func (s *shelf) promote() {
	everywhere := []string{"lodash", "requests", "org.apache.logging.log4j:log4j-core", "golang.org/x/net", "stdlib", "nokogiri", "openssl", "zlib"}
	slices.SortStableFunc(s.names, func(a, b *product) int {
		in := func(x *product) int {
			if slices.Contains(everywhere, keyOf(x.template)) {
				return 0
			}
			return 1
		}
		return cmp.Compare(in(a), in(b))
	})
}

// draw takes a package: mostly one that many have, now and then the next one of
// the tail, so that in the end all of them are somewhere.
func (p *pool) draw(name string) inventory.Package {
	s := p.shelves[name]
	const tail = 0.3
	if p.random.Float64() < tail {
		s.at++
		return s.tail[s.at%len(s.tail)]
	}
	x := s.names[p.skewed(min(len(s.names), 1500))]
	return x.at(x.versions[p.skewed(len(x.versions))])
}

// other is the same package in another version, where there is one.
func (p *pool) other(one inventory.Package) inventory.Package {
	x := p.shelves[shelfOf(one)].index[keyOf(one)]
	return x.at(x.versions[p.random.IntN(len(x.versions))])
}

// skewed is a number below n, small ones far more often.
func (p *pool) skewed(n int) int {
	f := p.random.Float64()
	return int(f * f * f * float64(n))
}

// at is the product at a version.
func (x *product) at(version string) inventory.Package {
	p := x.template
	was := p.Version
	if version == was {
		return p
	}
	p.Version = version
	p.PURL = strings.Replace(p.PURL, "@"+was, "@"+version, 1)
	p.CPEs = slices.Clone(p.CPEs)
	for i, c := range p.CPEs {
		p.CPEs[i] = strings.Replace(c, ":"+was+":", ":"+strings.NewReplacer("~", `\~`, "+", `\+`).Replace(version)+":", 1)
	}
	p.Upstreams = slices.Clone(p.Upstreams)
	for i := range p.Upstreams {
		p.Upstreams[i].Version = "" // that of the package
	}
	return p
}

// versionsLike makes up versions of a kind of package, some around a known one.
func (p *pool) versionsLike(kind, known string, n int) []string {
	var out []string
	for range n {
		a, b, c := p.skewed(12), p.random.IntN(20), p.random.IntN(30)
		switch kind {
		case "deb":
			out = append(out, fmt.Sprintf("%s+deb12u%d", strings.SplitN(known, "+deb", 2)[0], 1+c%9))
		case "apk":
			out = append(out, fmt.Sprintf("%s-r%d", strings.SplitN(known, "-r", 2)[0], c))
		case "go-module":
			out = append(out, fmt.Sprintf("v%d.%d.%d", a%2, b, c))
		default:
			out = append(out, fmt.Sprintf("%d.%d.%d", a, b, c))
		}
	}
	return out
}

// describe makes a package as a cataloger would.
func describe(kind, name string, distro *inventory.Distro) inventory.Package {
	languages := map[string]string{"npm": "javascript", "python": "python", "java-archive": "java", "go-module": "go", "gem": "ruby", "php-composer": "php", "dotnet": "dotnet", "rust-crate": "rust"}
	kinds := map[string]string{"python": "pypi", "java-archive": "maven", "go-module": "golang", "php-composer": "composer", "dotnet": "nuget", "rust-crate": "cargo"}
	p := inventory.Package{Type: kind, Name: name, Language: languages[kind], Version: "0"}
	path := name
	switch kind {
	case "deb", "apk":
		p.Distro = distro
		path = distro.Type + "/" + name
		if kind == "apk" {
			p.CPEs = []string{fmt.Sprintf("cpe:2.3:a:%s:%s:0:*:*:*:*:*:*:*", bound(name), bound(name))}
			p.APK = &inventory.APK{Arch: "x86_64"}
		}
	case "java-archive":
		group, artifact, found := strings.Cut(name, ":")
		if found {
			p.Name, path = artifact, group+"/"+artifact
			p.Java = &inventory.Java{GroupID: group, ArtifactID: artifact, ManifestName: artifact}
		}
	case "go-module":
		p.Go = &inventory.Go{MainModule: "example.test/main"}
	}
	p.PURL = "pkg:" + cmp.Or(kinds[kind], kind) + "/" + strings.ReplaceAll(path, "@", "%40") + "@0"
	return p
}

// bound writes a name as a component of a CPE.
func bound(name string) string {
	var b strings.Builder
	for _, r := range name {
		if r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

func release(distro, version string) *inventory.Distro {
	if distro == "" {
		return nil
	}
	d := &inventory.Distro{Type: distro, Version: version}
	if distro == "debian" {
		d.Codename = "bookworm"
	}
	return d
}

// word makes a pronounceable name of a number.
func word(n uint64) string {
	const consonants, vowels = "bdfgklmnprstvz", "aeiou"
	r := rand.New(rand.NewPCG(n, 7))
	var b strings.Builder
	for range 3 + n%2 {
		b.WriteByte(consonants[r.IntN(len(consonants))])
		b.WriteByte(vowels[r.IntN(len(vowels))])
	}
	return fmt.Sprintf("%s%d", b.String(), n%100)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
