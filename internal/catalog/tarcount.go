package catalog

import (
	"encoding/hex"
	"hash"
)

// blockSize is the unit of a tar file.
const blockSize = 512

// tarCounter counts the entries of a tar stream as it goes by, without keeping
// any of it. It only has to be right about honest archives and never too low
// about others: a block that looks like no header counts for nothing, and a
// reader of the archive stops at such a block.
type tarCounter struct {
	block [blockSize]byte
	have  int   // bytes of block that are filled
	skip  int64 // bytes of file content still to come
}

// count takes the next piece of the stream and returns how many entries began
// in it.
func (c *tarCounter) count(p []byte) (entries int64) {
	for len(p) > 0 {
		if c.skip > 0 {
			n := min(c.skip, int64(len(p)))
			c.skip -= n
			p = p[n:]
			continue
		}
		n := copy(c.block[c.have:], p)
		c.have += n
		p = p[n:]
		if c.have == blockSize {
			c.have = 0
			if c.isHeader() {
				entries++
				c.skip = c.contentSize()
			}
		}
	}
	return entries
}

// isHeader checks the block's checksum: the sum of its bytes with the field of
// the checksum itself taken as spaces.
func (c *tarCounter) isHeader() bool {
	const start, end = 148, 156
	sum := int64(' ' * (end - start))
	for i, b := range c.block {
		if i < start || i >= end {
			sum += int64(b)
		}
	}
	return sum != ' '*(end-start) && octal(c.block[start:end]) == sum
}

// contentSize returns how many bytes of content, padded to blocks, follow. Links
// and directories have none whatever they say.
func (c *tarCounter) contentSize() int64 {
	switch c.block[156] {
	case '1', '2', '3', '4', '5', '6':
		return 0
	}
	field := c.block[124:136]
	n := octal(field)
	if field[0]&0x80 != 0 { // GNU's binary form, for files beyond 8 GiB
		n = 0
		for _, b := range field[4:] {
			n = n<<8 | int64(b)
		}
	}
	if n < 0 || n > 1<<50 {
		return 0
	}
	return (n + blockSize - 1) / blockSize * blockSize
}

// octal reads a number as tar writes it: octal digits between spaces or NULs.
func octal(field []byte) (n int64) {
	for _, b := range field {
		switch {
		case b >= '0' && b <= '7':
			n = n<<3 | int64(b-'0')
		case n > 0:
			return n
		}
	}
	return n
}

func hexOf(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }
