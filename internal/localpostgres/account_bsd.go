//go:build unix && !linux

package localpostgres

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// reach returns the directory itself: where there is no /proc, root must keep
// the data below a directory that others can enter.
func (a account) reach(dir string) (string, []*os.File, error) { return dir, nil, nil }

// endWithParent does nothing: the next Start on the directory stops a server
// that was left behind.
func endWithParent(*exec.Cmd, bool) {}

// isPostgres reports whether the process exists and is a PostgreSQL server.
func isPostgres(pid int) bool {
	out, err := exec.Command("ps", "-o", "comm=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && filepath.Base(strings.TrimSpace(string(out))) == "postgres"
}
