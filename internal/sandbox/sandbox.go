// Package sandbox keeps child processes of our own program for work that what
// comes from outside can turn against us.
//
// It is responsible for the life of the children (started before they are
// needed, one job at a time, replaced when they failed or grew old), for what a
// job may take of this machine, which is watched from outside, for what a child
// can reach of it, and for the line between the two processes. It must not know
// what a job is about: what is said on the line is the caller's business, and
// what a child says is believed by nobody here.
package sandbox

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/filelock"
)

// Options say what runs and what it may take. Count is required; a limit that is
// zero is none.
type Options struct {
	// Program is started with Args and with nothing in its environment. Empty
	// means the program that is running, even when its file was replaced.
	Program string
	Args    []string
	// Count is how many children there are, and so how many jobs at a time.
	Count int
	// Jobs is after how many jobs a child is replaced; 0 means never.
	Jobs int
	// Memory is how much resident memory a child may have.
	Memory int64
	// Private are where each child gets directories of its own. It can write
	// nowhere else, and they are emptied after each job. The first is its working
	// directory and that for temporary files.
	Private []Room
	// Readable are what a child can read besides.
	Readable []string
	// Guard is asked while a job runs whether it may go on, as for the sake of the
	// disk; its error ends the job. May be nil.
	Guard func() error
	// StartTimeout is how long a child may take to get ready; 2 minutes.
	StartTimeout time.Duration
	// Logger gets what children write to standard error; nil discards it.
	Logger *slog.Logger
	// Metrics may be nil.
	Metrics *Metrics
}

// Room is a directory in which each child gets one of its own, and what may be in
// that.
type Room struct {
	Parent string // made when it is missing; empty means the system's for temporary files
	Bytes  int64  // 0 means no limit
}

// Pool runs jobs in child processes. It is safe for concurrent use.
type Pool struct {
	options Options
	free    chan *place

	ctx     context.Context // ends with the pool
	stop    context.CancelFunc
	moving  sync.WaitGroup // starts and cleaning under way
	telling sync.Once
	closing sync.Once
}

// New makes a pool and removes what the children of killed processes left behind.
// No child is started before Warm or Run. The caller closes the pool.
func New(o Options) *Pool {
	if o.StartTimeout == 0 {
		o.StartTimeout = 2 * time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Pool{options: o, free: make(chan *place, o.Count)}
	p.ctx, p.stop = context.WithCancel(context.Background())
	for range o.Count {
		p.free <- &place{}
	}
	p.moving.Go(p.sweep)
	return p
}

// Warm starts every child that is not there, and returns without waiting until
// they are ready.
func (p *Pool) Warm() {
	for range p.options.Count {
		select {
		case place := <-p.free:
			p.begin(place, startFirst)
			p.free <- place
		default: // at work, and so there
		}
	}
}

// Try starts a child and waits until it is ready. It returns what this system has
// no means for: to keep children from "files", from "calls", within "memory". The
// error is of kind Unavailable when no child gets ready.
func (p *Pool) Try(ctx context.Context) (missing []string, err error) {
	err = p.Run(ctx, func(_ context.Context, c *Conn) error {
		missing = c.child.missing
		return nil
	})
	return missing, err
}

// Close kills all children, whatever they do, and removes their directories.
// Jobs under way end with an error of kind Canceled.
func (p *Pool) Close() {
	p.closing.Do(func() {
		p.stop()
		for range p.options.Count {
			p.retire(<-p.free)
		}
		p.moving.Wait()
	})
}

// Job is what is done with a child: it talks, and returns what came of it. It may
// be run a second time, with another child, when the first one broke.
type Job func(ctx context.Context, c *Conn) error

// Run does a job in a child as soon as one is free. The child is killed when ctx
// ends or a limit is exceeded, and replaced then and after every failure that the
// job has not called settled.
//
// Errors are those of the job; Timeout or Canceled when ctx ended; TooLarge when
// the child took more than it may; Unavailable when no child can be started, the
// disk has no room, or the system killed the child twice; Malformed when two
// children broke over the job.
func (p *Pool) Run(ctx context.Context, job Job) error {
	var place *place
	select {
	case <-p.ctx.Done():
		return errClosed()
	case <-ctx.Done():
		return errs.Op("sandbox: wait for a worker", context.Cause(ctx))
	case place = <-p.free:
	}
	defer func() { p.free <- place }()
	err := p.attempt(ctx, place, job)
	var broken *brokenError
	if !errors.As(err, &broken) {
		return err
	}
	p.options.Logger.WarnContext(ctx, "worker process broke, trying again in another", "reason", broken.Error())
	if err = p.attempt(ctx, place, job); errors.As(err, &broken) {
		p.options.Logger.WarnContext(ctx, "worker process broke again", "reason", broken.Error())
		return broken.verdict()
	}
	return err
}

func errClosed() error { return errs.New(errs.Canceled, "sandbox: closed") }

// attempt runs a job in the child of a place.
func (p *Pool) attempt(ctx context.Context, place *place, job Job) error {
	child, err := p.await(ctx, place)
	if err != nil {
		return err
	}
	started := time.Now()
	reuse, err := child.run(ctx, p.ctx, job)
	p.options.Metrics.job(err, time.Since(started))
	switch {
	case !reuse:
		p.replace(place, startFailed)
	case p.options.Jobs > 0 && child.jobs >= p.options.Jobs:
		p.replace(place, startAged)
	case child.clean() != nil:
		p.replace(place, startFailed)
	}
	return err
}

// sweep removes what children of killed processes left, now and when what is too
// young to be told from a new one has come of age.
func (p *Pool) sweep() {
	const age = 90 * time.Second
	for {
		for _, room := range p.options.Private {
			filelock.SweepPrivate(room.Parent, dirPrefix, time.Now())
		}
		select {
		case <-p.ctx.Done():
			return
		case <-time.After(age):
		}
	}
}

// tellMissing says once what children can do here that they should not.
func (p *Pool) tellMissing(missing []string) {
	p.telling.Do(func() {
		if len(missing) > 0 {
			p.options.Logger.Warn("this system cannot confine worker processes fully", "missing", missing)
		}
	})
}
