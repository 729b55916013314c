package inventory

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func pkgOf(name string) Package {
	return Package{Type: "npm", Name: name, Version: "1.0.0"}
}

func TestFingerprintTellsEveryMatchingInputApart(t *testing.T) {
	epoch, other := 0, 1
	module := ""
	variants := map[string]Package{
		"base":            {Type: "rpm", Name: "a", Version: "1"},
		"type":            {Type: "deb", Name: "a", Version: "1"},
		"name":            {Type: "rpm", Name: "b", Version: "1"},
		"version":         {Type: "rpm", Name: "a", Version: "2"},
		"language":        {Type: "rpm", Name: "a", Version: "1", Language: "go"},
		"purl":            {Type: "rpm", Name: "a", Version: "1", PURL: "pkg:rpm/a@1"},
		"distro":          {Type: "rpm", Name: "a", Version: "1", Distro: &Distro{Type: "redhat"}},
		"distro version":  {Type: "rpm", Name: "a", Version: "1", Distro: &Distro{Type: "redhat", Version: "9"}},
		"distro channel":  {Type: "rpm", Name: "a", Version: "1", Distro: &Distro{Type: "redhat", Version: "9", Channels: []string{"eus"}}},
		"upstream":        {Type: "rpm", Name: "a", Version: "1", Upstreams: []Upstream{{Name: "src"}}},
		"upstream ver":    {Type: "rpm", Name: "a", Version: "1", Upstreams: []Upstream{{Name: "src", Version: "1"}}},
		"cpes":            {Type: "rpm", Name: "a", Version: "1", CPEs: []string{"x", "y"}},
		"cpes in order":   {Type: "rpm", Name: "a", Version: "1", CPEs: []string{"y", "x"}},
		"rpm":             {Type: "rpm", Name: "a", Version: "1", RPM: &RPM{}},
		"rpm epoch 0":     {Type: "rpm", Name: "a", Version: "1", RPM: &RPM{Epoch: &epoch}},
		"rpm epoch 1":     {Type: "rpm", Name: "a", Version: "1", RPM: &RPM{Epoch: &other}},
		"rpm no module":   {Type: "rpm", Name: "a", Version: "1", RPM: &RPM{Modularity: &module}},
		"rpm arch":        {Type: "rpm", Name: "a", Version: "1", RPM: &RPM{Arch: "x86_64"}},
		"apk":             {Type: "rpm", Name: "a", Version: "1", APK: &APK{}},
		"apk arch":        {Type: "rpm", Name: "a", Version: "1", APK: &APK{Arch: "x86_64"}},
		"java":            {Type: "rpm", Name: "a", Version: "1", Java: &Java{}},
		"java group":      {Type: "rpm", Name: "a", Version: "1", Java: &Java{GroupID: "g"}},
		"java artifact":   {Type: "rpm", Name: "a", Version: "1", Java: &Java{ArtifactID: "g"}},
		"jvm":             {Type: "rpm", Name: "a", Version: "1", JVM: &JVM{}},
		"go":              {Type: "rpm", Name: "a", Version: "1", Go: &Go{}},
		"go main":         {Type: "rpm", Name: "a", Version: "1", Go: &Go{MainModule: "m"}},
		"go symbols":      {Type: "rpm", Name: "a", Version: "1", Go: &Go{Symbols: map[string][]string{"p": {"F"}}}},
		"go other symbol": {Type: "rpm", Name: "a", Version: "1", Go: &Go{Symbols: map[string][]string{"p": {"G"}}}},
		"go empty path":   {Type: "rpm", Name: "a", Version: "1", Go: &Go{Symbols: map[string][]string{"p": {}}}},
	}
	seen := map[Fingerprint]string{}
	for name, p := range variants {
		f := FingerprintOf(p)
		if f != FingerprintOf(p) {
			t.Errorf("%s: two fingerprints of one package", name)
		}
		if twin, taken := seen[f]; taken {
			t.Errorf("%s has the fingerprint of %s", name, twin)
		}
		seen[f] = name
	}
}

// addition is one call of Builder.Add.
type addition struct {
	p        Package
	excluded string
	at       Occurrence
	owners   []int // numbers of other additions
}

func build(additions []addition, order []int) *Inventory {
	b := NewBuilder(&Distro{Type: "debian", Version: "12"})
	handles := make([]int, len(additions))
	for _, n := range order {
		a := additions[n]
		handles[n] = b.Add(a.p, a.excluded, a.at)
	}
	for _, n := range order {
		for _, o := range additions[n].owners {
			b.Own(handles[o], handles[n])
		}
	}
	return b.Build()
}

