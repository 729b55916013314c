package layers

import (
	"archive/tar"
	"encoding/binary"
	"hash/crc32"
	"io/fs"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// Entry is one entry of a layer's tar, in the order of the tar.
type Entry struct {
	// Path is absolute and clean, whatever the tar has: what climbs above the root
	// ends there.
	Path string
	// Link is where a link points, as the tar has it.
	Link     string
	Type     byte // tar.TypeReg and its like
	Mode     int64
	UID, GID int
	// Size is what the header says; of a sparse file, or of what has no content, it
	// is not the length of the content.
	Size int64
	// MIME is the media type that the first bytes show; empty without content.
	MIME string

	// at is where the content stands in the contents file plus one, or one of the
	// values below. length is how long it is there.
	at, length int64
}

const (
	// without: there is no content.
	without int64 = 0
	// notKept: there is content, which was not kept.
	notKept int64 = -1
	// leftOut: there is content that nobody should read, such as that of a sparse
	// file as large as a disk.
	leftOut int64 = -2
)

// Kept reports whether the content is at hand.
func (e Entry) Kept() bool { return e.at != notKept }

// FileInfo is the entry as archive/tar shows it.
func (e Entry) FileInfo() fs.FileInfo {
	h := tar.Header{Name: e.Path, Linkname: e.Link, Typeflag: e.Type, Mode: e.Mode, Uid: e.UID, Gid: e.GID, Size: e.Size}
	return h.FileInfo()
}

// index is what is written down of a layer beside the contents.
type index struct {
	bytes   int64  // of the uncompressed tar, and what sparse files hold beyond it
	weight  int64  // what its entries count against the limit
	skipped int64  // entries that no file system could hold
	size    int64  // of the contents file
	sum     uint32 // its CRC-32C
	entries []Entry
}

// magic names the form of an index file. It changes with the form and with what
// is kept, so that a later program reads layers again.
const magic = "tidewaiter layer 2\n"

const sumBytes = 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode writes an index: the magic, numbers as varints, strings with their
// length, a checksum of it all at the end.
func (x index) encode() []byte {
	w := writer{buffer: make([]byte, 0, 64*len(x.entries)+64)}
	w.buffer = append(w.buffer, magic...)
	w.numbers(x.bytes, x.weight, x.skipped, x.size, int64(x.sum), int64(len(x.entries)))
	types := map[string]int64{}
	for _, e := range x.entries {
		w.text(e.Path)
		w.text(e.Link)
		w.buffer = append(w.buffer, e.Type)
		w.numbers(e.Mode, int64(e.UID), int64(e.GID), e.Size, e.at, e.length)
		// The same few media types come again and again.
		known, ok := types[e.MIME]
		if !ok {
			known = int64(len(types))
			types[e.MIME] = known
			w.numbers(known)
			w.text(e.MIME)
			continue
		}
		w.numbers(known)
	}
	return binary.LittleEndian.AppendUint32(w.buffer, crc32.Checksum(w.buffer, castagnoli))
}

type writer struct{ buffer []byte }

func (w *writer) numbers(all ...int64) {
	for _, n := range all {
		w.buffer = binary.AppendVarint(w.buffer, n)
	}
}

func (w *writer) text(s string) {
	w.numbers(int64(len(s)))
	w.buffer = append(w.buffer, s...)
}

// decode reads what encode wrote. The error is of kind Malformed for anything
// else: a file that was cut or changed.
func decode(content []byte) (index, error) {
	if len(content) < len(magic)+sumBytes || string(content[:len(magic)]) != magic {
		return index{}, errs.New(errs.Malformed, "layers: not an index of this version")
	}
	body := content[:len(content)-sumBytes]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(content[len(body):]) {
		return index{}, errs.New(errs.Malformed, "layers: the index is damaged")
	}
	r := reader{rest: string(body[len(magic):])}
	x := index{bytes: r.number(), weight: r.number(), skipped: r.number(), size: r.number(), sum: uint32(r.number())}
	// A checksum is no signature: what does not add up is refused, too.
	count := r.number()
	if r.bad || count < 0 || count > int64(len(r.rest)) {
		return index{}, errs.New(errs.Malformed, "layers: the index claims %d entries", count)
	}
	x.entries = make([]Entry, count)
	var types []string
	for i := range x.entries {
		if !r.entry(&x.entries[i], &types, x.size) {
			return index{}, errs.New(errs.Malformed, "layers: the index is damaged in entry %d", i)
		}
	}
	return x, nil
}

// reader takes an index apart. After its end it gives zeros and is bad. Strings
// share one block of memory.
type reader struct {
	rest string
	bad  bool
}

// entry reads an entry whose content, if any, lies within size.
func (r *reader) entry(e *Entry, types *[]string, size int64) bool {
	e.Path, e.Link, e.Type = r.text(), r.text(), r.letter()
	e.Mode, e.UID, e.GID, e.Size = r.number(), int(r.number()), int(r.number()), r.number()
	e.at, e.length = r.number(), r.number()
	known := r.number()
	if known == int64(len(*types)) {
		*types = append(*types, r.text())
	}
	if r.bad || known < 0 || known >= int64(len(*types)) || e.at < leftOut || e.length < 0 || e.at > 0 && e.length > size-(e.at-1) {
		return false
	}
	e.MIME = (*types)[known]
	return true
}

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
	if r.rest == "" {
		r.bad = true
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

func (r *reader) text() string {
	n := r.number()
	if n < 0 || n > int64(len(r.rest)) {
		r.bad, r.rest = true, ""
		return ""
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}
