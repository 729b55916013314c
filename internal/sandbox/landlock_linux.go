package sandbox

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What can be allowed of files, by the version of Landlock that knows it first.
const (
	mayRun   = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE
	mayRead  = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	mayWrite = mayRead | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR |
		unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_SYM |
		unix.LANDLOCK_ACCESS_FS_REFER | unix.LANDLOCK_ACCESS_FS_TRUNCATE

	firstVersion = 1<<13 - 1 // all file accesses of version 1
)

// handled is everything that a version can refuse; all of it is refused but for
// what a rule allows.
func handled(version int) (a unix.LandlockRulesetAttr) {
	a.Handled_access_fs = firstVersion
	for _, added := range []struct {
		version int
		fs      uint64
		net     uint64
		scope   uint64
	}{
		{2, unix.LANDLOCK_ACCESS_FS_REFER, 0, 0},
		{3, unix.LANDLOCK_ACCESS_FS_TRUNCATE, 0, 0},
		{4, 0, unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP, 0},
		{5, unix.LANDLOCK_ACCESS_FS_IOCTL_DEV, 0, 0},
		{6, 0, 0, unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL},
	} {
		if version >= added.version {
			a.Handled_access_fs |= added.fs
			a.Handled_access_net |= added.net
			a.Scoped |= added.scope
		}
	}
	return a
}

// landlockVersion is what this kernel knows.
func landlockVersion() (int, error) {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0, errno
	}
	return int(version), nil
}

// readableSystem is what the system's loader and the Go runtime look for.
var readableSystem = []string{"/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/sys/kernel/mm/transparent_hugepage"}

// restrictFiles lets the thread, and what is started from it, reach only the
// files of f, its program and the system's libraries. Kernels before 5.13 and
// those without Landlock refuse.
func restrictFiles(f fence) error {
	version, err := landlockVersion()
	if err != nil {
		return err
	}
	all := handled(version)
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&all)), unsafe.Sizeof(all), 0)
	if errno != 0 {
		return errno
	}
	rules := os.NewFile(fd, "rules")
	defer func() { _ = rules.Close() }()
	allow := func(access uint64, paths ...string) error {
		for _, path := range paths {
			if err := allowFile(int(fd), path, access&all.Handled_access_fs); err != nil {
				return err
			}
		}
		return nil
	}
	program := f.program
	if program == "" {
		program, _ = ownProgram()
	}
	for _, part := range []struct {
		access uint64
		paths  []string
	}{{mayRun, []string{program}}, {mayRun | mayRead, readableSystem}, {mayRead, f.readable}, {mayWrite, f.writable}, {mayRead | unix.LANDLOCK_ACCESS_FS_WRITE_FILE, []string{os.DevNull}}} {
		if err := allow(part.access, part.paths...); err != nil {
			return err
		}
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// allowFile adds a rule for a file, or for a directory and all below it. One that
// does not exist needs none.
func allowFile(rules int, path string, access uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer func() { _ = unix.Close(fd) }()
	var s unix.Stat_t
	if err := unix.Fstat(fd, &s); err != nil {
		return err
	}
	if s.Mode&unix.S_IFMT != unix.S_IFDIR {
		// Other accesses mean nothing for a file, and are refused as a mistake.
		access &= unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	rule := unix.LandlockPathBeneathAttr{Allowed_access: access, Parent_fd: int32(fd)}
	const pathBeneath = 1
	if _, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(rules), pathBeneath, uintptr(unsafe.Pointer(&rule)), 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}
