package localpostgres

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// startDeadline bounds one attempt; recovery after a crash may take a while.
const startDeadline = 2 * time.Minute

// run starts the server on a free port and waits until it answers. It tries
// again while what stands in the way goes away by itself.
func (c *cluster) run(ctx context.Context, bin programs, cfg Config, urlFor func(port int) string) (*process, int, error) {
	logFile := filepath.Join(filepath.Dir(c.dir), "postgres.log")
	for deadline := time.Now().Add(startDeadline); ; {
		p, port, err := c.attempt(ctx, bin, cfg.Durable, logFile, urlFor)
		if err == nil {
			return p, port, nil
		}
		text, _ := os.ReadFile(logFile)
		if passing(string(text)) && time.Now().Before(deadline) && pause(ctx, 100*time.Millisecond) == nil {
			continue
		}
		if cfg.Log != nil {
			_, _ = cfg.Log.Write(text)
		}
		return nil, 0, errs.Wrap(errs.KindOf(err), "localpostgres: "+lastLines(string(text), 5), err)
	}
}

// attempt starts the server once; one that does not come up is gone afterwards.
func (c *cluster) attempt(ctx context.Context, bin programs, durable bool, logFile string, urlFor func(port int) string) (*process, int, error) {
	port, err := freePort()
	if err != nil {
		return nil, 0, err
	}
	p, err := c.launch(bin, port, logFile, durable)
	if err != nil {
		return nil, 0, err
	}
	if err := p.waitReady(ctx, urlFor(port)); err != nil {
		p.end(context.WithoutCancel(ctx))
		return nil, 0, err
	}
	return p, port, nil
}

// passing reports whether the log tells of something that goes away: another
// program took the port in between, or the children of a server that was killed
// have not all left yet.
func passing(log string) bool {
	return strings.Contains(log, "could not bind") || strings.Contains(log, "pre-existing shared memory block")
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, errs.Op("localpostgres: free port", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// arguments are the server's settings. Without durable nothing waits for the
// disk and no background work disturbs a measurement.
func arguments(dir string, port int, durable bool) []string {
	args := []string{
		"-D", dir, "-p", strconv.Itoa(port),
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
		"-c", "max_connections=200", "-c", "shared_buffers=128MB", "-c", "jit=off", "-c", "dynamic_shared_memory_type=mmap",
		"-c", "wal_level=minimal", "-c", "max_wal_senders=0",
		"-c", "timezone=UTC", "-c", "log_timezone=UTC", "-c", "lc_messages=C",
		"-c", "log_min_messages=warning", "-c", "logging_collector=off", "-c", "log_destination=stderr",
	}
	if durable {
		return args
	}
	return append(args,
		"-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off",
		"-c", "autovacuum=off", "-c", "max_wal_size=256MB", "-c", "checkpoint_timeout=1h")
}

// process is the running server.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
}

// launch starts the program with its output in a file of its own, which works
// on after this process has gone.
func (c *cluster) launch(bin programs, port int, logFile string, durable bool) (*process, error) {
	const op = "localpostgres: start server"
	out, err := os.Create(logFile)
	if err != nil {
		return nil, errs.Op(op, err)
	}
	defer out.Close()
	cmd, release, err := c.account.command(context.Background(), c.dir, filepath.Join(bin.dir, "postgres"),
		func(dir string) []string { return arguments(dir, port, durable) })
	if err != nil {
		return nil, err
	}
	defer release()
	cmd.Stdout, cmd.Stderr = out, out
	endWithParent(cmd, durable)
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go p.watch(started)
	if err := <-started; err != nil {
		return nil, errs.Op(op, err)
	}
	return p, nil
}

// watch starts the program and stays until it ends. The kernel's "parent died"
// signal is tied to the starting thread, so that thread must live as long.
func (p *process) watch(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.done)
	err := p.cmd.Start()
	started <- err
	if err == nil {
		_ = p.cmd.Wait() // how it ended is in its log
	}
}

// waitReady returns when a connection succeeds, or when the program ended.
func (p *process) waitReady(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, startDeadline)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, url)
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-p.done:
			return errs.New(errs.Unavailable, "the server ended at once")
		case <-ctx.Done():
			return errs.Op("wait for the server", ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// stop asks with a signal and reports whether the process ended before ctx did.
func (p *process) stop(ctx context.Context, signal os.Signal) bool {
	_ = p.cmd.Process.Signal(signal) // an ended process is what we want
	select {
	case <-p.done:
		return true
	case <-ctx.Done():
		return false
	}
}

// end stops the process without a checkpoint, and kills one that does not obey.
// It reports whether that was needed.
func (p *process) end(ctx context.Context) (killed bool) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if p.stop(ctx, signalImmediate) {
		return false
	}
	_ = p.cmd.Process.Kill()
	<-p.done
	return true
}
