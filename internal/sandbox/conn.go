package sandbox

import (
	"encoding/binary"
	"errors"
	"io"
	"sync"
)

// Lanes is how many streams can go to a child at a time, beside the frames.
const Lanes = 3

// Conn is the line to a child during one job. Send may be called by several
// goroutines at a time, Receive by one, and Stream by one for each lane.
type Conn struct {
	child   *child
	writing sync.Mutex
	settled bool
}

// Dir is the child's own directory in the one that stands at the same place in
// Options.Private. What is in there was written by the child: look at it before
// it is used.
func (c *Conn) Dir(n int) string { return c.child.dirs[n].Path() }

// Send sends a frame. It fails only when the child is gone.
func (c *Conn) Send(f Frame) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.child.broke("send", writeFrame(c.child.control, f))
}

// Receive waits for a frame of the child. A body of more bytes than limit says for
// its kind breaks the job, as the end of the child does.
func (c *Conn) Receive(limit func(kind byte) int64) (Frame, error) {
	f, err := readFrame(c.child.answers, limit)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errGone
	}
	return f, c.child.broke("receive", err)
}

// Broke says that the child does not keep to what was agreed. The job ends with
// the error that is returned, and is tried once more in another child.
func (c *Conn) Broke(reason string) error { return c.child.broke("agreement", errors.New(reason)) }

// Kill ends the child at once. Who waits for it, or writes to it, gets an error.
// The job is to fail, for a reason of its own.
func (c *Conn) Kill() { c.child.kill() }

// Settle says that the job ended in an orderly way whatever it returns: the child
// waits for the next one and has done nothing odd.
func (c *Conn) Settle() { c.settled = true }

const (
	chunkBytes = 256 << 10
	// Lengths that are none.
	endOfStream uint32 = 0
	cutStream   uint32 = 0xffffffff
)

// Stream sends what r holds on a lane. When r fails the child reads an error in
// its place, and the error of r is returned. When stop is closed the stream is cut
// short and nothing is returned: the child has said that it wants no more.
func (c *Conn) Stream(lane int, r io.Reader, stop <-chan struct{}) error {
	w := c.child.lanes[lane]
	chunk := make([]byte, 4+chunkBytes)
	for {
		n, err := io.ReadAtLeast(r, chunk[4:], 1)
		if errors.Is(err, io.EOF) {
			return c.mark(lane, endOfStream)
		}
		select {
		case <-stop:
			return c.mark(lane, cutStream)
		default:
		}
		if err != nil {
			if cut := c.mark(lane, cutStream); cut != nil {
				return cut
			}
			return err
		}
		binary.BigEndian.PutUint32(chunk, uint32(n))
		if _, err := w.Write(chunk[:4+n]); err != nil {
			return c.child.broke("stream", err)
		}
	}
}

// mark ends a stream.
func (c *Conn) mark(lane int, how uint32) error {
	_, err := c.child.lanes[lane].Write(binary.BigEndian.AppendUint32(nil, how))
	return c.child.broke("stream", err)
}

// Cut tells the child that a stream it waits for does not come.
func (c *Conn) Cut(lane int) error { return c.mark(lane, cutStream) }
