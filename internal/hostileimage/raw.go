package hostileimage

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"
)

const block = 512

// rawEntry is a tar entry that the standard library would not write.
type rawEntry struct {
	name string
	kind byte // as tar.TypeReg
	size int64
	// sparse are the fields of an old GNU sparse header: where a last byte of data
	// stands in a file of size real. Nil writes none.
	sparse *int64
}

// header is the entry's block (POSIX ustar; GNU where it is sparse). Sizes are
// written in base 256, which holds any.
func (e rawEntry) header() []byte {
	b := make([]byte, block)
	copy(b, e.name)
	copy(b[100:], "0000644\x00")
	copy(b[108:], "0000000\x00")
	copy(b[116:], "0000000\x00")
	base256(b[124:136], e.size)
	copy(b[136:], "00000000000\x00")
	b[156] = e.kind
	copy(b[257:], "ustar\x0000")
	if e.sparse != nil {
		copy(b[257:], "ustar  \x00")
		base256(b[386:398], *e.sparse-e.size)
		base256(b[398:410], e.size)
		base256(b[483:495], *e.sparse)
	}
	copy(b[148:], "        ")
	sum := 0
	for _, c := range b {
		sum += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	return b
}

func base256(field []byte, n int64) {
	binary.BigEndian.PutUint64(field[len(field)-8:], uint64(n))
	field[0] |= 0x80
}

// pax is an extended header with records, key and value in turn.
func pax(records ...string) []byte {
	var content strings.Builder
	for i := 0; i+1 < len(records); i += 2 {
		content.WriteString(paxRecord(records[i], records[i+1]))
	}
	text := content.String()
	out := rawEntry{name: "pax", kind: 'x', size: int64(len(text))}.header()
	out = append(out, text...)
	return append(out, make([]byte, padding(int64(len(text))))...)
}

// paxRecord is "length key=value\n", with a length that counts itself.
func paxRecord(key, value string) string {
	n := len(key) + len(value) + 3
	for total := n; ; total++ {
		if record := fmt.Sprintf("%d %s=%s\n", total, key, value); len(record) == total {
			return record
		}
	}
}

func padding(size int64) int64 { return (block - size%block) % block }

// end are the two blocks that end a tar.
func end(w io.Writer) error {
	_, err := w.Write(make([]byte, 2*block))
	return err
}

// zeros is an endless stream of nothing.
type zeros struct{}

// Read clears p.
func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// pattern is an endless stream of a text.
type pattern struct {
	text string
	at   *int
}

// Read repeats the text.
func (r pattern) Read(p []byte) (int, error) {
	for n := 0; n < len(p); {
		c := copy(p[n:], r.text[*r.at:])
		n += c
		*r.at = (*r.at + c) % len(r.text)
	}
	return len(p), nil
}

// repeated is size bytes of a text, over and over.
func repeated(text string, size int64) io.Reader {
	return io.LimitReader(pattern{text, new(int)}, size)
}
