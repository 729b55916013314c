package main

import (
	"fmt"
	"slices"

	"github.com/tidewaiter/tidewaiter/internal/inventory"
)

// world is a registry as it might be: repositories of builds that follow each
// other, on bases that many share.
type world struct {
	packages     []inventory.Package
	prints       []inventory.Fingerprint // of packages
	numbers      map[inventory.Fingerprint]int32
	inventories  []held
	repositories []builds
}

// held is what one inventory holds: packages by number, and of few of them the
// package of the distro that owns them.
type held struct {
	distro   *inventory.Distro
	packages []int32
	owners   map[int]int // by place in packages, both
}

// builds are the inventories of a repository, oldest first.
type builds struct {
	name        string
	inventories []int
}

// scale says how large a world is.
type scale struct {
	Manifests    int `default:"100000" help:"Image manifests."`
	Inventories  int `default:"30000" help:"Distinct inventories."`
	Packages     int `default:"180000" help:"Packages to draw from; nearly all are drawn."`
	Members      int `default:"300" help:"Packages of an inventory, on average."`
	Repositories int `default:"5000" help:"Repositories."`
	Tags         int `default:"300000" help:"Tags."`
}

// family is a distro with what images built on it run.
type family struct {
	shelf  string
	distro *inventory.Distro
	size   int // packages of a base
	share  float64
}

func families() []family {
	return []family{
		{"deb/debian:12", release("debian", "12"), 100, 0.80},
		{"apk/alpine:3.18", release("alpine", "3.18"), 30, 0.86},
		{"apk/alpine:3.19", release("alpine", "3.19"), 30, 0.93},
		{"apk/alpine:3.20", release("alpine", "3.20"), 30, 1},
	}
}

// newWorld draws a world. The same pool makes the same one.
func newWorld(p *pool, s scale) *world {
	w := &world{numbers: map[inventory.Fingerprint]int32{}}
	bases := map[string][][]int32{}
	for _, f := range families() {
		for range 40 {
			bases[f.shelf] = append(bases[f.shelf], w.base(p, f))
		}
	}
	languages := []string{"npm", "npm", "npm", "python", "python", "python", "java-archive", "java-archive", "go-module", "go-module", "gem", "dotnet", "php-composer", "rust-crate"}
	for r := range s.Repositories {
		f := w.family(p)
		language := languages[p.random.IntN(len(languages))]
		each := s.Inventories/s.Repositories + btoi(r < s.Inventories%s.Repositories)
		base := bases[f.shelf][p.skewed(len(bases[f.shelf]))]
		app := w.app(p, language, languages, max(5, s.Members-len(base))*(60+p.random.IntN(81))/100)
		repository := builds{name: fmt.Sprintf("team-%d/%s", r%200, word(uint64(r)))}
		for n := range each {
			if n > 0 {
				w.rebuild(p, app)
			}
			if n == each/2 && n > 0 { // the base moves now and then
				base = bases[f.shelf][p.skewed(len(bases[f.shelf]))]
			}
			repository.inventories = append(repository.inventories, len(w.inventories))
			w.inventories = append(w.inventories, w.hold(p, f, base, app))
		}
		repository.name = fmt.Sprintf("%s-%d", repository.name, r)
		w.repositories = append(w.repositories, repository)
	}
	return w
}

func (w *world) family(p *pool) family {
	f := p.random.Float64()
	for _, one := range families() {
		if f <= one.share {
			return one
		}
	}
	return families()[0]
}

// base has the distro's C library and what comes with it.
func (w *world) base(p *pool, f family) []int32 {
	var out []int32
	library := map[string]string{"debian": "libc6", "alpine": "musl"}[f.distro.Type]
	if x := p.shelves[f.shelf].index[library]; x != nil && len(x.versions) > 0 {
		out = append(out, w.number(x.at(x.versions[p.skewed(len(x.versions))])))
	}
	for tries := 0; len(out) < f.size && tries < 10*f.size; tries++ {
		if number := w.number(p.draw(f.shelf)); !slices.Contains(out, number) {
			out = append(out, number)
		}
	}
	return out
}

// app is what is built on a base: mostly packages of one language.
func (w *world) app(p *pool, language string, languages []string, n int) []int32 {
	const foreign = 0.12
	out := make([]int32, 0, n)
	for tries := 0; len(out) < n && tries < 4*n; tries++ {
		l := language
		if p.random.Float64() < foreign {
			l = languages[p.random.IntN(len(languages))]
		}
		if p.shelves[l] == nil {
			continue
		}
		if number := w.number(p.draw(l)); !slices.Contains(out, number) {
			out = append(out, number)
		}
	}
	return out
}

// rebuild brings some packages to other versions.
func (w *world) rebuild(p *pool, app []int32) {
	const share = 0.05
	for i := range app {
		if p.random.Float64() < share {
			app[i] = w.number(p.other(w.packages[app[i]]))
		}
	}
}

func (w *world) hold(p *pool, f family, base, app []int32) held {
	const owned = 0.01
	h := held{distro: f.distro, packages: unique(append(append([]int32{}, base...), app...)), owners: map[int]int{}}
	for i := len(base); i < len(h.packages); i++ {
		if p.random.Float64() < owned {
			h.owners[i] = p.random.IntN(len(base))
		}
	}
	return h
}

// number keeps a package once.
func (w *world) number(p inventory.Package) int32 {
	f := inventory.FingerprintOf(p)
	n, ok := w.numbers[f]
	if !ok {
		n = int32(len(w.packages))
		w.numbers[f] = n
		w.packages, w.prints = append(w.packages, p), append(w.prints, f)
	}
	return n
}

func unique(numbers []int32) []int32 {
	seen := map[int32]bool{}
	out := numbers[:0:0]
	for _, n := range numbers {
		if !seen[n] {
			seen[n] = true
			out = append(out, n)
		}
	}
	return out
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
