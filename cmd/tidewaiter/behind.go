package main

import (
	"slices"
	"strings"
)

// behindCommand moves flags that say which service is meant from before the command
// behind it, where the commands have them: tidewaiter --server URL repos. One that
// stands there already wins.
func behindCommand(args []string) []string {
	var moved []string
	rest := args
	for len(rest) > 0 {
		name, _, joined := strings.Cut(rest[0], "=")
		words := 2
		if joined {
			words = 1
		}
		if !slices.Contains([]string{"--server", "--token", "--ca-file"}, name) || len(rest) <= words {
			break
		}
		given := rest[:words]
		rest = rest[words:]
		if !slices.ContainsFunc(rest, func(a string) bool { return a == name || strings.HasPrefix(a, name+"=") }) {
			moved = append(moved, given...)
		}
	}
	end := slices.Index(rest, "--") // what follows is no flag
	if end < 0 {
		end = len(rest)
	}
	return slices.Insert(slices.Clone(rest), end, moved...)
}
