package layers

import (
	"archive/tar"
	"encoding/binary"
	"hash/crc32"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

func someIndex() index {
	return index{bytes: math.MaxInt64, weight: 7, skipped: 2, size: 1000, sum: math.MaxUint32, entries: []Entry{
		{Path: "/", Type: tar.TypeDir, Mode: 0o755},
		{Path: "/a", Type: tar.TypeReg, Mode: 0o644, UID: -1, GID: math.MaxInt32, Size: 10, MIME: "text/plain", at: 1, length: 10},
		{Path: "/b\x00\xff", Link: "/a", Type: tar.TypeSymlink},
		{Path: "/c", Type: tar.TypeReg, Size: math.MaxInt64, MIME: "text/plain", at: leftOut},
		{Path: "/d", Type: tar.TypeReg, Size: 5, MIME: "application/json", at: notKept},
		{Path: "/e", Type: tar.TypeReg, Size: 990, at: 11, length: 990},
	}}
}

func TestIndexRoundTrip(t *testing.T) {
	for name, want := range map[string]index{"some": someIndex(), "empty": {entries: []Entry{}}} {
		got, err := decode(want.encode())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(index{}, Entry{})); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// sealed gives content a checksum that is right.
func sealed(content []byte) []byte {
	return binary.LittleEndian.AppendUint32(content, crc32.Checksum(content, castagnoli))
}

func TestIndexThatDoesNotAddUp(t *testing.T) {
	good := someIndex().encode()
	change := func(f func(x *index)) []byte {
		x := someIndex()
		f(&x)
		return x.encode()
	}
	numbers := func(all ...int64) []byte {
		w := writer{buffer: []byte(magic)}
		w.numbers(all...)
		return sealed(w.buffer)
	}
	for name, content := range map[string][]byte{
		"empty":                  nil,
		"cut":                    good[:len(good)-1],
		"checksum":               append(good[:len(good)-1:len(good)-1], good[len(good)-1]^1),
		"another form":           sealed([]byte("tidewaiter layer 0\n")),
		"nothing behind":         sealed([]byte(magic)),
		"too many entries":       numbers(0, 0, 0, 0, 0, math.MaxInt64),
		"fewer than no entries":  numbers(0, 0, 0, 0, 0, -1),
		"cut entry":              sealed(good[: len(good)-20 : len(good)-20]),
		"content behind the end": change(func(x *index) { x.size = 999 }),
		"content before it":      change(func(x *index) { x.entries[1].at = -3 }),
		"negative length":        change(func(x *index) { x.entries[1].length = -1 }),
		"endless length":         change(func(x *index) { x.entries[1].length = math.MaxInt64 }),
	} {
		if _, err := decode(content); !errs.Is(err, errs.Malformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzIndex(f *testing.F) {
	good := someIndex().encode()
	f.Add(good[:len(good)-sumBytes])
	f.Fuzz(func(t *testing.T, content []byte) {
		x, err := decode(sealed(content))
		if err != nil {
			return
		}
		for _, e := range x.entries {
			if e.at > 0 && e.at-1+e.length > x.size {
				t.Errorf("entry %q is outside of the contents", e.Path)
			}
		}
	})
}
