//go:build !linux

package sandbox

// Hide does nothing here.
func Hide() {}
