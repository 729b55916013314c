// Package text decides what a string from outside becomes before it is compared,
// stored or sent on: valid UTF-8 without NUL, which Postgres cannot hold, and no
// longer than its place takes.
//
// It is the one place where that is decided. It must not know what a string
// means, and does not make it fit to be shown: who writes to a terminal or a page
// escapes what that would take for a command.
package text

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode/utf8"
)

// The lengths, in bytes, that strings of an image are cut to. Names and purls are
// indexed, and a B-tree page of Postgres takes 2,704 bytes. They are no settings:
// fingerprints are made of what was cut, and two processes that cut differently
// would take one package for two.
const (
	Name    = 1000
	Version = 500
	PURL    = 2000
	CPE     = 2000
	Path    = 4096 // the longest that Linux takes
	Line    = 1000 // anything else
)

// Valid makes a string storable: each byte that is no UTF-8, and each NUL, becomes
// U+FFFD.
func Valid(s string) string {
	if !utf8.ValidString(s) {
		s = string([]rune(s)) // each bad byte by itself, as JSON has it
	}
	if strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(s, "\x00", "\uFFFD")
	}
	return s
}

// Clean is Valid, and no longer than limit bytes. What is cut ends in "~" and
// twelve digits of its digest in hex, so that two long strings stay two.
func Clean(s string, limit int) string {
	s = Valid(s)
	if len(s) <= limit {
		return s
	}
	const digits = 6
	sum := sha256.Sum256([]byte(s))
	mark := "~" + hex.EncodeToString(sum[:digits])
	cut := max(limit-len(mark), 0)
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + mark
}

// CleanAll cleans every string of a list; an empty one becomes nil.
func CleanAll(list []string, limit int) []string {
	if len(list) == 0 {
		return nil
	}
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = Clean(s, limit)
	}
	return out
}
