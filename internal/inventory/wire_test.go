package inventory

import (
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// fillAny sets every field below v to something of its own, so that a field that
// the wire forgets is missed.
func fillAny(v reflect.Value, n *int) {
	*n++
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		if v.Type() == reflect.TypeFor[*time.Time]() {
			v.Elem().Set(reflect.ValueOf(time.Date(2026, 1, 2, 3, 4, 5, *n, time.UTC)))
			return
		}
		fillAny(v.Elem(), n)
	case reflect.Struct:
		for i := range v.NumField() {
			fillAny(v.Field(i), n)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fillAny(v.Index(0), n)
		fillAny(v.Index(1), n)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fillAny(key, n)
		fillAny(value, n)
		v.SetMapIndex(key, value)
	case reflect.String:
		v.SetString("text " + string(rune('a'+*n%26)) + time.Duration(*n).String())
	case reflect.Int:
		v.SetInt(int64(*n))
	default:
		panic("a field of kind " + v.Kind().String() + ": the wire does not know it")
	}
}

// sampleInventory has everything an inventory can have.
func sampleInventory(t *testing.T) *Inventory {
	t.Helper()
	n := 0
	full := Package{}
	fillAny(reflect.ValueOf(&full).Elem(), &n)
	at := Occurrence{}
	fillAny(reflect.ValueOf(&at).Elem(), &n)
	distro := Distro{}
	fillAny(reflect.ValueOf(&distro).Elem(), &n)
	b := NewBuilder(&distro)
	owner := b.Add(full, "", at)
	other := b.Add(Package{Type: "deb", Name: "other"}, "", Occurrence{ID: "o"})
	for i := range 30 {
		p := pkgOf(string(rune('a' + i)))
		p.Go = &Go{Symbols: map[string][]string{"present": {}, "nothing said": nil, "some": {"F", "G"}}}
		owned := b.Add(p, []string{"", ExcludedOwned, ExcludedNoVersion, ExcludedMainModule}[i%4], Occurrence{ID: "x", Licenses: []string{}})
		if i%3 == 0 {
			b.Own(owner, owned)
		}
		if i%5 == 0 {
			b.Own(other, owned)
		}
		b.Add(p, "", Occurrence{ID: "free"})
	}
	return b.Build()
}

func TestWhatIsSentArrives(t *testing.T) {
	for name, inv := range map[string]*Inventory{"full": sampleInventory(t), "empty": NewBuilder(nil).Build()} {
		got, err := Decode(inv.Encode(), 1000)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(inv, got); diff != "" {
			t.Errorf("%s (-sent +received):\n%s", name, diff)
		}
		if inv.Fingerprint() != got.Fingerprint() {
			t.Errorf("%s: another fingerprint", name)
		}
	}
}

func TestTooManyPackagesAreRefused(t *testing.T) {
	if _, err := Decode(sampleInventory(t).Encode(), 20); !errs.Is(err, errs.TooLarge) {
		t.Errorf("got %v, want kind too_large", err)
	}
}

// Whoever encodes may be in the hands of an attacker.
func TestWhatDoesNotFitIsRefused(t *testing.T) {
	spoil := map[string]func(inv *Inventory){
		"order of packages": func(inv *Inventory) { inv.Packages[0], inv.Packages[1] = inv.Packages[1], inv.Packages[0] },
		"a package twice":   func(inv *Inventory) { inv.Packages[1] = inv.Packages[0] },
		"order of members":  func(inv *Inventory) { inv.Members[0], inv.Members[1] = inv.Members[1], inv.Members[0] },
		"a member twice":    func(inv *Inventory) { inv.Members[1] = inv.Members[0] },
		"member of nothing": func(inv *Inventory) { inv.Members[len(inv.Members)-1].Package = len(inv.Packages) },
		"negative member":   func(inv *Inventory) { inv.Members[0].Package = -1 },
		"unknown owner":     func(inv *Inventory) { inv.Members[0].Owners = []int{1 << 40} },
		"owner twice":       func(inv *Inventory) { inv.Members[0].Owners = []int{1, 1} },
		"unknown reason":    func(inv *Inventory) { inv.Members[0].Excluded = "because" },
		"found nowhere":     func(inv *Inventory) { inv.Occurrences[0].Member = len(inv.Members) },
		"found before all":  func(inv *Inventory) { inv.Occurrences[0].Member = -1 },
	}
	for name, do := range spoil {
		inv := sampleInventory(t)
		do(inv)
		if _, err := Decode(inv.Encode(), 1000); !errs.Is(err, errs.Malformed) {
			t.Errorf("%s: got %v, want kind malformed", name, err)
		}
	}
}

// Garbage is refused, or is an inventory that fits; it takes no memory.
func TestGarbageIsHarmless(t *testing.T) {
	good := sampleInventory(t).Encode()
	random := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		bad := append([]byte{}, good...)
		for range 1 + random.IntN(8) {
			bad[random.IntN(len(bad))] = byte(random.Uint32())
		}
		bad = bad[:random.IntN(len(bad))+1]
		if inv, err := Decode(bad, 1000); err == nil {
			if err := inv.check(); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Lists that claim to be endless.
	for _, n := range []int{1 << 20, 1 << 40, -1} {
		w := &wireWriter{}
		w.present(false)
		w.present(true)
		w.number(n)
		if _, err := Decode(w.b, 1000); err == nil {
			t.Errorf("a list of %d packages that are not there was read", n)
		}
	}
	if _, err := Decode(append(good, 0), 1000); !errs.Is(err, errs.Malformed) {
		t.Errorf("something behind the end: %v, want kind malformed", err)
	}
}
