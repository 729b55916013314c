//go:build linux || darwin

package layers

import "syscall"

// freeBytes is what an ordinary user may still write on the disk of dir.
func freeBytes(dir string) (bytes int64, known bool) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, false
	}
	return int64(s.Bavail) * int64(s.Bsize), true //nolint:unconvert // the types differ between systems
}
