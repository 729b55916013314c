//go:build !linux

package pgtest

// fastDir is the default place for temporary files.
func fastDir() string { return "" }
