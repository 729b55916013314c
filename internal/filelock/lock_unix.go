//go:build !windows

package filelock

import (
	"errors"
	"os"
	"syscall"
)

// Try takes the exclusive lock of f, or reports that another holds it. The
// lock ends with the process, however it ends.
func Try(f *os.File) (bool, error) {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}
