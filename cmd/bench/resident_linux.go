package main

import (
	"os"
	"syscall"
)

// mostResident is the most memory a process that ended had, in bytes.
func mostResident(state *os.ProcessState) int64 {
	u, ok := state.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	return u.Maxrss << 10
}
