//go:build unix

package doctor

import "golang.org/x/sys/unix"

// freeBytes is how much an ordinary user may still write where dir is.
func freeBytes(dir string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	//nolint:unconvert // the types of the fields differ between systems
	return uint64(s.Bavail) * uint64(s.Bsize), nil
}
