package sandbox

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// niceness of children: what answers requests goes first.
const niceness = 10

// ownProgram is this program's file, also after another took its name.
func ownProgram() (string, error) { return "/proc/self/exe", nil }

// startFenced starts a process that has its limits from its first instruction:
// they are put on a thread of ours, which the process is started from and which
// then ends.
func startFenced(cmd *exec.Cmd, f fence) (missing []string, err error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C is not for them
	// A file that somebody opened before us for every process to inherit is not for
	// the children.
	_ = unix.CloseRange(firstLane, ^uint(0), unix.CLOSE_RANGE_CLOEXEC)
	// The library finds out once what it can do with processes; not behind a fence.
	_, _ = os.FindProcess(os.Getpid())
	onThreadOfItsOwn(func() {
		missing = put(f)
		err = cmd.Start()
	})
	return missing, err
}

// onThreadOfItsOwn does something on a thread that nothing else runs on, before or
// after.
func onThreadOfItsOwn(do func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			do()
			return // without an unlock, and so the thread ends
		}
		// The first thread of a process stays. Waiting on it leaves others only.
		defer runtime.UnlockOSThread()
		onThreadOfItsOwn(do)
	}()
	<-done
}

// put restricts the present thread and names what this system has no means for:
// to hide files, to refuse calls.
func put(f fence) (missing []string) {
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, niceness)
	lowIO()
	if unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != nil {
		return []string{"files", "calls"}
	}
	if restrictFiles(f) != nil {
		missing = append(missing, "files")
	}
	if restrictCalls() != nil {
		missing = append(missing, "calls")
	}
	return missing
}

// lowIO puts the thread behind others that wait for the same disk.
func lowIO() {
	const (
		whoProcess = 1
		bestEffort = 2 << 13
		last       = 7
	)
	_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, whoProcess, 0, bestEffort|last)
}
