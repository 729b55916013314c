package layers

import (
	"archive/tar"
	"encoding/binary"
	"hash/crc32"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// Entry is one entry of a layer's tar, in the order of the tar.
type Entry struct {
	// Name and Link are as the tar has them.
	Name, Link string
	Type       byte // tar.TypeReg and its like
	Mode       int64
	UID, GID   int
	Size       int64
	ModTime    time.Time
	// MIME is the media type that the first bytes show; empty without content.
	MIME string
	// at is where the content stands in the contents file plus one; 0 when it was
	// not kept.
	at int64
}

// Kept reports whether the content is at hand.
func (e Entry) Kept() bool { return e.at > 0 || e.Size == 0 }

// Header is the entry as archive/tar has it.
func (e Entry) Header() tar.Header {
	return tar.Header{
		Name: e.Name, Linkname: e.Link, Typeflag: e.Type, Mode: e.Mode, Uid: e.UID, Gid: e.GID, Size: e.Size, ModTime: e.ModTime,
	}
}

// index is what is written down of a layer beside the contents.
type index struct {
	bytes   int64  // of the uncompressed tar
	weight  int64  // what its entries count against the limit
	size    int64  // of the contents file
	sum     uint32 // its CRC-32C
	entries []Entry
}

// magic names the form of an index file. It changes with the form and with what
// is kept, so that a later program reads layers again.
const magic = "tidewaiter layer 1\n"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode writes an index: the magic, numbers as varints, strings with their
// length, a checksum of it all at the end.
func (x index) encode() []byte {
	w := writer{buffer: make([]byte, 0, 64*len(x.entries)+64)}
	w.buffer = append(w.buffer, magic...)
	for _, n := range []int64{x.bytes, x.weight, x.size, int64(x.sum), int64(len(x.entries))} {
		w.number(n)
	}
	types := map[string]int64{}
	for _, e := range x.entries {
		w.text(e.Name)
		w.text(e.Link)
		w.buffer = append(w.buffer, e.Type)
		for _, n := range []int64{e.Mode, int64(e.UID), int64(e.GID), e.Size, e.ModTime.Unix(), int64(e.ModTime.Nanosecond()), e.at} {
			w.number(n)
		}
		// The same few media types come again and again.
		known, ok := types[e.MIME]
		if !ok {
			known = int64(len(types))
			types[e.MIME] = known
			w.number(known)
			w.text(e.MIME)
			continue
		}
		w.number(known)
	}
	return binary.LittleEndian.AppendUint32(w.buffer, crc32.Checksum(w.buffer, castagnoli))
}

type writer struct{ buffer []byte }

func (w *writer) number(n int64) { w.buffer = binary.AppendVarint(w.buffer, n) }

func (w *writer) text(s string) {
	w.number(int64(len(s)))
	w.buffer = append(w.buffer, s...)
}

// decode reads what encode wrote. The error is of kind Malformed for anything
// else: a file that was cut or changed.
func decode(content []byte) (index, error) {
	const sum = 4
	if len(content) < len(magic)+sum || string(content[:len(magic)]) != magic {
		return index{}, errs.New(errs.Malformed, "layers: not an index of this version")
	}
	body := content[:len(content)-sum]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(content[len(body):]) {
		return index{}, errs.New(errs.Malformed, "layers: the index is damaged")
	}
	r := reader{rest: string(body[len(magic):])}
	x := index{bytes: r.number(), weight: r.number(), size: r.number(), sum: uint32(r.number())}
	x.entries = make([]Entry, r.number())
	var types []string
	for i := range x.entries {
		e := &x.entries[i]
		e.Name, e.Link, e.Type = r.text(), r.text(), r.letter()
		e.Mode, e.UID, e.GID, e.Size = r.number(), int(r.number()), int(r.number()), r.number()
		e.ModTime = time.Unix(r.number(), r.number())
		e.at = r.number()
		known := int(r.number())
		if known == len(types) {
			types = append(types, r.text())
		}
		e.MIME = types[known]
	}
	return x, nil
}

// reader reads a body whose checksum is right: what it finds is what encode
// wrote. Strings share one block of memory.
type reader struct{ rest string }

func (r *reader) number() int64 {
	var n uint64
	for shift := 0; ; shift += 7 {
		b := r.letter()
		n |= uint64(b&0x7f) << shift
		if b < 0x80 {
			break
		}
	}
	return int64(n>>1) ^ -int64(n&1)
}

func (r *reader) letter() byte {
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

func (r *reader) text() string {
	n := r.number()
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}
