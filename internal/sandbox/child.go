package sandbox

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"sync/atomic"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/filelock"
)

// child is one process and the line to it.
type child struct {
	options *Options
	process *exec.Cmd
	dirs    []*filelock.Private
	control *os.File // to its standard input
	answers *bufio.Reader
	lanes   []*os.File
	close   []*os.File // all of the line that is ours
	said    *said

	missing []string      // what of its fence this system cannot put up
	exited  chan struct{} // closed when it is gone and all it said was read
	jobs    int
	busy    bool        // with a job, or left by one that panicked
	blamed  atomic.Bool // it was killed for what it said
}

// run does a job. reuse tells whether the child is as good as before.
func (c *child) run(ctx, pool context.Context, job Job) (reuse bool, err error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	defer context.AfterFunc(pool, func() { fail(errClosed()) })()
	spared := context.AfterFunc(ctx, c.kill)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		c.watch(ctx, fail)
	}()
	defer func() { fail(nil); <-watched }()

	c.busy = true
	c.said.begin()
	conn := &Conn{child: c}
	err = job(ctx, conn)
	c.jobs++
	if !spared() { // it was killed
		if err != nil {
			err = errs.Op("sandbox: run", context.Cause(ctx))
		}
		return false, err
	}
	c.busy = false
	var broken *brokenError
	if errors.As(err, &broken) {
		return false, c.postMortem(broken)
	}
	return !c.gone() && (err == nil || conn.settled), err
}

// gone tells whether the child cannot be used any more.
func (c *child) gone() bool {
	select {
	case <-c.exited:
		return true
	default:
		return c.busy
	}
}

// clean empties the child's directories.
func (c *child) clean() error {
	var all []error
	for _, d := range c.dirs {
		all = append(all, d.Empty())
	}
	return errors.Join(all...)
}

// end kills the child and removes what it had.
func (c *child) end() {
	c.kill()
	<-c.exited
	for _, f := range c.close {
		_ = f.Close()
	}
	for _, d := range c.dirs {
		d.Remove()
	}
}

// broke turns a failure on the line into the one error that says so, and sees to
// it that the child ends: nobody may wait for it any more.
func (c *child) broke(what string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, errGone) || errors.Is(err, os.ErrClosed) || isPipeEnd(err) {
		// It is on its way out, and how it went is of interest.
		const patience = 2 * time.Second
		time.AfterFunc(patience, c.blame)
	} else {
		c.blame()
	}
	return &brokenError{what: what, err: err}
}

// blame kills the child for what it did, unless it ended already.
func (c *child) blame() {
	select {
	case <-c.exited:
	default:
		c.blamed.Store(true)
		c.kill()
	}
}

// postMortem completes what is known of a child that broke.
func (c *child) postMortem(b *brokenError) error {
	<-c.exited
	b.said = c.said.text()
	if !c.blamed.Load() {
		b.state = c.process.ProcessState
	}
	return b
}

// startChild starts a child and waits until it is ready.
func (p *Pool) startChild() (c *child, err error) {
	if p.ctx.Err() != nil {
		return nil, errClosed()
	}
	started := time.Now()
	c = &child{options: &p.options, exited: make(chan struct{}), said: &said{logger: p.options.Logger}}
	defer func() {
		if err != nil && c.process == nil {
			close(c.exited)
		}
		if err != nil {
			c.end()
		}
	}()
	for _, room := range p.options.Private {
		dir, err := makeDir(room.Parent)
		if err != nil {
			return c, errs.Wrap(errs.Unavailable, "sandbox: make a worker's directory", err)
		}
		c.dirs = append(c.dirs, dir)
	}
	if err := c.launch(); err != nil {
		return c, errs.New(errs.Unavailable, "sandbox: start a worker process: %v", err)
	}
	if err := c.greet(p.ctx); err != nil {
		return c, err
	}
	p.options.Metrics.ready(time.Since(started))
	p.tellMissing(c.missing)
	return c, nil
}

func makeDir(parent string) (*filelock.Private, error) {
	if parent != "" {
		if err := os.MkdirAll(parent, 0o700); err != nil {
			return nil, err
		}
	}
	return filelock.NewPrivate(parent, dirPrefix)
}

// greet tells the child its limits and waits until it is ready.
func (c *child) greet(ctx context.Context) error {
	h := hello{Memory: c.options.Memory}
	for i, d := range c.dirs {
		h.Dirs = append(h.Dirs, d.Path())
		h.Bytes = max(h.Bytes, c.options.Private[i].Bytes)
	}
	body, err := json.Marshal(h)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.options.StartTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, c.kill)()
	if err = writeFrame(c.control, Frame{kindHello, body}); err == nil {
		var f Frame
		if f, err = readFrame(c.answers, func(byte) int64 { return 0 }); err == nil && f.Kind != kindReady {
			err = errors.New("it does not say that it is ready")
		}
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return errs.New(errs.Unavailable, "sandbox: a worker process was not ready after %s", c.options.StartTimeout)
	case ctx.Err() != nil:
		return errClosed()
	}
	c.kill()
	<-c.exited
	return errs.New(errs.Unavailable, "sandbox: a worker process does not start: %v: %s", err, c.said.text())
}
