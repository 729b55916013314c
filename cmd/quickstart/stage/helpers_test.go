package main

import (
	"os/exec"
	"testing"
	"time"
)

func shell(script string) *exec.Cmd { return exec.Command("/bin/sh", "-c", script) }

// waitFor returns when the condition holds and fails the test when it does not
// within a time that no healthy machine needs.
func waitFor(t *testing.T, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the condition never held")
		}
	}
}
