package layers

import (
	"errors"
	"hash/crc32"
	"io"
	"os"
)

const (
	// bufferBytes is how much is written at a time.
	bufferBytes = 256 << 10
	// roomEvery is how often room is asked for while writing.
	roomEvery = 16 << 20
)

// contents is the file that the kept contents of a layer are written to, one
// after the other.
type contents struct {
	file   *os.File
	room   func() error
	buffer []byte
	size   int64  // of all that was added
	asked  int64  // size when room was last asked for
	sum    uint32 // CRC-32C of what was flushed
}

func newContents(f *os.File, room func() error) *contents {
	return &contents{file: f, room: room, buffer: make([]byte, 0, bufferBytes), asked: -roomEvery}
}

// add appends a few bytes.
func (c *contents) add(b []byte) error {
	if len(c.buffer)+len(b) > cap(c.buffer) {
		if err := c.flush(); err != nil {
			return err
		}
	}
	c.buffer = append(c.buffer, b...)
	c.size += int64(len(b))
	return nil
}

// from appends a part of what r holds; more is false at its end.
func (c *contents) from(r io.Reader) (more bool, err error) {
	if len(c.buffer) == cap(c.buffer) {
		if err := c.flush(); err != nil {
			return false, err
		}
	}
	n, err := r.Read(c.buffer[len(c.buffer):cap(c.buffer)])
	c.buffer = c.buffer[:len(c.buffer)+n]
	c.size += int64(n)
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	return err == nil, err
}

// flush writes the buffer out.
func (c *contents) flush() error {
	if c.size-c.asked >= roomEvery {
		c.asked = c.size
		if err := c.room(); err != nil {
			return err
		}
	}
	c.sum = crc32.Update(c.sum, castagnoli, c.buffer)
	_, err := c.file.Write(c.buffer)
	c.buffer = c.buffer[:0]
	if err != nil {
		return diskError(err)
	}
	return nil
}
