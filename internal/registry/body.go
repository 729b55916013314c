package registry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// body is a response's body that ends a transfer which stalls or grows too
// large, and gives its errors a kind.
type body struct {
	io.ReadCloser
	ctx    context.Context
	line   *line
	host   string
	cancel context.CancelFunc
	pause  time.Duration
	idle   *time.Timer
	left   int64 // bytes still allowed; negative means any number
	limit  int64
	// objects are those still allowed while left counts.
	objects int
	// stalled is set when idle has cancelled the transfer.
	stalled atomic.Bool
}

// newBody bounds manifests in size; layers and configs have a size that the
// manifest states and the library checks.
func newBody(resp *http.Response, cancel context.CancelFunc, s Settings, l *line) *body {
	b := &body{
		ReadCloser: resp.Body, ctx: resp.Request.Context(), line: l, host: resp.Request.URL.Host,
		cancel: cancel, pause: s.RequestTimeout, left: -1,
	}
	if strings.Contains(resp.Request.URL.Path, "/manifests/") {
		b.left, b.limit, b.objects = s.MaxManifestBytes, s.MaxManifestBytes, maxObjects
	}
	b.idle = time.AfterFunc(b.pause, func() {
		b.stalled.Store(true)
		cancel()
	})
	// It runs only while somebody reads.
	b.idle.Stop()
	return b
}

// Read reads on, as fast as the registry's bandwidth lets it.
func (b *body) Read(p []byte) (int, error) {
	if most := b.line.maxRead(); most > 0 {
		p = p[:min(len(p), most)]
	}
	b.idle.Reset(b.pause)
	n, err := b.ReadCloser.Read(p)
	b.idle.Stop()
	if waitErr := b.line.received(b.ctx, n); waitErr != nil && err == nil {
		err = waitErr
	}
	if b.left >= 0 {
		if int64(n) > b.left {
			return 0, errs.New(errs.TooLarge, "the manifest is larger than %d bytes", b.limit)
		}
		b.left -= int64(n)
		if b.objects -= objects(p[:n]); b.objects < 0 {
			return 0, tooManyObjects("manifest")
		}
	}
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	if b.stalled.Load() {
		return n, errs.New(errs.Timeout, "%s sent nothing for %s", b.host, b.pause)
	}
	var known *errs.Error
	if errors.As(err, &known) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return n, err
	}
	return n, errs.New(errs.Unavailable, "the connection to %s broke off: %s", b.host, clean(err))
}

// Close ends the transfer.
func (b *body) Close() error {
	b.idle.Stop()
	err := b.ReadCloser.Close()
	b.cancel()
	return err
}

// maxObjects bounds the JSON objects of a manifest or config. Readers keep a
// structure for each, which can take a hundred times the two bytes that an object
// takes. An image of a thousand layers has fewer than ten thousand.
const maxObjects = 50_000

// objects counts what may begin an object; braces in texts count too.
func objects(content []byte) int { return bytes.Count(content, []byte("{")) }

func tooManyObjects(what string) error {
	return errs.New(errs.TooLarge, "the %s holds more than %d objects", what, maxObjects)
}