func TestBuildDoesNotDependOnOrder(t *testing.T) {
	additions := []addition{
		{p: pkgOf("owner"), at: Occurrence{ID: "o1"}},
		{p: pkgOf("other-owner"), at: Occurrence{ID: "o2"}},
		{p: pkgOf("child"), at: Occurrence{ID: "c1"}, owners: []int{0, 1, 0}},
		{p: pkgOf("child"), at: Occurrence{ID: "c2"}},
		{p: pkgOf("child"), at: Occurrence{ID: "c3"}, owners: []int{1, 0}},
		{p: pkgOf("left-out"), excluded: ExcludedOwned, at: Occurrence{ID: "x1"}},
		{p: pkgOf("left-out"), at: Occurrence{ID: "x2"}, owners: []int{5}},
	}
	order := []int{0, 1, 2, 3, 4, 5, 6}
	want := build(additions, order)
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		got := build(additions, order)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("order %v (-first +this):\n%s", order, diff)
		}
		if want.Fingerprint() != got.Fingerprint() {
			t.Fatalf("order %v: another fingerprint", order)
		}
	}
}

func TestBuildMembers(t *testing.T) {
	inv := build([]addition{
		{p: pkgOf("owner"), at: Occurrence{ID: "o"}},
		{p: pkgOf("child"), at: Occurrence{ID: "owned"}, owners: []int{0}},
		{p: pkgOf("child"), at: Occurrence{ID: "free"}},
		{p: pkgOf("child"), at: Occurrence{ID: "free too"}},
		{p: pkgOf("out"), excluded: ExcludedNoVersion, at: Occurrence{ID: "out"}},
		{p: pkgOf("child2"), at: Occurrence{ID: "owned by what is left out"}, owners: []int{4}},
	}, []int{0, 1, 2, 3, 4, 5})

	if got, want := len(inv.Packages), 4; got != want {
		t.Errorf("%d distinct packages, want %d", got, want)
	}
	if !slices.IsSortedFunc(inv.Fingerprints, func(a, b Fingerprint) int { return cmpBytes(a[:], b[:]) }) {
		t.Error("packages do not ascend by fingerprint")
	}
	for i, p := range inv.Packages {
		if inv.Fingerprints[i] != FingerprintOf(p) {
			t.Errorf("package %d stands under another's fingerprint", i)
		}
	}
	got := map[string]string{}
	for _, o := range inv.Occurrences {
		m := inv.Members[o.Member]
		text := inv.Packages[m.Package].Name
		for _, owner := range m.Owners {
			text += " < " + inv.Packages[owner].Name
		}
		got[o.ID] = text + m.Excluded
	}
	want := map[string]string{
		"o": "owner", "owned": "child < owner", "free": "child", "free too": "child",
		"out": "outno_version", "owned by what is left out": "child2",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
	if got, want := len(inv.Members), 5; got != want {
		t.Errorf("%d members, want %d: the free copies share one", got, want)
	}
}

func cmpBytes(a, b []byte) int { return slices.Compare(a, b) }

func TestInventoryFingerprint(t *testing.T) {
	base := []addition{{p: pkgOf("owner")}, {p: pkgOf("child")}}
	owned := []addition{{p: pkgOf("owner")}, {p: pkgOf("child"), owners: []int{0}}}
	excluded := []addition{{p: pkgOf("owner")}, {p: pkgOf("child"), excluded: ExcludedOwned}}
	moved := []addition{{p: pkgOf("owner"), at: Occurrence{ID: "x", Locations: []Location{{Path: "/elsewhere"}}}}, {p: pkgOf("child")}}
	order := []int{0, 1}
	f := build(base, order).Fingerprint()
	if build(moved, order).Fingerprint() != f {
		t.Error("where packages lie changes the fingerprint")
	}
	for name, other := range map[string][]addition{"ownership": owned, "exclusion": excluded} {
		if build(other, order).Fingerprint() == f {
			t.Errorf("%s does not change the fingerprint", name)
		}
	}
	elsewhere := NewBuilder(nil)
	elsewhere.Add(pkgOf("owner"), "", Occurrence{})
	elsewhere.Add(pkgOf("child"), "", Occurrence{})
	if elsewhere.Build().Fingerprint() == f {
		t.Error("the distro does not change the fingerprint")
	}
}

func TestDistroString(t *testing.T) {
	for _, tt := range []struct {
		distro *Distro
		want   string
	}{
		{nil, ""},
		{&Distro{Type: "debian", Version: "12", Codename: "bookworm"}, "debian:12"},
		{&Distro{Type: "debian", Codename: "sid"}, "debian:sid"},
		{&Distro{Type: "wolfi"}, "wolfi"},
	} {
		if got := tt.distro.String(); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.distro, got, tt.want)
		}
	}
}
