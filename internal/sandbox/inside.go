package sandbox

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// hello is what a child is told first.
type hello struct {
	Memory int64    // what it may have
	Bytes  int64    // what it may write into one file
	Dirs   []string // where
}

// Peer is the child's end of the line.
type Peer struct {
	hello   hello
	lanes   [Lanes]*bufio.Reader
	writing sync.Mutex
	frames  chan Frame
}

const (
	// largestOrder bounds what a parent sends in one frame.
	largestOrder = 1 << 30
	// deepestStack ends a recursion without end long before memory does.
	deepestStack = 256 << 20
)

// Join is called by a child before anything else: it gives up what a child does
// not need, and connects. The process exits when the parent is gone, whatever it
// is doing then. The error says that no parent is there.
func Join() (*Peer, error) {
	in := bufio.NewReader(os.Stdin)
	f, err := readFrame(in, func(byte) int64 { return largestOrder })
	if err != nil || f.Kind != kindHello {
		return nil, errors.New("sandbox: not started by a parent")
	}
	p := &Peer{frames: make(chan Frame, framesAhead)}
	if err := json.Unmarshal(f.Body, &p.hello); err != nil {
		return nil, err
	}
	for i := range p.lanes {
		p.lanes[i] = bufio.NewReaderSize(os.NewFile(uintptr(firstLane+i), "lane"), 64<<10)
	}
	debug.SetMaxStack(deepestStack)
	settleIn(p.hello)
	go p.read(in)
	return p, nil
}

// firstLane is the file descriptor of the first lane.
const firstLane = 3

// framesAhead is how many frames wait for who handles them before the end of the
// parent could go unnoticed.
const framesAhead = 256

// read takes frames as they come.
func (p *Peer) read(in io.Reader) {
	for {
		f, err := readFrame(in, func(byte) int64 { return largestOrder })
		if err != nil {
			os.Exit(0)
		}
		p.frames <- f
	}
}

// Dirs are the child's own directories, as Options.Private orders them.
func (p *Peer) Dirs() []string { return p.hello.Dirs }

// Ready tells the parent that jobs may come.
func (p *Peer) Ready() error { return p.Send(Frame{Kind: kindReady}) }

// Send sends a frame to the parent.
func (p *Peer) Send(f Frame) error {
	p.writing.Lock()
	defer p.writing.Unlock()
	return writeFrame(os.Stdout, f)
}

// Frames are what the parent sends. Who gets them takes them as they come, also
// while it works.
func (p *Peer) Frames() <-chan Frame { return p.frames }

// ErrCut ends a stream that the parent could not or would not send to its end.
var ErrCut = errors.New("sandbox: the stream was cut short")

// Lane returns the next stream of a lane. It has to be closed before the one
// after it is asked for; what was not read of it is then skipped.
func (p *Peer) Lane(n int) io.ReadCloser { return &stream{lane: p.lanes[n]} }

type stream struct {
	mu   sync.Mutex
	lane *bufio.Reader
	rest uint32 // of the chunk
	end  error

	closed atomic.Bool
}

// Read reads on. It ends with io.EOF, ErrCut, or os.ErrClosed after Close.
func (s *stream) Read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return 0, os.ErrClosed
	}
	return s.read(b)
}

func (s *stream) read(b []byte) (int, error) {
	for s.rest == 0 && s.end == nil {
		s.next()
	}
	if s.end != nil {
		return 0, s.end
	}
	n, err := s.lane.Read(b[:min(len(b), int(s.rest))])
	s.rest -= uint32(n)
	if err != nil {
		s.end = ErrCut
	}
	return n, nil
}

func (s *stream) next() {
	var header [4]byte
	if _, err := io.ReadFull(s.lane, header[:]); err != nil {
		s.end = ErrCut
		return
	}
	switch s.rest = binary.BigEndian.Uint32(header[:]); s.rest {
	case endOfStream:
		s.end = io.EOF
	case cutStream:
		s.rest, s.end = 0, ErrCut
	}
}

// Close skips the rest of the stream. It may be called while another goroutine
// reads.
func (s *stream) Close() error {
	s.closed.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	buffer := make([]byte, 64<<10)
	for s.end == nil {
		_, _ = s.read(buffer)
	}
	return nil
}
