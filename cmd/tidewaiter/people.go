package main

import (
	"io"
	"strconv"
	"strings"
	"unicode"
)

// people is standard error as the commands have it: what is written for people
// to read holds strings of images, archives, feeds and registries, and none of
// them may move the cursor, retitle the window or turn the direction of writing.
// Only newlines and what prints get through. Each Write has to hold whole runes,
// as those of package fmt do.
type people struct {
	// raw takes everything as it is: for the log, whose handlers quote, and for
	// progress, which moves the cursor itself.
	raw io.Writer
}

// Write writes p with everything but newlines that does not print as its number.
func (w people) Write(p []byte) (int, error) {
	if _, err := io.WriteString(w.raw, printable(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// printable shows what does not print by its number, as the tables of a report
// do, but leaves newlines.
func printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r == '\n' || unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRuneToASCII(r)
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}

// line is printable for a text that has to stay on one line, so that it cannot
// pass for a message of its own.
func line(s string) string { return strings.ReplaceAll(printable(s), "\n", `\n`) }
