package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// streamStall is how long the service may be silent in the middle of a stream.
const streamStall = 10 * time.Minute

// stream asks for a path as get does and copies the answer, which may be of any
// length and take any time, as long as it keeps coming.
func (c *client) stream(ctx context.Context, path string, parameters url.Values, into io.Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	request, err := c.request(ctx, http.MethodGet, path, parameters, nil)
	if err != nil {
		return err
	}
	silence := time.AfterFunc(streamStall, func() { cancel(context.DeadlineExceeded) })
	defer silence.Stop()
	patient := http.Client{Transport: c.http.Transport, CheckRedirect: c.http.CheckRedirect}
	response, err := patient.Do(request)
	if err != nil {
		return c.broken(ctx, err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return c.refused(response)
	}
	_, err = io.Copy(into, watched{response.Body, func() { silence.Reset(streamStall) }})
	var theirs readError
	if errors.As(err, &theirs) {
		return c.broken(ctx, theirs.error)
	}
	return errs.Wrap(errs.Unavailable, "write the answer", err)
}

// broken is a stream that stopped before its end.
func (c *client) broken(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		err = cause
		if errors.Is(cause, context.DeadlineExceeded) {
			ctx = context.WithoutCancel(ctx) // it is the service that took too long
		}
	}
	return c.unreachable(ctx, err)
}

// watched tells of every piece that is read.
type watched struct {
	from io.Reader
	seen func()
}

// readError is an error of the service's side, told apart from one of the file
// that is written.
type readError struct{ error }

// Read reads on.
func (w watched) Read(b []byte) (int, error) {
	n, err := w.from.Read(b)
	if n > 0 {
		w.seen()
	}
	if err != nil && err != io.EOF {
		err = readError{err}
	}
	return n, err
}
