package sandbox

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// refused are the system calls by which a process reaches beyond itself and its
// files: the network, other processes, the kernel's own doors. Nothing that a
// child does needs them.
var refused = []uint32{
	unix.SYS_SOCKET, unix.SYS_IO_URING_SETUP,
	unix.SYS_KILL, unix.SYS_TKILL, unix.SYS_RT_SIGQUEUEINFO, unix.SYS_PIDFD_SEND_SIGNAL, unix.SYS_PIDFD_GETFD,
	unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_KCMP,
	unix.SYS_SETSID, // or a kill of the group would miss it
	unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_MOUNT, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT,
	unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD,
	unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY,
}

// restrictCalls has the system refuse those calls to the thread, and to what is
// started from it. The error says that this system cannot.
func restrictCalls() error {
	architecture, known := map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}[runtime.GOARCH]
	if !known {
		return unix.ENOTSUP
	}
	program := filter(architecture, refused)
	list := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	_, _, errno := unix.Syscall(unix.SYS_PRCTL, unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&list)))
	runtime.KeepAlive(program)
	if errno != 0 {
		return errno
	}
	return nil
}

// filter is a program for the kernel that looks at each call: of another
// architecture than ours or with a number of the x32 kind, and those in the list,
// end with the error "not permitted".
func filter(architecture uint32, list []uint32) []unix.SockFilter {
	const (
		numberAt, architectureAt = 0, 4 // in the kernel's struct seccomp_data
		firstX32                 = 0x40000000
	)
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	answer := func(k uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k} }
	skip := func(test uint16, k uint32, ifTrue, ifFalse int) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | test | unix.BPF_K, K: k, Jt: uint8(ifTrue), Jf: uint8(ifFalse)}
	}
	n := len(list)
	program := []unix.SockFilter{
		load(architectureAt),
		skip(unix.BPF_JEQ, architecture, 0, n+3),
		load(numberAt),
		skip(unix.BPF_JGE, firstX32, n+1, 0),
	}
	for i, call := range list {
		program = append(program, skip(unix.BPF_JEQ, call, n-i, 0))
	}
	return append(program, answer(unix.SECCOMP_RET_ALLOW), answer(unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM)))
}
