package httpserver

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// limitBodyTime gives the sender of a body a fixed time for the whole of it.
// http.Server.ReadTimeout is no substitute: it also ends requests that read
// their body in time and then work longer.
func limitBodyTime(next http.Handler, limit time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
			next.ServeHTTP(w, r)
			return
		}
		controller := http.NewResponseController(w)
		if err := controller.SetReadDeadline(time.Now().Add(limit)); err == nil {
			r.Body = &timedBody{ReadCloser: r.Body, lift: func() { _ = controller.SetReadDeadline(time.Time{}) }}
		}
		next.ServeHTTP(w, r)
	})
}

// timedBody lifts the read deadline once the body was read to its end.
type timedBody struct {
	io.ReadCloser
	lift func()
}

func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == io.EOF:
		b.lift()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return n, errs.New(errs.Timeout, "httpserver: the request body took too long to arrive")
	}
	return n, err
}
