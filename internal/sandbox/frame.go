package sandbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Frame is one message on the line: what kind it is, and its content. Kinds below
// 16 belong to this package.
type Frame struct {
	Kind byte
	Body []byte
}

const (
	kindHello byte = 1 // to the child: what it may take
	kindReady byte = 2 // from the child: it can work
)

// headerBytes is the length of a frame's header: four bytes of length, the kind.
const headerBytes = 5

// writeFrame writes a frame.
func writeFrame(w io.Writer, f Frame) error {
	header := append(binary.BigEndian.AppendUint32(make([]byte, 0, headerBytes), uint32(len(f.Body))), f.Kind)
	if _, err := w.Write(header); err != nil {
		return err
	}
	_, err := w.Write(f.Body)
	return err
}

// readFrame reads a frame whose body is at most as large as limit says for its
// kind. Memory is taken as content comes, not as it is announced.
func readFrame(r io.Reader, limit func(kind byte) int64) (Frame, error) {
	var header [headerBytes]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return Frame{}, err
	}
	n := int64(binary.BigEndian.Uint32(header[:]))
	if most := limit(header[4]); n > most {
		return Frame{}, fmt.Errorf("a message of kind %d with %d bytes, where at most %d are taken", header[4], n, most)
	}
	body, err := readBody(r, n)
	return Frame{Kind: header[4], Body: body}, err
}

// readBody reads n bytes.
func readBody(r io.Reader, n int64) ([]byte, error) {
	const step = 1 << 20
	body := make([]byte, 0, min(n, step))
	for int64(len(body)) < n {
		at := len(body)
		more := min(n-int64(at), max(step, int64(at)))
		body = append(body, make([]byte, more)...)
		if _, err := io.ReadFull(r, body[at:]); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return body, nil
}
