//go:build unix && !linux

package main

import "syscall"

// attributes put a program out of reach of the terminal's Ctrl-C, which is
// ours to pass on in the right order.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
