package localpostgres

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// reach returns a name for dir that the account can open, and the open files
// the name needs. Root's checkout often lies below a directory that is closed
// to everyone else; a descriptor passed on needs no way through it.
func (a account) reach(dir string) (string, []*os.File, error) {
	if a.credential == nil {
		return dir, nil, nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return "", nil, errs.Op("localpostgres: data directory", err)
	}
	return "/proc/self/fd/3", []*os.File{f}, nil
}

// endWithParent makes the kernel stop the server when this process dies.
func endWithParent(cmd *exec.Cmd, durable bool) {
	cmd.SysProcAttr.Pdeathsig = signalImmediate
	if durable {
		cmd.SysProcAttr.Pdeathsig = signalFast
	}
}

// isPostgres reports whether the process exists and is a PostgreSQL server; a
// pid found in an old file may by now belong to anything.
func isPostgres(pid int) bool {
	if pid <= 1 || syscall.Kill(pid, 0) == syscall.ESRCH {
		return false
	}
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return err == nil && strings.TrimSpace(string(name)) == "postgres"
}
