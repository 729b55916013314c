//go:build !windows

package layers

import (
	"os"
	"syscall"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// openPlain opens a regular file that has no other name. It does not follow a
// link and does not wait for what only looks like a file.
func openPlain(path string) (f *os.File, size int64, err error) {
	f, err = os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil {
		s, known := info.Sys().(*syscall.Stat_t)
		if info.Mode().IsRegular() && (!known || s.Nlink == 1) {
			return f, info.Size(), nil
		}
		err = errs.New(errs.Malformed, "layers: not a file of its own")
	}
	_ = f.Close()
	return nil, 0, err
}
