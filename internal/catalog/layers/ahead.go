package layers

import (
	"io"
	"os"
	"sync"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

const (
	pieceBytes  = 128 << 10
	piecesAhead = 4
)

// readAhead reads in a goroutine of its own, a few pieces ahead, so that fetching,
// unpacking and what is done with the content do not wait for each other. One
// goroutine reads from it.
type readAhead struct {
	pieces chan piece
	free   chan []byte
	stop   chan struct{}
	done   chan struct{}
	close  func() error // once

	rest   []byte
	buffer []byte
	err    error
}

type piece struct {
	content []byte
	err     error
}

// ahead reads from r, pieces of at least so many bytes unless there is an end.
// Closing it closes under, which has to end a read from r that is under way, and
// waits for the goroutine.
func ahead(r io.Reader, least int, under io.Closer) *readAhead {
	a := &readAhead{
		pieces: make(chan piece, piecesAhead), free: make(chan []byte, piecesAhead+2),
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	a.close = sync.OnceValue(func() error {
		close(a.stop)
		err := under.Close()
		<-a.done
		return err
	})
	for range piecesAhead + 2 {
		a.free <- nil // made when first used
	}
	go a.run(r, least)
	return a
}

func (a *readAhead) run(r io.Reader, least int) {
	defer close(a.done)
	if z, ok := r.(zstdReader); ok {
		defer z.Close()
	}
	for {
		var buffer []byte
		select {
		case <-a.stop:
			return
		case buffer = <-a.free:
		}
		if buffer == nil {
			buffer = make([]byte, pieceBytes)
		}
		n, err := fill(r, buffer, least)
		select {
		case <-a.stop:
			return
		case a.pieces <- piece{buffer[:n], err}:
		}
		if err != nil {
			return
		}
	}
}

// fill reads into the buffer until there are so many bytes or an error. A panic of
// a decoder becomes one: nothing would catch it in a goroutine. So does a reader
// that never gives anything.
func fill(r io.Reader, buffer []byte, least int) (n int, err error) {
	const patience = 1000
	defer func() {
		if p := recover(); p != nil {
			err = errs.New(errs.Malformed, "unpack layers: panic: %v", p)
		}
	}()
	for idle := 0; n < least && err == nil; {
		var more int
		more, err = r.Read(buffer[n:])
		n += more
		if idle++; more > 0 {
			idle = 0
		}
		if idle > patience && err == nil {
			err = io.ErrNoProgress
		}
	}
	return n, err
}

// Read reads on. After Close there is nothing more.
func (a *readAhead) Read(p []byte) (int, error) {
	for len(a.rest) == 0 {
		if a.err != nil {
			return 0, a.err
		}
		if a.buffer != nil {
			a.free <- a.buffer[:cap(a.buffer)]
			a.buffer = nil
		}
		select {
		case next := <-a.pieces:
			a.rest, a.buffer, a.err = next.content, next.content, next.err
		case <-a.stop:
			a.err = os.ErrClosed
		}
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// Close ends the reading. It may be called at any time and more than once.
func (a *readAhead) Close() error { return a.close() }
