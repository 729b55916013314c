//go:build !windows

package filelock

import (
	"io/fs"
	"syscall"
)

// occupied is what a file takes on disk; a sparse one less than its size.
func occupied(info fs.FileInfo) int64 {
	const unit = 512
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Blocks * unit
	}
	return info.Size()
}
