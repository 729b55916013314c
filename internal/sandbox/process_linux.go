package sandbox

import (
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// offer makes a process one that the system kills first when memory is short.
func offer(pid int) {
	_ = os.WriteFile("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", []byte("500"), 0)
}

// widen makes a pipe hold more, so that the two ends wait less for each other.
func widen(pipe *os.File) {
	const bytes = 1 << 20
	if raw, err := pipe.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, bytes) })
	}
}

// settleIn is what a child does for itself: nobody of the same user may look into
// it, it leaves no core, no file of it grows beyond what it may write, and one
// great leap of memory that the watch would see too late is refused.
func settleIn(h hello) {
	Hide()
	limit := func(resource int, n uint64) {
		_ = unix.Setrlimit(resource, &unix.Rlimit{Cur: n, Max: n})
	}
	limit(unix.RLIMIT_CORE, 0)
	if h.Bytes > 0 {
		limit(unix.RLIMIT_FSIZE, uint64(h.Bytes))
	}
	if h.Memory > 0 {
		// This counts what was asked for, not what is used.
		const spare = 1 << 30
		limit(unix.RLIMIT_DATA, 2*uint64(h.Memory)+spare)
	}
}

// kill ends the child and what it may have started.
func (c *child) kill() {
	if c.process == nil {
		return
	}
	select {
	case <-c.exited:
	default:
		_ = unix.Kill(-c.process.Process.Pid, unix.SIGKILL)
		_ = c.process.Process.Kill()
	}
}

// killedBySystem reports a kill that was not ours.
func killedBySystem(s *os.ProcessState) bool {
	status, ok := s.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == unix.SIGKILL
}

// resident is the resident memory of a process.
func resident(pid int) (bytes int64, known bool) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0, false
	}
	fields := strings.Fields(string(text)) // pages: all, resident, …
	if len(fields) < 2 {
		return 0, false
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize()), err == nil
}
