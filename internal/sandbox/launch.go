package sandbox

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"time"
)

// dirPrefix begins the names of children's directories.
const dirPrefix = "tidewaiter-worker-"

// launch starts the process with a line to it.
func (c *child) launch() error {
	program, name := c.options.Program, c.options.Program
	if program == "" {
		var err error
		if program, err = ownProgram(); err != nil {
			return err
		}
		name = os.Args[0]
	}
	cmd := &exec.Cmd{Path: program, Args: append([]string{name}, c.options.Args...), Env: c.environment()}
	if len(c.dirs) > 0 {
		cmd.Dir = c.dirs[0].Path()
	}
	theirs, err := c.connect(cmd)
	defer func() {
		for _, f := range theirs {
			_ = f.Close()
		}
	}()
	if err != nil {
		return err
	}
	stderr := c.close[2]
	missing, err := startFenced(cmd, c.fence())
	if err != nil {
		return err
	}
	c.missing = missing
	c.process = cmd
	offer(cmd.Process.Pid)
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		c.said.read(stderr)
	}()
	go func() {
		defer close(c.exited)
		_ = cmd.Wait()
		// Nobody should be left who could say more.
		const patience = time.Second
		_ = stderr.SetReadDeadline(time.Now().Add(patience))
		<-heard
	}()
	return nil
}

// connect makes the pipes. The child has no other files.
func (c *child) connect(cmd *exec.Cmd) (theirs []*os.File, err error) {
	pipe := func(toChild bool) (our, their *os.File) {
		r, w, pipeErr := os.Pipe()
		if pipeErr != nil {
			err = pipeErr
			return nil, nil
		}
		our, their = r, w
		if toChild {
			our, their = w, r
		}
		c.close, theirs = append(c.close, our), append(theirs, their)
		return our, their
	}
	var answers, stdin, stdout, stderr *os.File
	c.control, stdin = pipe(true)
	answers, stdout = pipe(false)
	_, stderr = pipe(false)
	for range Lanes {
		our, their := pipe(true)
		widen(our)
		c.lanes, cmd.ExtraFiles = append(c.lanes, our), append(cmd.ExtraFiles, their)
	}
	if err != nil {
		return theirs, err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	const buffer = 64 << 10
	c.answers = bufio.NewReaderSize(answers, buffer)
	return theirs, nil
}

// environment is all that a child finds in its own: what the Go runtime and the
// libraries for temporary files are to keep to.
func (c *child) environment() []string {
	env := []string{"GOMAXPROCS=" + strconv.Itoa(runtime.GOMAXPROCS(0))}
	if c.options.Memory > 0 {
		// The collector works harder in the last quarter, before the watch ends it.
		env = append(env, fmt.Sprintf("GOMEMLIMIT=%d", c.options.Memory/4*3))
	}
	if len(c.dirs) > 0 {
		env = append(env, "TMPDIR="+c.dirs[0].Path())
	}
	return env
}

// fence is what a child may reach.
func (c *child) fence() fence {
	f := fence{readable: c.options.Readable, program: c.options.Program}
	for _, d := range c.dirs {
		f.writable = append(f.writable, d.Path())
	}
	return f
}

// fence says which files a child can read and which it can write. Other files it
// cannot, nor can it reach the network or other processes, as far as the system
// has the means to see to that.
type fence struct {
	program  string // empty for this one
	readable []string
	writable []string
}
